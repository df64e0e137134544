import assert from "node:assert/strict";
import { test } from "node:test";
import { createKept } from "./kept.ts";

test("what was used longest ago goes first, by weight", () => {
  const kept = createKept<number>(10);
  kept.set("a", 1, 4);
  kept.set("b", 2, 4);
  assert.equal(kept.get("a"), 1);
  kept.set("c", 3, 4);
  assert.deepEqual(["a", "b", "c"].map(kept.get), [1, undefined, 3]);
  kept.set("large", 4, 100);
  assert.deepEqual(["a", "c", "large"].map(kept.get), [undefined, undefined, 4], "the newest is kept, whatever it weighs");
  kept.set("d", 5, 1);
  assert.deepEqual(["large", "d"].map(kept.get), [undefined, 5]);
});

test("a value that is set again, deleted or cleared weighs nothing any more", () => {
  const kept = createKept<number>(10);
  for (let n = 0; n < 100; n += 1) kept.set("a", n, 6);
  kept.set("b", 1, 4);
  assert.deepEqual(["a", "b"].map(kept.get), [99, 1]);
  kept.delete("a");
  kept.delete("a");
  kept.set("c", 2, 6);
  assert.deepEqual(["a", "b", "c"].map(kept.get), [undefined, 1, 2]);
  kept.clear();
  assert.equal(kept.get("b"), undefined);
  kept.set("d", 3, 10);
  assert.equal(kept.get("d"), 3);
});
