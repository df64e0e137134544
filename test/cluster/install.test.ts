import assert from "node:assert/strict";
import { test } from "node:test";
import { imageValues, mergeValues } from "./install.ts";

test("references become the chart's values, also with a port in the registry", () => {
  const images = new Map([["paddock", "registry:5000/p/paddock:abc"], ["runner", "r:1"], ["sandbox", "s:2"]]);
  assert.deepEqual(imageValues(images), {
    image: { repository: "registry:5000/p/paddock", tag: "abc" }, runner: { image: "r:1" }, sandbox: { image: "s:2" },
  });
  assert.throws(() => imageValues(new Map([["paddock", "p:1"]])), /needs an image called runner; there are paddock/);
});

test("overrides win, deep in objects; lists are replaced", () => {
  assert.deepEqual(
    mergeValues({ a: { b: 1, c: 2 }, list: [1, 2], d: null }, { a: { c: 3 }, list: [], d: { e: true } }),
    { a: { b: 1, c: 3 }, list: [], d: { e: true } },
  );
});
