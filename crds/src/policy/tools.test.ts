import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { digestOf } from "../log/canonical.ts";
import { TOOLS, TOOL_NAMES, toolOf } from "./tools.ts";

const effects = { bash: "Once", read: "Pure", write: "Idempotent", edit: "Once", glob: "Pure", grep: "Pure" };

/** Arguments that each tool takes. */
const good: Readonly<Record<string, readonly Record<string, unknown>[]>> = {
  bash: [{ command: "ls" }, { command: "ls", timeoutSeconds: 600 }],
  read: [{ path: "a" }, { path: "a", offset: 1, limit: 10_000 }],
  write: [{ path: "a", content: "" }],
  edit: [{ path: "a", oldText: "x", newText: "" }, { path: "a", oldText: "x", newText: "y", replaceAll: true }],
  glob: [{ pattern: "*" }, { pattern: "*", path: "src" }],
  grep: [{ pattern: "x" }, { pattern: "x", path: "src", glob: "*.ts", ignoreCase: true }],
};

const bad: Readonly<Record<string, readonly unknown[]>> = {
  bash: [{}, { command: "" }, { command: 1 }, { command: "ls", timeoutSeconds: 601 }, { command: "ls", timeoutSeconds: 0 }, { command: "ls", cwd: "/" }, null, [], "ls"],
  read: [{}, { path: "" }, { path: "x".repeat(4097) }, { path: "a", offset: 0 }, { path: "a", limit: 1.5 }, { path: "a", offset: "1" }],
  write: [{ path: "a" }, { content: "a" }, { path: "a", content: "x".repeat(393_217) }],
  edit: [{ path: "a", oldText: "", newText: "" }, { path: "a", newText: "" }, { path: "a", oldText: "x", newText: "y", replaceAll: "yes" }],
  glob: [{}, { pattern: "" }, { pattern: "x".repeat(1025) }],
  grep: [{}, { pattern: "x", ignoreCase: 1 }, { pattern: "x", glob: "" }],
};

describe("the table of tools", () => {
  for (const name of TOOL_NAMES) {
    it(`${name}: takes its arguments and refuses others`, () => {
      for (const value of good[name] ?? []) assert.deepEqual(TOOLS[name].faultsOf(value), []);
      for (const value of bad[name] ?? []) assert.notDeepEqual(TOOLS[name].faultsOf(value), [], JSON.stringify(value)?.slice(0, 80));
    });

    it(`${name}: tells the model what the check checks`, () => {
      const { definition, digest } = TOOLS[name];
      const parameters = definition.parameters as { type: string; additionalProperties: boolean; required: string[]; properties: Record<string, { description?: string }> };
      assert.deepEqual([definition.name, parameters.type, parameters.additionalProperties, "$schema" in parameters], [name, "object", false, false]);
      assert.ok(definition.description.endsWith("."));
      assert.deepEqual(Object.entries(parameters.properties).filter(([, property]) => !property.description), []);
      for (const required of parameters.required) {
        const [first = {}] = good[name] ?? [];
        assert.deepEqual(TOOLS[name].faultsOf({ ...first, [required]: undefined }), [`${required} is missing`]);
      }
      assert.equal(digest, digestOf(definition));
    });
  }

  it("names what is wrong and what would be right", () => {
    assert.deepEqual(TOOLS.read.faultsOf(JSON.parse('{"path":"","offset":1.5,"cwd":"/","__proto__":1}')), [
      '"cwd" is no argument; there are: path, offset, limit',
      '"__proto__" is no argument; there are: path, offset, limit',
      "path has 0 characters and must have 1 to 4096",
      "offset must be an integer from 1 to 10000000",
    ]);
    assert.deepEqual(TOOLS.edit.faultsOf({ path: 7, replaceAll: "yes" }), ["path must be a text", "oldText is missing", "newText is missing", "replaceAll must be true or false"]);
  });

  // A digest is part of every fingerprint in every log: a session of before an upgrade goes on after it.
  it("has the digests of the first release", () => {
    assert.deepEqual(TOOL_NAMES.map((name) => TOOLS[name].digest.slice(0, 19)), [
      "sha256:586cf7ef3ac9", "sha256:08da1c85a183", "sha256:97861bd2bd55", "sha256:58ffb3c93de0", "sha256:6b5eb893e936", "sha256:aad9e062bbc9",
    ]);
  });

  it("says what a second run of each may do", () => {
    assert.deepEqual(Object.fromEntries(TOOL_NAMES.map((name) => [name, TOOLS[name].effect])), effects);
  });

  it("is looked up by own names only", () => {
    assert.equal(toolOf("bash"), TOOLS.bash);
    for (const name of ["", "Bash", "constructor", "__proto__", "toString"]) assert.equal(toolOf(name), undefined, name);
  });
});
