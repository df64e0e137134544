import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { agentSpecSchema } from "@paddock/api/agent";
import { environmentSpecSchema } from "@paddock/api/environment";
import { KINDS } from "@paddock/api/group";
import { eventData } from "@paddock/api/log/events";
import { USER_ROLES } from "@paddock/api/rights/table";
import { scheduleSpecSchema } from "@paddock/api/schedule";
import {
  AGENT_CONDITIONS, AGENT_REASONS, APPROVAL_CONDITIONS, APPROVAL_REASONS, ENVIRONMENT_CONDITIONS, ENVIRONMENT_REASONS, SCHEDULE_CONDITIONS, SCHEDULE_REASONS,
  SESSION_CONDITIONS, SESSION_REASONS,
} from "@paddock/api/schema/reasons";
import { sessionSpecSchema } from "@paddock/api/session";
import { parse, parseAllDocuments } from "yaml";
import { NAME } from "../gateway/src/telemetry/genai.ts";
import { createMetrics } from "../gateway/src/telemetry/metrics.ts";
import { ROOT } from "./steps.ts";

// Documents hold facts: what they name is there, and what people will look for is named.

interface Page {
  readonly path: string;
  readonly text: string;
}

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const pages: readonly Page[] = globSync(["*.md", "docs/**/*.md", "examples/**/*.md"], { cwd: ROOT }).sort().map((path) => ({ path, text: read(path) }));
const prose = (text: string): string => text.replaceAll(/^```[^]*?^```$/gm, "");
const codeOf = (text: string): readonly string[] => [...text.matchAll(/^```\w*\n([^]*?)^```$/gm)].map(([, block = ""]) => block);
/** Everything in backticks outside of blocks. */
const namesOf = (text: string): readonly string[] => [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, name = ""]) => name);
/** Everything that somebody may type. */
const commandsOf = (text: string): readonly string[] => [...namesOf(text), ...codeOf(text)];

/** What `check` finds in each page, with the page's name; nothing is asserted but that there is none. */
function none(check: (page: Page) => readonly string[]): void {
  assert.deepEqual(pages.flatMap((page) => check(page).map((fault) => `${page.path}: ${fault}`)), []);
}

const matches = (text: string, pattern: RegExp): readonly string[] => [...text.matchAll(pattern)].map((match) => match[1] ?? "");

