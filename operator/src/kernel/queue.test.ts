import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { delayMsOf } from "@paddock/api/backoff";
import { type Verdict, createQueue } from "./queue.ts";

const OK: Verdict = { failed: false };

/** A pass that ends when the test says so. */
function gate() {
  const open: ((verdict: Verdict) => void)[] = [];
  return { pass: () => new Promise<Verdict>((resolve) => open.push(resolve)), finish: (verdict: Verdict = OK) => open.shift()?.(verdict), waiting: () => open.length };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("many wakes of one key before it runs make one pass", async () => {
  const seen: string[] = [];
  const queue = createQueue({ workers: 2, work: async (key) => (seen.push(key), OK) });
  for (let count = 0; count < 5; count += 1) queue.wake("a");
  queue.start();
  await queue.idle();
  assert.deepEqual(seen, ["a"]);
});

test("what wakes a key several times in one go makes one pass, also while passes run", async () => {
  const seen: string[] = [];
  const queue = createQueue({ workers: 2, work: async (key) => (seen.push(key), OK) });
  queue.start();
  for (let count = 0; count < 5; count += 1) queue.wake("a");
  await queue.idle();
  assert.deepEqual(seen, ["a"]);
});

test("a key woken while it is worked on gets one more pass, never two at once", async () => {
  const door = gate();
  const queue = createQueue({ workers: 4, work: door.pass });
  queue.start();
  queue.wake("a");
  await turn();
  queue.wake("a");
  queue.wake("a");
  await turn();
  assert.equal(door.waiting(), 1);
  door.finish();
  await turn();
  assert.equal(door.waiting(), 1);
  door.finish();
  await queue.idle();
  assert.equal(door.waiting(), 0);
});

test("no more passes at once than workers", async () => {
  const door = gate();
  const queue = createQueue({ workers: 2, work: door.pass });
  queue.start();
  for (const key of ["a", "b", "c"]) queue.wake(key);
  await turn();
  assert.equal(door.waiting(), 2);
  assert.equal(queue.depth(), 1);
  door.finish();
  await turn();
  assert.equal(door.waiting(), 2);
  door.finish();
  door.finish();
  await queue.idle();
});

test("of several times the earliest counts", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  let passes = 0;
  const queue = createQueue({ workers: 1, work: async () => ((passes += 1), OK) });
  queue.start();
  queue.wakeAfter("a", 500);
  queue.wakeAfter("a", 100);
  queue.wakeAfter("a", 900);
  t.mock.timers.tick(99);
  await turn();
  assert.equal(passes, 0);
  t.mock.timers.tick(1);
  await turn();
  assert.equal(passes, 1);
  t.mock.timers.tick(1000);
  await turn();
  assert.equal(passes, 1);
});

test("failures back off, doubling, and success forgets them", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const verdicts: Verdict[] = [{ failed: true }, { failed: true }, OK, { failed: true }];
  const passes: number[] = [];
  const queue = createQueue({
    workers: 1,
    backoff: { firstMs: 100, mostMs: 10_000 },
    random: () => 1,
    work: async () => {
      passes.push(Date.now());
      return verdicts.shift() ?? OK;
    },
  });
  queue.start();
  queue.wake("a");
  await turn();
  for (let step = 0; step < 10; step += 1) {
    t.mock.timers.tick(100);
    await turn();
  }
  assert.deepEqual(passes, [0, 100, 300]);
  queue.wake("a");
  await turn();
  t.mock.timers.tick(100);
  await turn();
  assert.deepEqual(passes, [0, 100, 300, 1000, 1100]);
});

test("a delay beyond 31 bits does not fire at once", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  let passes = 0;
  const queue = createQueue({ workers: 1, work: async () => ((passes += 1), OK) });
  queue.start();
  queue.wakeAfter("a", 2 ** 40);
  t.mock.timers.tick(1000);
  await turn();
  assert.equal(passes, 0);
  await queue.stop();
});

test("stop leaves no timer, begins no pass and waits for those under way", async () => {
  const door = gate();
  const queue = createQueue({ workers: 1, work: door.pass });
  queue.start();
  queue.wake("a");
  queue.wake("b");
  queue.wakeAfter("c", 60_000);
  await turn();
  let stopped = false;
  const stopping = queue.stop().then(() => {
    stopped = true;
  });
  await turn();
  assert.equal(stopped, false);
  assert.equal(queue.delayed(), 0);
  door.finish({ failed: true, requeueAfterMs: 10 });
  await stopping;
  queue.wake("d");
  queue.wakeAfter("d", 1);
  await turn();
  assert.equal(queue.delayed(), 0);
  assert.equal(door.waiting(), 0);
});

