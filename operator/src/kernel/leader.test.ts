import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Instant, type Leader, type LeaseClaim, type LeaseRecord, type LeaseStore, NotLeaderError, classifyLeadership, createLeader, timingOf } from "./leader.ts";

// Time is a number that the test turns: node's mock timers drive every wait, the clock is read from them.

interface House {
  /** Turns time, and lets what is due happen. */
  turn(ms: number): Promise<void>;
  clock(): Instant;
  /** Moves the wall clock alone. */
  jump(ms: number): void;
}

function house(t: { readonly mock: { readonly timers: { enable(options: { apis: ["setTimeout"] }): void; tick(ms: number): void } } }): House {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  let jumped = 0;
  const settle = async (): Promise<void> => {
    for (let turns = 0; turns < 6; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    clock: () => ({ monotonicMs: now, wallMs: 1e12 + now + jumped }),
    jump: (ms) => {
      jumped += ms;
    },
    turn: async (ms) => {
      await settle();
      for (let left = ms; left > 0; ) {
        const step = Math.min(left, 100);
        now += step;
        left -= step;
        t.mock.timers.tick(step);
        await settle();
      }
    },
  };
}

/** A lease in memory with the API server's rules. */
class Lease implements LeaseStore {
  record: LeaseRecord | undefined;
  fail: "no" | "refuse" | "loseAnswer" | "hang" = "no";
  writes: string[] = [];
  #version = 0;
  #watchers = new Set<() => void>();

  async read(): Promise<LeaseRecord | undefined> {
    await this.#answer();
    return this.record;
  }

  async write({ holder, durationMs }: LeaseClaim, over: LeaseRecord | undefined): Promise<LeaseRecord | undefined> {
    if (this.fail === "refuse" || this.fail === "hang") await this.#answer();
    if (over?.version !== this.record?.version) return undefined;
    this.set(holder, durationMs);
    this.writes.push(holder);
    if (this.fail === "loseAnswer") throw new Error("the answer was lost");
    return this.record;
  }

  watch(onChange: () => void, signal: AbortSignal): Promise<void> {
    this.#watchers.add(onChange);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        this.#watchers.delete(onChange);
        resolve();
      });
    });
  }

  set(holder: string, durationMs: number): void {
    this.#version += 1;
    this.record = { holder, durationMs, version: String(this.#version), transitions: 0, acquireTime: undefined };
    for (const tell of this.#watchers) tell();
  }

  async #answer(): Promise<void> {
    if (this.fail === "refuse") throw new Error("the API server is away");
    if (this.fail === "hang") await new Promise(() => undefined);
  }
}

const TIMING = timingOf(15_000);

interface Candidate {
  readonly leader: Leader;
  readonly changes: boolean[];
}

function candidate(at: House, { store, name, isPredecessor }: { readonly store: LeaseStore; readonly name: string; readonly isPredecessor?: (holder: string) => boolean }): Candidate {
  const changes: boolean[] = [];
  const leader = createLeader({ identity: name, store, timing: TIMING, clock: at.clock, random: () => 0.5, onChange: (isLeading) => changes.push(isLeading), ...(isPredecessor === undefined ? {} : { isPredecessor }) });
  leader.start();
  return { leader, changes };
}

test("the first one leads at once, the second waits for as long as the first renews", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  await at.turn(50);
  const b = candidate(at, { store, name: "b" });
  await at.turn(60_000);
  assert.deepEqual([a.changes, b.changes], [[true], []]);
  assert.throws(() => b.leader.require(), NotLeaderError);
  a.leader.require();
});

test("a lease that is given back is taken within a second", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  const b = candidate(at, { store, name: "b" });
  await at.turn(5000);
  const stopped = a.leader.stop();
  assert.equal(a.leader.isLeading(), false);
  await at.turn(1000);
  await stopped;
  assert.deepEqual([a.changes, b.changes], [[true, false], [true]]);
  await at.turn(60_000);
  assert.equal(store.record?.holder, "b");
});

test("a holder that shows no sign of life is followed after its time, counted from when the lease was last seen to change", async (t) => {
  const at = house(t);
  const store = new Lease();
  store.set("dead", 15_000);
  await at.turn(14_000);
  const b = candidate(at, { store, name: "b" });
  await at.turn(14_900);
  assert.deepEqual(b.changes, []);
  await at.turn(1000);
  assert.deepEqual(b.changes, [true]);
});

test("who stands in a dead process' place does not wait for its lease to run out", async (t) => {
  const at = house(t);
  const store = new Lease();
  store.set("pod-1_x", 15_000);
  const b = candidate(at, { store, name: "pod-1_y", isPredecessor: (holder) => holder.startsWith("pod-1_") });
  await at.turn(50);
  assert.deepEqual(b.changes, [true]);
});

