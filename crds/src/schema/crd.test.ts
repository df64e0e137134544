import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { KINDS } from "../group.ts";
import type { KindName } from "../group.ts";
import { CREDENTIAL_HOSTS_ARE_ALLOWED } from "../network.ts";
import { SESSION_MUTABLE_FIELDS } from "../session.ts";
import { buildCrd, buildImmutability } from "./crd.ts";
import { buildReference } from "./reference.ts";
import type { StructuralSchema } from "./structural.ts";

interface Field {
  readonly path: string;
  readonly name: string;
  readonly schema: StructuralSchema;
  readonly isRequired: boolean;
}

const kinds = Object.keys(KINDS) as KindName[];
const schemaOf = (kind: KindName) => buildCrd(kind).spec.versions[0].schema.openAPIV3Schema;

function collect(schema: StructuralSchema | undefined, path: string): Field[] {
  return Object.entries(schema?.properties ?? {}).flatMap(([name, member]) => {
    const place = `${path}.${name}`;
    const field = { path: place, name, schema: member, isRequired: schema?.required?.includes(name) ?? false };
    return [field, ...collect(member, place), ...collect(member.items, `${place}[]`)];
  });
}

const specFields = kinds.flatMap((kind) => collect(schemaOf(kind).properties?.spec, `${kind}.spec`));
const statusFields = kinds.flatMap((kind) => collect(schemaOf(kind).properties?.status, `${kind}.status`));
const allFields = [...specFields, ...statusFields];

/** Every schema node with its path: fields, list elements and map values. */
const allNodes = allFields.flatMap(({ path, schema }) => [
  { path, schema },
  ...(schema.items ? [{ path: `${path}[]`, schema: schema.items }] : []),
  ...(schema.additionalProperties ? [{ path: `${path}.*`, schema: schema.additionalProperties }] : []),
]);

const allRules = kinds.flatMap((kind) => [
  ...(schemaOf(kind).properties?.spec?.["x-kubernetes-validations"] ?? []),
  ...allNodes.filter(({ path }) => path.startsWith(`${kind}.`)).flatMap(({ schema }) => schema["x-kubernetes-validations"] ?? []),
]);

/** Asserts that no path is left, and shows those that are. */
function none(nodes: readonly { readonly path: string }[]): void {
  assert.deepEqual(nodes.map(({ path }) => path), []);
}

