import assert from "node:assert/strict";
import { test } from "node:test";
import { createBinding } from "./binding.ts";

test("the first key stays; epochs only grow; one session", () => {
  const binding = createBinding();
  assert.equal(binding.refusalOf({ key: "k", epoch: 1 })?.type, "unauthenticated");
  assert.deepEqual(binding.bind({ key: "k", epoch: 2 }, "s"), { takeover: false });
  assert.equal(binding.refusalOf({ key: "k", epoch: 2 }), undefined);
  assert.equal(binding.refusalOf({ key: "other", epoch: 2 })?.type, "unauthenticated");
  assert.equal(binding.refusalOf({ key: "k", epoch: 1 })?.type, "fenced");
  assert.equal(binding.refusalOf({ key: "k", epoch: 3 })?.type, "fenced", "it has to bind first");

  assert.deepEqual(binding.bind({ key: "k", epoch: 2 }, "s"), { takeover: false });
  for (const [key, epoch, session] of [["other", 9, "s"], ["k", 1, "s"], ["k", 9, "another"]] as const) {
    const refused = binding.bind({ key, epoch }, session);
    assert.equal("type" in refused && refused.type, "fenced");
  }
  assert.equal(binding.refusalOf({ key: "k", epoch: 2 }), undefined, "refused binds changed nothing");
  assert.deepEqual(binding.bind({ key: "k", epoch: 3 }, "s"), { takeover: true });
  assert.equal(binding.refusalOf({ key: "k", epoch: 2 })?.type, "fenced");
});
