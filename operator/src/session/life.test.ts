import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { session } from "./sample.ts";
import { type Deed, type SmallWorld, createSmallWorld, isSame, reasonOf } from "./small-world.ts";

/**
 * Lets operator and world take turns until nothing moves but time, and then lets time pass until the operator wants nothing any more.
 * Returns all writes in order. Throws when that takes suspiciously long.
 */
async function live(world: SmallWorld, views: (latest: ReturnType<SmallWorld["state"]>) => ReturnType<SmallWorld["state"]> = (latest) => latest): Promise<string[]> {
  const all: string[] = [];
  for (let turn = 0; turn < 500; turn += 1) {
    const before = world.state();
    const view = views(before);
    const { wrote, result } = await world.pass(view);
    all.push(...wrote);
    if (result.fault !== undefined || world.step() || !isSame(world.state(), before) || view !== before) continue;
    if (result.requeueAfterMs === undefined) return all;
    world.wait(result.requeueAfterMs);
  }
  throw new Error(`the session has not come to rest: ${all.slice(-20).join("; ")}`);
}

const HELLO: readonly Deed[] = ["turn", "finish"];
const WORKSPACE: readonly Deed[] = ["turn", "sandbox", "tool", "turn", "finish"];
const isApiWrite = (write: string): boolean => /^(create|delete|status) /.test(write);

async function assertSilent(world: SmallWorld): Promise<void> {
  for (const ms of [0, 1_000, 100_000, 100_000_000]) {
    world.wait(ms);
    assert.deepEqual((await world.pass()).wrote, []);
  }
}

function assertOver(world: SmallWorld, reason: string): void {
  const { session: self, pods, record } = world.state();
  assert.equal(reasonOf(self), reason);
  assert.equal(self.status?.conditions?.find(({ type }) => type === "Finished")?.status, "True");
  assert.deepEqual([pods, record], [[], undefined]);
}

test("a short session: bound, counted, made, registered, told, deleted, acknowledged; four writes to the API server, then silence", async () => {
  const world = createSmallWorld([HELLO]);
  const writes = await live(world);
  assert.deepEqual(writes, ["bind", "status Starting", "create notes-r1", "register notes-r1", "delete notes-r1", "status Completed", "acknowledge"]);
  assert.equal(writes.filter(isApiWrite).length, 4);
  assertOver(world, "Completed");
  await assertSilent(world);
});

test("a session with a sandbox gets it when the log asks", async () => {
  const world = createSmallWorld([WORKSPACE]);
  const writes = await live(world);
  assert.deepEqual(writes, [
    "bind", "status Starting", "create notes-r1", "register notes-r1",
    "create notes-s1", "register notes-s1", "append sandbox.bound",
    "delete notes-r1", "delete notes-s1", "status Completed", "acknowledge",
  ]);
  assertOver(world, "Completed");
  await assertSilent(world);
});

test("a runner that dies is followed by another, and the session completes with two attempts", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool", "die"], ["turn", "finish"]]);
  const writes = await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 2);
  assert.deepEqual(writes.filter((write) => write.startsWith("create")), ["create notes-r1", "create notes-s1", "create notes-r2"]);
  await assertSilent(world);
});

test("a runner that is cut off is replaced after a minute", async () => {
  const world = createSmallWorld([["turn", "hang"], ["finish"]]);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 2);
});

test("three runners without progress end the session", async () => {
  const world = createSmallWorld([["die"], ["die"], ["die"], ["finish"]]);
  const writes = await live(world);
  assertOver(world, "RunnerFailed");
  assert.deepEqual(writes.filter((write) => write.startsWith("create")), ["create notes-r1", "create notes-r2", "create notes-r3"]);
  await assertSilent(world);
});

test("runners that make progress may die more often than that", async () => {
  const world = createSmallWorld([["turn", "die"], ["turn", "die"], ["turn", "die"], ["turn", "die"], ["finish"]]);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 5);
});

test("a cancel of a runner that does not react ends within seconds", async () => {
  const world = createSmallWorld([["turn"]]);
  while (world.state().record?.turns !== 1) {
    await world.pass();
    world.step();
  }
  const cancelledAt = world.now().getTime();
  world.change({ session: { ...world.state().session, spec: { ...session().spec, cancel: true } } });
  const writes = await live(world);
  assertOver(world, "Cancelled");
  assert.deepEqual(writes.filter((write) => write.startsWith("append")), ["append session.cancelled", "append run.finished"]);
  assert.ok(world.now().getTime() - cancelledAt <= 3_000);
  await assertSilent(world);
});

test("a session that never ends is ended at its deadline", async () => {
  const world = createSmallWorld([["turn"]]);
  await live(world);
  assertOver(world, "DeadlineExceeded");
  await assertSilent(world);
});

test("a sandbox that the runner replaces goes when the next one is made", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool", "sandbox", "tool", "finish"]]);
  const writes = await live(world);
  assertOver(world, "Completed");
  assert.deepEqual(writes.filter((write) => write.includes("notes-s")), [
    "create notes-s1", "register notes-s1", "delete notes-s1", "create notes-s2", "register notes-s2", "delete notes-s2",
  ]);
});

for (const [name, scripts, outcome] of [
  ["with a sandbox", [WORKSPACE], "Completed"],
  ["whose runner dies", [["turn", "sandbox", "tool", "die"], ["turn", "finish"]], "Completed"],
  ["that fails", [["die"], ["die"], ["die"]], "RunnerFailed"],
] as const) {
  test(`the operator may die at any write of a session ${name}: the end is the same, and no pod is made twice`, async () => {
    const reference = createSmallWorld(scripts);
    const expected = await live(reference);
    const pods = expected.filter((write) => write.startsWith("create"));
    for (let n = 1; n <= expected.length; n += 1) {
      for (const when of ["before", "after"] as const) {
        const world = createSmallWorld(scripts);
        world.crashAt(n, when);
        const writes = await live(world);
        assertOver(world, outcome);
        assert.equal(world.state().session.status?.runner?.attempts, reference.state().session.status?.runner?.attempts, `attempts after a crash ${when} write ${n}`);
        // A write that was carried out and then not noted is the one that may be missing from the list.
        const missing = when === "after" ? expected[n - 1] : undefined;
        assert.deepEqual([...new Set([...writes, missing].filter((write) => write?.startsWith("create")))].sort(), [...pods].sort());
        await assertSilent(world);
      }
    }
  });
}

test("caches that lag behind, each source by itself, change nothing about the end", async () => {
  const lag = fc.record({ session: fc.nat(3), pods: fc.nat(3), record: fc.nat(3) });
  await fc.assert(
    fc.asyncProperty(fc.array(lag, { maxLength: 40 }), async (lags) => {
      const world = createSmallWorld([["turn", "sandbox", "tool", "die"], ["turn", "finish"]]);
      const history: ReturnType<SmallWorld["state"]>[] = [];
      const shown = { session: 0, pods: 0, record: 0 };
      let turn = 0;
      await live(world, (latest) => {
        history.push(latest);
        const behind = lags[turn];
        turn += 1;
        if (behind === undefined) return latest;
        // A cache never goes back.
        for (const source of ["session", "pods", "record"] as const) shown[source] = Math.max(shown[source], history.length - 1 - behind[source]);
        const entry = (source: keyof typeof shown) => history[shown[source]] ?? latest;
        return { session: entry("session").session, pods: entry("pods").pods, record: entry("record").record };
      });
      assertOver(world, "Completed");
      assert.equal(world.state().session.status?.runner?.attempts, 2);
    }),
    { numRuns: 200 },
  );
});