describe("conventions of every CRD", () => {
  it("has fields to look at", () => {
    assert.ok(specFields.length > 80 && statusFields.length > 40);
  });

  it("describes each field, beginning with its name", () => {
    none(allFields.filter(({ name, schema }) => !new RegExp(`^${name}\\b`).test(schema.description ?? "")));
  });

  it("says of each field of spec whether it is required, or what absence means", () => {
    none(specFields.filter(({ schema, isRequired }) => !(isRequired ? /required/ : /absent|default/).test(schema.description ?? "")));
  });

  it("names the unit of durations and token counts", () => {
    none(specFields.filter(({ name, schema }) => name.endsWith("Seconds") && !schema.description?.includes("second")));
    none(allFields.filter(({ name, schema }) => name.endsWith("Tokens") && !schema.description?.includes("tokens")));
    none(allFields.filter(({ name, schema }) => name.endsWith("USD") && !schema.description?.includes("decimal string")));
  });

  it("bounds every string, list and map", () => {
    none(allNodes.filter(({ schema }) => schema.type === "string" && schema.maxLength === undefined && schema.enum === undefined));
    none(allNodes.filter(({ schema }) => schema.type === "array" && schema.maxItems === undefined));
    none(allNodes.filter(({ schema }) => schema.additionalProperties !== undefined && schema.maxProperties === undefined));
    none(specFields.filter(({ schema }) => schema.type === "integer" && (schema.minimum === undefined || schema.maximum === undefined)));
  });

  it("gives every list a list type, with keys where elements are named", () => {
    none(allNodes.filter(({ schema }) => schema.type === "array" && schema["x-kubernetes-list-type"] === undefined));
    none(allNodes.filter(({ schema }) => schema.items?.properties?.name !== undefined && schema["x-kubernetes-list-type"] === "set"));
    none(specFields.filter(({ schema }) => schema.items?.required?.includes("name") === true && schema["x-kubernetes-list-type"] !== "map"));
  });

  it("has no phase, no float and no Go duration", () => {
    none(allFields.filter(({ name }) => name === "phase" || /(timeout|ttl|duration|interval|delay)$/i.test(name)));
    none(allNodes.filter(({ schema }) => !["object", "array", "string", "integer", "boolean", undefined].includes(schema.type)));
  });

  it("has one type per node, but for quantities", () => {
    none(allNodes.filter(({ schema }) => schema.type === undefined && schema["x-kubernetes-int-or-string"] !== true));
  });

  it("has no word in an enumeration that YAML 1.1, which kubectl and Helm read, takes for something else", () => {
    const isOther = (word: string) => /^(y|n|yes|no|on|off|true|false|null|~|[-+.0-9].*)$/i.test(word);
    none(allNodes.filter(({ path, schema }) => path.includes(".spec.") && schema.enum?.some(isOther)));
  });

  it("writes messages that say what to do", () => {
    const advice = /\b(write|use|create|lower|raise|remove|rename|only|outside)\b/;
    assert.deepEqual(allRules.filter(({ message }) => !advice.test(message ?? "")), []);
  });

  it("keeps rules free of what makes the API server give up on cost", () => {
    // A rule inside a list runs once per element: only over bounded text, and never a nested loop; but for one, whose 4096 turns were tried.
    const nested = allRules.filter(({ rule }) => (rule.match(/\.(all|exists|exists_one|map|filter)\(/g) ?? []).length > 1);
    assert.deepEqual(nested, [CREDENTIAL_HOSTS_ARE_ALLOWED]);
    const { network, credentials } = schemaOf("Environment").properties?.spec?.properties ?? {};
    const turns = [credentials, credentials?.items?.properties?.hosts, network?.properties?.allowedHosts].map((list) => list?.maxItems ?? Infinity);
    assert.ok(turns.reduce((product, count) => product * count, 1) <= 4096, `${turns}`);
    none(allNodes.filter(({ path, schema }) => path.includes("[]") && schema["x-kubernetes-validations"] !== undefined && (schema.maxLength ?? 0) > 4096));
  });

  it("has no default inside a list element and no default that could change", () => {
    none(allNodes.filter(({ path, schema }) => path.includes("[]") && schema.default !== undefined));
    none(specFields.filter(({ schema }) => schema.default !== undefined));
  });

  it("shows a fresh object as in progress", () => {
    for (const kind of kinds) {
      const status = schemaOf(kind).properties?.status;
      assert.deepEqual(status?.default, { observedGeneration: -1 });
      assert.equal(status?.properties?.observedGeneration?.default, -1);
    }
  });

  it("has conditions as metav1 lists them", () => {
    for (const kind of kinds) {
      const conditions = schemaOf(kind).properties?.status?.properties?.conditions;
      assert.equal(conditions?.["x-kubernetes-list-type"], "map");
      assert.deepEqual(conditions?.["x-kubernetes-list-map-keys"], ["type"]);
      assert.deepEqual([...(conditions?.items?.required ?? [])].sort(), ["lastTransitionTime", "message", "reason", "status", "type"]);
    }
  });

  it("stays under 200 KiB of JSON, small enough for client-side apply", () => {
    for (const kind of kinds) assert.ok(JSON.stringify(buildCrd(kind)).length < 200 * 1024, kind);
  });

  it("has the names, the category and the status subresource", () => {
    for (const kind of kinds) {
      const { spec, metadata } = buildCrd(kind);
      assert.equal(metadata.name, `${spec.names.plural}.paddock.dev`);
      assert.deepEqual([spec.names.categories, spec.versions[0].subresources], [["paddock"], { status: {} }]);
    }
    const shortNames = kinds.flatMap((kind) => KINDS[kind].shortNames);
    assert.equal(new Set(shortNames).size, shortNames.length);
  });

  it("shows columns whose paths exist in the schema", () => {
    for (const kind of kinds) {
      for (const { name, jsonPath } of buildCrd(kind).spec.versions[0].additionalPrinterColumns) {
        const path = jsonPath.replace(/\[\?\(.*?\)\]/, "[]");
        const isKnown = path === ".metadata.creationTimestamp" || allFields.some((field) => field.path === `${kind}${path}`);
        assert.ok(isKnown, `${kind} ${name}: ${jsonPath}`);
      }
    }
  });

  it("has the columns people were promised", () => {
    const columns = (kind: KindName) => buildCrd(kind).spec.versions[0].additionalPrinterColumns.map(({ name, priority }) => (priority === 1 ? `(${name})` : name)).join(" ");
    assert.equal(columns("Agent"), "MODEL TOOLS READY REASON AGE");
    assert.equal(columns("Environment"), "READY REASON MODELS AGE");
    assert.equal(columns("Session"), "AGENT STATUS TURNS TOKENS COST AGE (ENVIRONMENT) (RUNNER) (TRACE)");
    assert.equal(columns("Schedule"), "SCHEDULE TIMEZONE SUSPEND ACTIVE LAST NEXT AGE");
    assert.equal(columns("Approval"), "SESSION TOOL SUMMARY DECISION BY EXPIRES");
  });
});

describe("Session", () => {
  const spec = schemaOf("Session").properties?.spec ?? {};
  const rules = spec["x-kubernetes-validations"] ?? [];

  it("compares presence and value of every field that may not change, in one rule", () => {
    const [immutability, ...others] = rules.filter(({ rule }) => rule.includes("oldSelf.agentRef"));
    assert.deepEqual(others, []);
    for (const name of Object.keys(spec.properties ?? {})) {
      const isMutable = (SESSION_MUTABLE_FIELDS as readonly string[]).includes(name);
      assert.equal(immutability?.rule.includes(`self.${name} == oldSelf.${name}`), !isMutable, name);
      const isOptional = !spec.required?.includes(name);
      assert.equal(immutability?.rule.includes(`has(self.${name}) == has(oldSelf.${name})`), !isMutable && isOptional, name);
    }
    assert.match(immutability?.message ?? "", /field is immutable; create a new Session/);
  });

  it("never lets a cancel be undone", () => {
    assert.ok(rules.some(({ rule, message }) => rule.includes("oldSelf.cancel") && /cannot be undone/.test(message ?? "")));
  });

  it("can be selected by Agent and Environment", () => {
    assert.deepEqual(buildCrd("Session").spec.versions[0].selectableFields, [{ jsonPath: ".spec.agentRef.name" }, { jsonPath: ".spec.environmentRef.name" }]);
  });

  it("puts the immutability of a Session into no template", () => {
    const template = schemaOf("Schedule").properties?.spec?.properties?.sessionTemplate?.properties?.spec;
    assert.deepEqual((template?.["x-kubernetes-validations"] ?? []).filter(({ rule }) => rule.includes("oldSelf")), []);
  });
});

describe("the immutability rule", () => {
  it("treats required and optional fields apart and names what changed", () => {
    const { rule, messageExpression } = buildImmutability({ required: ["a"], properties: { a: {}, b: {}, c: {} } }, ["c"]);
    assert.equal(rule, "(self.a == oldSelf.a) && (has(self.b) == has(oldSelf.b) && (!has(self.b) || self.b == oldSelf.b))");
    assert.match(messageExpression ?? "", /\? '' : ' a'\).*\? '' : ' b'\)/);
  });
});

describe("the reference page", () => {
  const page = buildReference();

  it("has a row for every field", () => {
    none(allFields.filter(({ path }) => !page.includes(`| \`${path.slice(path.indexOf(".") + 1)}\` |`)));
  });

  it("breaks no table: each row has three or two cells", () => {
    const rows = page.split("\n").filter((line) => line.startsWith("|"));
    assert.deepEqual(rows.filter((row) => ![3, 4].includes(row.split(/(?<!\\)\|/).length - 1)), []);
  });
});
