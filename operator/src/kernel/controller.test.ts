import assert from "node:assert/strict";
import { test } from "node:test";
import { createController, type PassReport } from "./controller.ts";
import { createExpectations } from "./expectations.ts";
import type { Receipt } from "./expectations.ts";

const KEY = { namespace: "team", name: "a" };

test("a key rests until the cache has seen its own write", async () => {
  let reached = false;
  const reports: PassReport[] = [];
  const receipt: Receipt = { reached: () => reached };
  const controller = createController({
    name: "Lamp",
    workers: 1,
    report: (pass) => reports.push(pass),
    pass: async (_key, note) => {
      note(receipt);
      return { writes: 1 };
    },
  });
  controller.start();
  controller.wake(KEY);
  await controller.idle();
  controller.wake(KEY);
  await controller.idle();
  assert.equal(reports.length, 1);
  reached = true;
  controller.wake(KEY);
  await controller.idle();
  assert.equal(reports.length, 2);
  assert.deepEqual(reports[0]?.key, KEY);
  await controller.stop();
});

test("a write that never comes back is waited for only so long", () => {
  let now = 0;
  const expectations = createExpectations(() => now);
  assert.equal(expectations.restMs("a"), undefined);
  expectations.note("a", { reached: () => false });
  expectations.note("a", { reached: () => true });
  assert.equal(expectations.restMs("a"), 10_000);
  assert.equal(expectations.restMs("b"), undefined);
  now = 10_000;
  assert.equal(expectations.restMs("a"), undefined);
});
