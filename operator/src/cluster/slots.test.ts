import assert from "node:assert/strict";
import { test } from "node:test";
import { type Priority, createSlots } from "./slots.ts";

test("who waits is taken by priority, within one by age", async () => {
  const slots = createSlots(1);
  const first = await slots.take("background");
  const order: string[] = [];
  const waiters = (["background", "progress", "terminal", "dispatch", "dispatch"] as const).map(async (priority, index) => {
    const release = await slots.take(priority);
    order.push(`${priority} ${index}`);
    release();
  });
  assert.equal(slots.waiting(), 5);
  first();
  await Promise.all(waiters);
  assert.deepEqual(order, ["dispatch 3", "dispatch 4", "terminal 2", "progress 1", "background 0"]);
  (await slots.take("background"))();
});

test("a question in the background is answered however many dispatches keep coming", async () => {
  const slots = createSlots(1);
  let release = await slots.take("dispatch");
  let answered = false;
  void slots.take("background").then((give) => {
    answered = true;
    give();
  });
  let dispatches = 0;
  while (!answered && dispatches < 100) {
    const next = slots.take("dispatch");
    release();
    release = await next;
    dispatches += 1;
  }
  assert.equal(answered, true);
});

test("never more holders than slots", async () => {
  const slots = createSlots(3);
  let holders = 0;
  let most = 0;
  const priorities: readonly Priority[] = ["dispatch", "terminal", "progress", "background"];
  const work = async (index: number): Promise<void> => {
    const release = await slots.take(priorities[index % 4] ?? "progress");
    holders += 1;
    most = Math.max(most, holders);
    await new Promise((resolve) => setImmediate(resolve));
    holders -= 1;
    release();
  };
  await Promise.all(Array.from({ length: 40 }, (_, index) => work(index)));
  assert.deepEqual([most, holders, slots.waiting()], [3, 0, 0]);
});
