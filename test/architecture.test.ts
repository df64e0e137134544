import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import ts from "typescript";
import { findLines, parseSource, readSources } from "./sources.ts";
import type { Import, Source } from "./sources.ts";
import { ROOT } from "./steps.ts";

// The laws of the house that a linter cannot see: who may know whom, and what a decision may not do.

const sources = readSources();
/** Tests, and what only tests use: their data and stand-ins. */
const isTest = ({ path }: Source) => /\.(test|cases)\.ts$|\/testdata\//.test(path);
const isIn = (folder: string) => ({ path }: { readonly path: string }) => path.startsWith(`${folder}/`);
const code = sources.filter((source) => !isTest(source) && !isIn("test")(source));
/** Builders of pods, for the kinds whose pods they are. */
const BUILDERS = "operator/src/pods";
const KINDS = ["agent", "environment", "session", "schedule", "approval"].map((kind) => `operator/src/${kind}`);

/** Asserts that nothing is left, and shows what is. */
function none(offences: readonly string[]): void {
  assert.deepEqual(offences, []);
}

interface Border {
  readonly folder: string;
  /** Folders and files of the checkout that it may import. */
  readonly files: readonly string[];
  /** Packages and Node modules that it may import; "node:*" is all of Node's. */
  readonly packages: readonly string[];
  /** Folders that it may know the types of, and nothing else. */
  readonly types?: readonly string[];
}

const borders: readonly Border[] = [
  { folder: "crds/src", files: ["crds/src"], packages: ["zod", "node:crypto", "node:net"] },
  { folder: "operator/src/kernel", files: ["operator/src/kernel", "crds/src"], packages: ["node:util"] },
  { folder: "operator/src/cluster", files: ["operator/src/cluster", "operator/src/kernel", "operator/src/sources.ts", "crds/src"], packages: ["node:*", "@kubernetes/client-node"] },
  ...KINDS.map((folder) => ({ folder, files: [folder, BUILDERS, "operator/src/sources.ts", "operator/src/settings.ts", "operator/src/kernel", "crds/src"], packages: ["node:util", "node:net", "node:path", "croner"] })),
  { folder: BUILDERS, files: [BUILDERS, "operator/src/settings.ts", "operator/src/kernel", "crds/src"], packages: ["node:path"] },
  { folder: "operator/src", files: ["operator/src", "crds/src"], packages: ["node:*", "@kubernetes/client-node", "zod", "pino", "prom-client", "croner"] },
  {
    folder: "gateway/src",
    files: ["gateway/src", "crds/src"],
    packages: ["node:*", "zod", "pino", "prom-client", "hono", "hono/*", "@hono/node-server", "@hono/node-server/*", "@peculiar/x509", "reflect-metadata", "@opentelemetry/*", "pg", "ajv/*"],
  },
  { folder: "runner-image/src", files: ["runner-image/src", "crds/src"], packages: ["node:*", "zod", "pino", "openai", "openai/*", "ajv/*", "@peculiar/x509", "reflect-metadata"] },
  { folder: "sandbox-image/src", files: ["sandbox-image/src"], packages: ["node:*"], types: ["crds/src"] },
];

const matches = (pattern: string, name: string) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern);
const isUnder = (places: readonly string[], file: string) => places.some((place) => file === place || file.startsWith(`${place}/`));

function isAllowed({ files, packages, types = [] }: Border, { specifier, file, isTypeOnly }: Import): boolean {
  if (file === undefined) return packages.some((pattern) => matches(pattern, specifier));
  return isUnder(files, file) || (isTypeOnly && isUnder(types, file));
}

/** Imports that cross a border, as `file → import`. */
function findCrossings(border: Border, among: readonly Source[]): readonly string[] {
  return among.filter(isIn(border.folder)).flatMap((source) => source.imports.filter((each) => !isAllowed(border, each)).map(({ specifier }) => `${source.path} → ${specifier}`));
}

/** Uses of a package outside its home, a folder or a file, as `file → package`. */
function findStrays(name: string, home: string): readonly string[] {
  const isPackage = ({ specifier }: Import) => specifier === name || specifier.startsWith(`${name}/`);
  return code.filter((source) => source.path !== home && !isIn(home)(source)).flatMap((source) => source.imports.filter(isPackage).map(({ specifier }) => `${source.path} → ${specifier}`));
}

function at(source: Source, matchesNode: (node: ts.Node) => boolean): readonly string[] {
  return findLines(source, matchesNode).map((line) => `${source.path}:${line}`);
}