describe("links and paths in documents", () => {
  const slugOf = (heading: string): string => heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");

  it("are looked for in pages that are there", () => {
    for (const path of ["README.md", "AGENTS.md", "docs/security.md", "examples/01-hello/README.md"]) assert.ok(pages.some((page) => page.path === path), path);
  });

  it("lead somewhere", () => {
    none(({ path, text }) =>
      matches(text, /\]\(([^)\s]+)\)/g).filter((target) => {
        if (/^https?:/.test(target)) return false;
        const [file = "", anchor] = target.split("#");
        const full = file === "" ? join(ROOT, path) : join(ROOT, dirname(path), file);
        if (!existsSync(full)) return true;
        return anchor !== undefined && !matches(readFileSync(full, "utf8"), /^#+ (.+)$/gm).map(slugOf).includes(anchor);
      }),
    );
  });

  it("name files and folders of this tree", () => {
    const isOurs = /^(crds|operator|gateway|runner-image|sandbox-image|charts|examples|docs|gitops|test)\/[\w./*-]*$/;
    none(({ text }) => namesOf(text).filter((name) => isOurs.test(name) && globSync(name, { cwd: ROOT }).length === 0));
  });

  it("that are given to kubectl, helm and docker are there", () => {
    const path = /(?<![\w.-])(?:-f |charts\/)(\S+)/g;
    none(({ text }) =>
      commandsOf(text)
        .filter((command) => /\b(kubectl|helm|docker)\b/.test(command))
        .flatMap((command) => [...command.matchAll(path)].map(([whole]) => whole.replace(/^-f /, "").replace(/`.*$/, "")))
        .filter((name) => /\//.test(name) && !existsSync(join(ROOT, name))),
    );
  });
});

describe("commands in documents", () => {
  it("of npm are scripts, and benchmarks are there", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Readonly<Record<string, string>> };
    none(({ text }) => matches(text, /npm run (?:-s )?([\w:]+)/g).filter((name) => !Object.hasOwn(scripts, name)));
    none(({ text }) => matches(text, /npm run bench -- ([a-z][\w-]*)/g).filter((name) => !existsSync(join(ROOT, `test/bench/${name}.ts`))));
  });

  // kubectl's own, and the resources of Kubernetes that we speak of.
  const VERBS = new Set("annotate apply auth create delete describe edit exec explain get label logs patch port-forward rollout scale wait".split(" "));
  const THEIRS = new Set("configmap configmaps crd lease limitranges namespace networkpolicy pod pods priorityclasses pvc rolebinding runtimeclasses secret serviceaccount statefulset deployment".split(" "));
  const OURS = new Set(Object.values(KINDS).flatMap(({ kind, plural }) => [kind.toLowerCase(), plural]));

  it("of kubectl have a verb and a resource that exist", () => {
    const faultOf = ([, verb = "", resource = ""]: RegExpMatchArray): readonly string[] => {
      if (!VERBS.has(verb)) return [`kubectl ${verb}`];
      if (!/^(annotate|delete|describe|edit|explain|get|patch|wait)$/.test(verb)) return [];
      const kind = /^[a-z]+/.exec(resource)?.[0];
      return kind === undefined || OURS.has(kind) || THEIRS.has(kind) ? [] : [`kubectl ${verb} ${resource}`];
    };
    none(({ text }) => commandsOf(text).flatMap((command) => [...command.matchAll(/\bkubectl (?:-n \S+ )?([a-z-]+)(?: --for=\S+)?(?: ([\w./-]+))?/g)].flatMap(faultOf)));
  });

  it("bind roles that the chart has", () => {
    const roles = new Set(USER_ROLES.map(({ name }) => name));
    none(({ text }) => matches(text, /--clusterrole=([\w-]+)/g).filter((name) => !roles.has(name)));
  });
});

describe("names in documents", () => {
  const troubleshooting = namesOf(read("docs/troubleshooting.md"));
  const approvals = namesOf(read("docs/approvals.md"));

  it("hold every reason, for whoever looks for it in troubleshooting.md", () => {
    const reasons = [AGENT_REASONS, ENVIRONMENT_REASONS, SESSION_REASONS, SCHEDULE_REASONS].flatMap((texts) => Object.keys(texts));
    assert.deepEqual([...new Set(reasons)].filter((reason) => !troubleshooting.includes(reason)), []);
  });

  it("hold every reason of an Approval in its own page", () => {
    assert.deepEqual(Object.keys(APPROVAL_REASONS).filter((reason) => !approvals.includes(reason)), []);
  });

  it("hold every condition", () => {
    const known = new Set([...troubleshooting, ...namesOf(read("crds/REFERENCE.md"))]);
    const conditions = [AGENT_CONDITIONS, APPROVAL_CONDITIONS, ENVIRONMENT_CONDITIONS, SESSION_CONDITIONS, SCHEDULE_CONDITIONS].flatMap((texts) => Object.keys(texts));
    assert.deepEqual(conditions.filter((condition) => !known.has(condition)), []);
  });

  it("hold every metric, and no other", async () => {
    const operators = matches(read("operator/src/telemetry/metrics.ts"), /"(paddock_[a-z_]+)"/g);
    const gateways = matches(await createMetrics().text(), /^# HELP (paddock_\w+)/gm);
    assert.ok(operators.length > 10 && gateways.length > 10);
    const metrics = [...operators, ...gateways];
    const told = namesOf(read("docs/operations.md"));
    assert.deepEqual(metrics.filter((metric) => !told.includes(metric)), []);
    none(({ text }) => namesOf(text).filter((name) => /^paddock_[a-z_]+$/.test(name) && !metrics.includes(name)));
  });

  it("hold every attribute of a span, and no other", () => {
    const told = namesOf(read("docs/operations.md"));
    const attributes = Object.values(NAME).filter((name) => name !== NAME.service);
    assert.deepEqual(attributes.filter((name) => !told.includes(name)), []);
    none(({ text }) => namesOf(text).filter((name) => /^(gen_ai|paddock)\.[a-z_.]+$/.test(name) && name !== "paddock.dev" && !attributes.some((attribute) => attribute === name)));
  });

  it("hold every type of event, and every problem that the gateway answers with", () => {
    const told = namesOf(read("docs/log-api.md"));
    assert.deepEqual(Object.keys(eventData).filter((type) => !told.includes(type)), []);
    const problems = matches(read("crds/src/wire/problem.ts"), /^ {2}\| "([a-z-]+)"/gm);
    assert.ok(problems.length > 15);
    assert.deepEqual(problems.filter((problem) => !troubleshooting.includes(problem)), []);
  });

  it("are values of the chart where they are called so", () => {
    const values = parse(read("charts/paddock/values.yaml")) as unknown;
    const has = (path: string): boolean => path.split(".").reduce<unknown>((value, key) => (value as Readonly<Record<string, unknown>> | undefined)?.[key], values) !== undefined;
    const isValue = /^(watchNamespaces|propagatedLabels|logLevel|(operator|admission|network|gateway|networkPolicy|userRoles)\.[A-Za-z.]+)(?=: |$)/;
    // An Environment has a `network` too.
    const isField = (name: string): boolean => name === "network.inCluster";
    none(({ text }) => namesOf(text).flatMap((name) => isValue.exec(name)?.[1] ?? []).filter((name) => !isField(name) && !has(name)));
  });
});

describe("manifests in documents", () => {
  const SCHEMAS = { Agent: agentSpecSchema, Environment: environmentSpecSchema, Session: sessionSpecSchema, Schedule: scheduleSpecSchema };

  it("are what their schemas say", () => {
    const blocks = pages.flatMap(({ path, text }) => codeOf(text).filter((block) => /^apiVersion: paddock\.dev/m.test(block)).map((block) => ({ path, block })));
    assert.ok(blocks.length >= 2);
    for (const { path, block } of blocks) {
      for (const { kind, spec } of parseAllDocuments(block).map((document) => document.toJS() as { kind: keyof typeof SCHEMAS; spec: unknown })) {
        assert.deepEqual(SCHEMAS[kind].parse(spec), spec, path);
      }
    }
  });
});

describe("promises of docs/security.md", () => {
  interface Proof {
    readonly file: string;
    readonly titles: readonly string[];
  }

  // Of the tables whose last column is the test.
  const tables = read("docs/security.md").split("\n\n").filter((block) => /^\|.*\| test \|\n/.test(block));
  const rows = tables.flatMap((table) => table.trim().split("\n").slice(2));

  /** Files named in the last cell of a row, each with the titles that stand behind it. */
  function proofsOf(row: string): readonly Proof[] {
    const cell = row.split(" | ").at(-1) ?? "";
    return [...cell.matchAll(/`([\w./-]+\.test\.ts)`([^`]*)/g)].map(([, file = "", rest = ""]) => ({
      file: file.includes("/") ? file : `test/e2e/${file}`,
      titles: matches(rest, /\*([^*]+)\*/g).map((title) => title.replace(/ …$/, "")),
    }));
  }

  it("name a test each", () => {
    assert.ok(rows.length > 30);
    assert.deepEqual(rows.filter((row) => proofsOf(row).length === 0), []);
  });

  it("name tests that exist", () => {
    const faults = rows.flatMap(proofsOf).flatMap(({ file, titles }) => {
      if (!existsSync(join(ROOT, file))) return [file];
      const text = read(file);
      // Rows of the log's tables are tests too, named by what becomes of an append.
      const found = [...text.matchAll(/\b(test|it|accepts|refuses|knows)\([`"]((?:[^`"\\]|\\.)+)[`"]/g)].map(([, made = "", title = ""]) => {
        return `${made === "test" || made === "it" ? "" : `${made} `}${title.replaceAll('\\"', '"')}`;
      });
      return titles.filter((title) => !found.some((name) => name.includes(title))).map((title) => `${basename(file)}: ${title}`);
    });
    assert.deepEqual(faults, []);
  });
});