test("whatever happens: no key runs twice at once, and each wake is followed by a pass that began after it", async () => {
  const command = fc.oneof(
    fc.record({ do: fc.constant("wake" as const), key: fc.constantFrom("a", "b", "c") }),
    fc.record({ do: fc.constant("finish" as const), failed: fc.boolean() }),
    fc.record({ do: fc.constant("turn" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 60 }), fc.integer({ min: 1, max: 3 }), async (commands, workers) => {
      const running = new Map<string, () => void>();
      const owed = new Set<string>();
      const fresh = { firstMs: 1e6, mostMs: 1e6 };
      const queue = createQueue({
        workers,
        backoff: fresh,
        work: (key) => {
          assert.equal(running.has(key), false);
          assert.equal(running.size < workers, true);
          owed.delete(key);
          return new Promise((resolve) => {
            running.set(key, () => {
              running.delete(key);
              resolve(OK);
            });
          });
        },
      });
      queue.start();
      for (const one of commands) {
        if (one.do === "wake") {
          owed.add(one.key);
          queue.wake(one.key);
        } else if (one.do === "finish") [...running.values()][0]?.();
        else await turn();
      }
      while (queue.depth() > 0 || running.size > 0 || owed.size > 0) {
        await turn();
        for (const finish of [...running.values()]) finish();
        await turn();
      }
      await queue.stop();
      assert.equal(owed.size, 0);
    }),
    { numRuns: 200 },
  );
});

test("a back-off is never more than its maximum nor less than half its step", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (failures, random) => {
      const ms = delayMsOf({ firstMs: 50, mostMs: 60_000 }, failures - 1, () => random);
      assert.equal(ms >= 25 && ms <= 60_000, true);
    }),
  );
});

test("a pause leaves no timer, hears no wake, lets passes under way end, and a start goes on", async () => {
  const door = gate();
  const queue = createQueue({ workers: 1, work: door.pass });
  queue.start();
  queue.wake("a");
  queue.wake("b");
  queue.wakeAfter("c", 1e6);
  await turn();
  queue.pause();
  queue.wake("d");
  queue.wakeAfter("e", 0);
  assert.deepEqual([queue.depth(), queue.delayed(), door.waiting()], [0, 0, 1]);
  queue.start();
  queue.wake("a");
  await turn();
  // Still in its first pass: never twice at once, not even across a pause.
  assert.equal(door.waiting(), 1);
  door.finish({ failed: true });
  await turn();
  assert.equal(door.waiting(), 1);
  door.finish();
  await queue.idle();
  await queue.stop();
  queue.start();
  queue.wake("f");
  await turn();
  assert.equal(door.waiting(), 0);
});

test("a pass that only rested forgets no failure", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const verdicts: Verdict[] = [{ failed: true }, { failed: false, rested: true }, { failed: true }];
  let passes = 0;
  const queue = createQueue({ workers: 1, random: () => 0.999_999, backoff: { firstMs: 100, mostMs: 10_000 }, work: async () => verdicts[passes++] ?? OK });
  queue.start();
  for (let wakes = 0; wakes < 3; wakes += 1) {
    queue.wake("a");
    await queue.idle();
  }
  // The second failure in a row: twice the first delay, of which at least half is waited.
  t.mock.timers.tick(99);
  await queue.idle();
  assert.equal(passes, 3);
  t.mock.timers.tick(101);
  await turn();
  assert.equal(passes, 4);
});

test("a key that is woken all the time takes no turn from others", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 30 }), async (workers, others) => {
      let hot = 0;
      const seen = new Set<string>();
      const queue = createQueue({
        workers,
        work: async (key) => {
          if (key === "hot") hot += 1;
          else seen.add(key);
          // Woken by its own pass, as by a watch that never ends.
          if (seen.size < others) queue.wake("hot");
          return OK;
        },
      });
      queue.start();
      queue.wake("hot");
      for (let index = 0; index < others; index += 1) queue.wake(`cold-${index}`);
      await queue.idle();
      assert.equal(seen.size, others);
      // In each round of turns it has one.
      assert.ok(hot <= others + 2, String(hot));
    }),
  );
});
