import assert from "node:assert/strict";
import { test } from "node:test";
import { parseQuantity } from "./quantity.ts";

const CASES: readonly (readonly [string | number, number | undefined])[] = [
  ["1", 1], [1, 1], ["0", 0], ["500m", 0.5], ["1.5", 1.5], [".5", 0.5], ["5.", 5], ["+2", 2], ["-1", -1],
  ["256Mi", 268_435_456], ["2Gi", 2_147_483_648], ["1Ki", 1024], ["1k", 1000], ["1M", 1_000_000], ["1E", 1e18], ["1e3", 1000], ["12E2", 1200],
  ["", undefined], ["Mi", undefined], ["1 Gi", undefined], ["1KB", undefined], ["1e", undefined], ["x", undefined], ["1mi", undefined],
];

for (const [text, expected] of CASES) {
  test(`the quantity ${JSON.stringify(text)} is ${String(expected)}`, () => {
    assert.equal(parseQuantity(text), expected);
  });
}