describe("borders", () => {
  it("are looked at in a tree that has files", () => {
    assert.ok(code.length > 60, `${code.length} files`);
  });

  for (const border of borders) {
    it(`${border.folder} knows only what it may`, () => {
      none(findCrossings(border, code));
    });
  }

  it("are seen when they are crossed", () => {
    const [crds, kernel] = borders;
    assert.ok(crds && kernel);
    const crossing = (path: string, text: string, border: Border) => findCrossings(border, [parseSource(path, text)]).length;
    assert.equal(crossing("crds/src/x.ts", 'import { run } from "../../operator/src/main.ts";', crds), 1);
    assert.equal(crossing("crds/src/x.ts", 'const x = await import("pino");', crds), 1);
    assert.equal(crossing("operator/src/kernel/x.ts", 'export type { Store } from "../cluster/store.ts";', kernel), 1);
    assert.equal(crossing("operator/src/kernel/x.ts", 'import type { Session } from "@paddock/api/session";', kernel), 0);
  });

  it("only one folder uses each of these", () => {
    none(findStrays("openai", "runner-image/src/model"));
    none(findStrays("node:sqlite", "gateway/src/store"));
    none(findStrays("pg", "gateway/src/store"));
    none(findStrays("@kubernetes/client-node", "operator/src/cluster"));
    none(findStrays("croner", "operator/src/schedule/cron.ts"));
    // Loaded only when there is somewhere to send traces.
    for (const name of ["sdk-trace", "resources", "exporter-trace-otlp-proto"]) none(findStrays(`@opentelemetry/${name}`, "gateway/src/telemetry/otlp.ts"));
  });

  it("the client of Kubernetes is known by its types only, but where a kubeconfig is read", () => {
    const values = code.filter(({ path }) => path !== "operator/src/cluster/connect.ts").flatMap(({ path, imports }) => imports.filter(({ specifier, isTypeOnly }) => specifier === "@kubernetes/client-node" && !isTypeOnly).map(() => path));
    none(values);
  });

  it("only the store writes SQL", () => {
    const isSql = (node: ts.Node) => ts.isStringLiteralLike(node) && /\b(SELECT .+ FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE (TABLE|INDEX)|PRAGMA )\b/.test(node.text);
    none(code.filter((source) => !isIn("gateway/src/store")(source)).flatMap((source) => at(source, isSql)));
  });

  it("only config.ts reads the environment", () => {
    const isEnvironment = (node: ts.Node) => ts.isPropertyAccessExpression(node) && node.name.text === "env" && node.expression.getText() === "process";
    none(sources.filter(({ path }) => basename(path) !== "config.ts").flatMap((source) => at(source, isEnvironment)));
  });

  it("the sandbox has no dependency", () => {
    const { dependencies = {} } = JSON.parse(readFileSync(join(ROOT, "sandbox-image/package.json"), "utf8")) as { dependencies?: Record<string, string> };
    assert.deepEqual(Object.keys(dependencies).filter((name) => name !== "@paddock/api"), []);
  });

  it("no two files need each other's values", () => {
    none(findCycles(code));
  });
});

describe("decisions", () => {
  const kinds = code.filter(({ path }) => [...KINDS, BUILDERS].some((folder) => path.startsWith(`${folder}/`)));
  const FORBIDDEN_CALLS = ["Date.now", "Math.random", "performance.now", "setTimeout", "setInterval", "setImmediate", "queueMicrotask", "fetch", "randomUUID", "randomBytes"];

  const isImpure = (node: ts.Node): boolean => {
    if (ts.isAwaitExpression(node)) return true;
    if (ts.isNewExpression(node)) return /^Promise\(|^Date(\(\)|$)/.test(node.getText().slice("new ".length));
    if (ts.isCallExpression(node)) return FORBIDDEN_CALLS.includes(node.expression.getText());
    if (ts.isPropertyAccessExpression(node)) return node.expression.getText() === "process";
    return node.kind === ts.SyntaxKind.AsyncKeyword;
  };

  it("are pure: no await, clock, chance, timer or process in a kind's folder and the builders'", () => {
    assert.ok(kinds.length > 10, `${kinds.length} files`);
    none(kinds.flatMap((source) => at(source, isImpure)));
  });

  it("are seen when they are not", () => {
    const impure = (text: string) => at(parseSource("operator/src/session/x.ts", text), isImpure).length > 0;
    for (const text of ["new Date()", "Date.now()", "Math.random()", "async () => 1", "process.exit(1)", "setTimeout(f, 1)", "new Promise(f)"]) assert.ok(impure(text), text);
    for (const text of ["new Date(now.getTime() + 1)", "Date.parse(x)", "decide(world, now)", "Math.max(1, 2)"]) assert.ok(!impure(text), text);
  });
});

describe("files", () => {
  const linesOf = ({ text }: Source) => text.split("\n").length - 1;

  it("are at most 400 lines long, tests 800", () => {
    none(sources.filter((source) => linesOf(source) > (isTest(source) ? 800 : 400)).map((source) => `${source.path}: ${linesOf(source)} lines`));
  });

  it("are named for what they hold", () => {
    none(sources.filter(({ path }) => /^(utils?|helpers?|common|types?|misc|shared|index)\.(test\.)?ts$/.test(basename(path))).map(({ path }) => path));
    none(sources.filter(({ path }) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.ts$/.test(basename(path))).map(({ path }) => path));
  });

  it("export by name, without enums and barrels", () => {
    const isDefault = (node: ts.Node) => ts.isExportAssignment(node) || (ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword));
    const isBarrel = (node: ts.Node) => ts.isExportDeclaration(node) && node.exportClause === undefined;
    none(sources.flatMap((source) => at(source, (node) => isDefault(node) || ts.isEnumDeclaration(node) || isBarrel(node))));
  });

  it("import files by their whole name", () => {
    none(sources.flatMap(({ path, imports }) => imports.filter(({ specifier }) => specifier.startsWith(".") && !/\.(ts|json)$/.test(specifier)).map(({ specifier }) => `${path} → ${specifier}`)));
  });

  it("leave nothing for later", () => {
    none(sources.filter(({ path }) => path !== "test/architecture.test.ts").flatMap(({ path, text }) => (/\b(TODO|FIXME|XXX|HACK)\b/.test(text) ? [path] : [])));
  });

  it("skip no test and single none out", () => {
    const isExclusive = (node: ts.Node) => ts.isCallExpression(node) && /^(it|test|describe)\.(only|skip|todo)$/.test(node.expression.getText());
    none(sources.flatMap((source) => at(source, isExclusive)));
  });
});

/** Chains of value imports that lead back to where they began. */
function findCycles(among: readonly Source[]): readonly string[] {
  const valuesOf = new Map(among.map(({ path, imports }) => [path, imports.flatMap(({ file, isTypeOnly }) => (file !== undefined && !isTypeOnly ? [file] : []))]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
    if (trail.includes(path) || done.has(path)) return;
    for (const next of valuesOf.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const { path } of among) visit(path, []);
  return cycles;
}