test("a predecessor is believed dead at the first look only", async (t) => {
  const at = house(t);
  const store = new Lease();
  store.set("other", 15_000);
  const b = candidate(at, { store, name: "pod-1_y", isPredecessor: (holder) => holder.startsWith("pod-1_") });
  await at.turn(2000);
  store.set("pod-1_x", 15_000);
  await at.turn(10_000);
  assert.deepEqual(b.changes, []);
});

for (const fail of ["refuse", "hang"] as const) {
  test(`a holder that cannot renew (${fail}) stops writing before others may begin, and leads again when nobody has`, async (t) => {
    const at = house(t);
    const store = new Lease();
    const a = candidate(at, { store, name: "a" });
    await at.turn(50);
    store.fail = fail;
    await at.turn(TIMING.deadlineMs - TIMING.renewMs * 1.5);
    assert.equal(a.leader.isLeading(), true);
    await at.turn(TIMING.renewMs * 1.5);
    assert.equal(a.leader.isLeading(), false);
    await at.turn(100_000);
    assert.deepEqual(a.changes, [true, false]);
    store.fail = "no";
    await at.turn(5000);
    assert.deepEqual(a.changes, [true, false, true]);
  });
}

test("a renewal whose answer was lost is found to be our own", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  await at.turn(50);
  store.fail = "loseAnswer";
  await at.turn(TIMING.renewMs * 1.5);
  store.fail = "no";
  await at.turn(60_000);
  assert.deepEqual(a.changes, [true]);
});

test("a lease deleted under its holder is made again by the holder, and not by who waits", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  await at.turn(50);
  const b = candidate(at, { store, name: "b" });
  await at.turn(4000);
  store.record = undefined;
  await at.turn(30_000);
  assert.deepEqual([a.changes, b.changes, store.record], [[true], [], store.record]);
  assert.equal((store.record as LeaseRecord | undefined)?.holder, "a");
});

test("a lease that somebody else has taken is given up at once", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  await at.turn(50);
  store.set("b", 15_000);
  await at.turn(TIMING.renewMs * 1.5);
  assert.deepEqual(a.changes, [true, false]);
  assert.equal(store.record?.holder, "b");
});

test("a machine that slept does not believe its monotonic clock, and a wall clock set back gives no time", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  await at.turn(50);
  at.jump(60_000);
  assert.throws(() => a.leader.require(), NotLeaderError);
  await at.turn(4000);
  a.leader.require();
  at.jump(-3_600_000);
  store.fail = "refuse";
  await at.turn(TIMING.deadlineMs + 1000);
  assert.throws(() => a.leader.require(), NotLeaderError);
});

test("a stop while the API server is away ends all the same", async (t) => {
  const at = house(t);
  const store = new Lease();
  const a = candidate(at, { store, name: "a" });
  await at.turn(50);
  store.fail = "hang";
  await at.turn(TIMING.renewMs * 1.5);
  let ended = false;
  const stopped = a.leader.stop().then(() => (ended = true));
  await at.turn(TIMING.retryMs * 5);
  await stopped;
  assert.equal(ended, true);
});

test("never two at a time, whatever the API server and the clocks do", async (t) => {
  const at = house(t);
  const names = ["a", "b", "c"];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ ms: fc.integer({ min: 50, max: 9000 }), fail: fc.constantFrom("no", "no", "refuse", "loseAnswer", "hang"), jump: fc.integer({ min: -20_000, max: 20_000 }) }), { maxLength: 12 }), async (moves) => {
      const store = new Lease();
      const all = names.map((name) => candidate(at, { store, name }));
      for (const { ms, fail, jump } of moves) {
        store.fail = fail;
        at.jump(jump);
        for (let left = ms; left > 0; left -= 250) {
          await at.turn(250);
          assert.ok(all.filter(({ leader }) => leader.isLeading()).length <= 1);
        }
      }
      store.fail = "no";
      await at.turn(40_000);
      assert.equal(all.filter(({ leader }) => leader.isLeading()).length, 1);
      const stopped = all.map(({ leader }) => leader.stop());
      await at.turn(10_000);
      await Promise.all(stopped);
    }),
    { numRuns: 15, endOnFailure: true },
  );
});

test("a write without the lease is no fault of the object's", () => {
  assert.equal(classifyLeadership(new NotLeaderError())?.kind, "not-leader");
  assert.equal(classifyLeadership(new Error("x")), undefined);
});
