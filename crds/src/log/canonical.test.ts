import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { canonicalJson, digestOf, sha256 } from "./canonical.ts";

describe("canonical JSON", () => {
  it("sorts keys by code unit at every depth and leaves lists in order", () => {
    assert.equal(canonicalJson({ b: 1, a: { d: [2, 1], c: null } }), '{"a":{"c":null,"d":[2,1]},"b":1}');
    assert.equal(canonicalJson({ "é": 1, z: 2, Z: 3 }), '{"Z":3,"z":2,"é":1}');
  });

  it("drops members that are undefined", () => {
    assert.equal(canonicalJson({ a: undefined, b: 1 }), '{"b":1}');
  });

  it("keeps every own key, also those with a meaning in JavaScript", () => {
    assert.equal(canonicalJson(JSON.parse('{"__proto__":1,"constructor":2}')), '{"__proto__":1,"constructor":2}');
  });

  it("refuses numbers that JSON does not have", () => {
    for (const number of [NaN, Infinity, -Infinity]) assert.throws(() => canonicalJson({ a: [number] }), TypeError);
  });

  it("gives equal text to equal values, whatever the order of their keys", () => {
    const shuffled = fc.jsonValue().chain((value) => fc.tuple(fc.constant(value), fc.integer()).map(([original, seed]) => [original, reorder(original, seed)] as const));
    fc.assert(fc.property(shuffled, ([a, b]) => {
      assert.equal(canonicalJson(a), canonicalJson(b));
    }));
  });

  it("loses nothing: parsing gives the value back, and its text is stable", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      assert.equal(canonicalJson(JSON.parse(text)), text);
    }));
  });
});

describe("digests", () => {
  it("are SHA-256 with its name in front", () => {
    assert.equal(sha256(""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });

  it("differ for different values and not for different key orders", () => {
    assert.equal(digestOf({ a: 1, b: 2 }), digestOf({ b: 2, a: 1 }));
    assert.notEqual(digestOf({ a: 1 }), digestOf({ a: "1" }));
  });
});

/** The same JSON value with the keys of its objects in another order. */
function reorder(value: unknown, seed: number): unknown {
  if (Array.isArray(value)) return value.map((item) => reorder(item, seed));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, reorder(item, seed)] as const);
  const turn = entries.length === 0 ? 0 : Math.abs(seed) % entries.length;
  return Object.fromEntries([...entries.slice(turn), ...entries.slice(0, turn)].reverse());
}
