import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { z } from "zod";
import { celString, freeText, matching } from "../text.ts";
import { quantity } from "../refs.ts";
import { buildStructural } from "./structural.ts";
import type { Author } from "./structural.ts";

const text = (description = "field of a test; required.") => z.string().max(10).describe(description);

function build(field: z.ZodType, author: Author = "people") {
  return buildStructural(z.object({ field }).describe("spec of a test."), { path: "Test.spec", author }).properties?.field;
}

describe("a structural schema", () => {
  it("keeps type, bounds, description and required members", () => {
    assert.deepEqual(buildStructural(z.object({ a: text(), b: z.int().min(1).max(5).describe("b").optional() }).describe("spec"), { path: "T", author: "people" }), {
      description: "spec",
      type: "object",
      required: ["a"],
      properties: {
        a: { description: "field of a test; required.", type: "string", maxLength: 10 },
        b: { description: "b", type: "integer", format: "int64", minimum: 1, maximum: 5 },
      },
    });
  });

  it("turns a pattern with a hint into a rule whose message says what to write", () => {
    const field = build(matching("^[a-z]+\\.'$", 9, { description: "d", hint: "write letters" }));
    assert.equal(field?.pattern, undefined);
    assert.deepEqual(field?.["x-kubernetes-validations"], [{ rule: "self.matches('^[a-z]+\\\\.\\'$')", message: "write letters" }]);
  });

  it("keeps a pattern without a hint, with slashes as people write them", () => {
    assert.equal(build(z.string().max(9).regex(/^a\/b$/).describe("d"))?.pattern, "^a/b$");
  });

  it("serves a quantity as int-or-string without a type", () => {
    const field = build(quantity("memory"));
    assert.equal(field?.["x-kubernetes-int-or-string"], true);
    assert.deepEqual(Object.keys(field).sort(), ["description", "x-kubernetes-int-or-string", "x-kubernetes-validations"]);
  });

  it("keeps enums, formats and defaults", () => {
    assert.deepEqual(build(z.enum(["A", "B"]).describe("d"))?.enum, ["A", "B"]);
    assert.equal(build(z.string().max(64).meta({ description: "d", format: "date-time" }))?.format, "date-time");
    assert.equal(build(z.int().min(0).max(9).meta({ description: "d", default: 3 }))?.default, 3);
  });

  it("lets controllers count as far as integers go, and drops the bounds of safe integers", () => {
    assert.deepEqual(build(z.int().min(0).describe("d"), "controllers"), { description: "d", type: "integer", format: "int64", minimum: 0 });
  });

  const refused: readonly { readonly name: string; readonly field: z.ZodType; readonly says: RegExp }[] = [
    { name: "a missing description", field: z.string().max(1), says: /Test\.spec\.field has no description/ },
    { name: "a string without bound", field: z.string().describe("d"), says: /Test\.spec\.field has no maxLength/ },
    { name: "an integer without bound", field: z.int().min(0).describe("d"), says: /Test\.spec\.field is an integer without bounds/ },
    { name: "a float", field: z.number().max(1).describe("d"), says: /Test\.spec\.field is a float/ },
    { name: "a list without bound", field: z.array(text()).meta({ description: "d", "x-kubernetes-list-type": "atomic" }), says: /has no maxItems/ },
    { name: "a list without list type", field: z.array(text()).max(1).describe("d"), says: /has no x-kubernetes-list-type/ },
    {
      name: "a list map whose key is optional",
      field: z.array(z.object({ name: text().optional() }).describe("d")).max(1).meta({ description: "d", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
      says: /keys are not required/,
    },
    { name: "a tuple", field: z.tuple([text()]).meta({ description: "d", maxItems: 1, "x-kubernetes-list-type": "atomic" }), says: /Test\.spec\.field/ },
    { name: "a map without bound", field: z.record(z.string(), text()).describe("d"), says: /has no maxProperties/ },
    { name: "a union", field: z.union([text(), z.boolean()]).describe("d"), says: /has no single type/ },
    { name: "null", field: text().nullable().describe("d"), says: /Test\.spec\.field/ },
    { name: "anything", field: z.unknown().describe("d"), says: /has no single type/ },
    { name: "a closed object", field: z.strictObject({ a: text() }).describe("d"), says: /additionalProperties beside properties/ },
    { name: "a look-ahead", field: z.string().max(9).regex(/^(?!x)a$/).describe("d"), says: /look-around/ },
    { name: "a look-ahead behind a hint", field: matching("^(?=x)a$", 9, { description: "d", hint: "h" }), says: /look-around/ },
    { name: "a back reference", field: z.string().max(9).regex(/^(a)\1$/).describe("d"), says: /back reference/ },
  ];
  for (const { name, field, says } of refused) {
    it(`refuses ${name} and names the path`, () => {
      assert.throws(() => build(field), says);
    });
  }

  it("refuses a reference", () => {
    const shared = z.object({ get self() { return shared.optional(); } }).describe("d");
    assert.throws(() => build(shared));
  });

  it("names the path inside lists and maps", () => {
    const list = z.array(z.object({ deep: z.string().describe("d") }).describe("d")).max(1).meta({ description: "d", "x-kubernetes-list-type": "atomic" });
    assert.throws(() => build(list), /Test\.spec\.field\[\]\.deep has no maxLength/);
    assert.throws(() => build(z.record(z.string(), z.string().describe("d")).meta({ description: "d", maxProperties: 1 })), /Test\.spec\.field\.\* has no maxLength/);
  });
});

describe("texts of schemas", () => {
  it("quotes CEL strings", () => {
    assert.equal(celString("a'b\\c"), "'a\\'b\\\\c'");
  });

  it("refuses NUL and what is left of bytes that are not UTF-8, and nothing else", () => {
    const schema = freeText("d", 10);
    for (const good of ["", "a\nb", "é😀", "\t"]) assert.ok(schema.safeParse(good).success, JSON.stringify(good));
    for (const bad of ["a\u0000b", "\uFFFD", "x".repeat(11)]) assert.ok(!schema.safeParse(bad).success, JSON.stringify(bad));
  });
});
