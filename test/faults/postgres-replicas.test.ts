import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { AT, append, create, newRecord, write } from "../../gateway/src/store/testdata/cases-scene.ts";
import { openPostgresStore } from "../../gateway/src/store/postgres.ts";
import type { PostgresOptions } from "../../gateway/src/store/postgres.ts";
import type { Change, LedgerChange, Store } from "../../gateway/src/store/store.ts";
import { boundEvents, buildTestBundle, event, runFinishedEvent } from "../fakes/session.ts";
import { postgresOfFile, until } from "../postgres/scene.ts";

// Two gateways' stores over one Postgres database.

const DAY = "2026-01-01";
const NEXT_DAY = "2026-01-02";

const serverOf = postgresOfFile();
const cancelled = (reason: string) => event("session.cancelled", { reason });

/** Stores of one new database, closed after the test. */
async function openStores(context: TestContext, count: number, options: Partial<PostgresOptions> = {}): Promise<{ readonly url: string; readonly stores: readonly Store[] }> {
  const url = await serverOf().createDatabase();
  const stores = await Promise.all(Array.from({ length: count }, () => openPostgresStore(url, { now: () => new Date(), ...options })));
  context.after(() => Promise.all(stores.map((store) => store.close())));
  return { url, stores };
}

async function openTwo(context: TestContext, options: Partial<PostgresOptions> = {}): Promise<{ readonly url: string; readonly a: Store; readonly b: Store }> {
  const { url, stores } = await openStores(context, 2, options);
  const [a, b] = stores;
  assert.ok(a !== undefined && b !== undefined);
  return { url, a, b };
}

/** Versions and last sequence numbers that a store's listeners were told, as they were. */
function listen(store: Store): readonly { readonly uid: string; readonly version: number; readonly lastSeq: number }[] {
  const told: { readonly uid: string; readonly version: number; readonly lastSeq: number }[] = [];
  store.subscribe((change) => {
    if (change.kind === "record") told.push({ uid: change.record.uid, version: change.record.version, lastSeq: change.record.state.lastSeq });
  });
  return told;
}

function isIncreasing(numbers: readonly number[]): boolean {
  return numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0));
}

test("several stores that open an empty database at once make it once, and are one store", async (context) => {
  const { stores } = await openStores(context, 4);
  assert.equal(new Set(stores.map(({ incarnation }) => incarnation)).size, 1);
  const secrets = await Promise.all(stores.map((store, index) => store.secret("ca", async () => `made by ${index}`)));
  assert.equal(new Set(secrets).size, 1);
});

test("each store's listeners are told of both stores' commits, in commit order, of its own before the caller knows", async (context) => {
  const { a, b } = await openTwo(context);
  const uids = ["r0", "r1", "r2", "r3"];
  for (const uid of uids) await create(a, uid);
  await until(async () => (await b.recordsAfter({ after: 0, limit: 10, acknowledged: true })).length === 4, "b sees what a made");
  const [toldA, toldB] = [listen(a), listen(b)];
  const work = async (store: Store, told: ReturnType<typeof listen>, uid: string): Promise<void> => {
    for (let n = 0; n < 15; n += 1) {
      const seq = await store.change(uid, ({ record }) => ({ write: write(record.state, [cancelled("")]), result: record.state.lastSeq + 1 }));
      assert.ok(told.some((one) => one.uid === uid && one.lastSeq >= (seq ?? Infinity)), `event ${seq} of ${uid} was not told before its caller knew`);
    }
  };
  await Promise.all(uids.flatMap((uid) => [work(a, toldA, uid), work(b, toldB, uid)]));
  for (const [store, told] of [[a, toldA], [b, toldB]] as const) {
    await until(() => uids.every((uid) => told.some((one) => one.uid === uid && one.lastSeq === 32)), "every record's last change is told");
    assert.ok(isIncreasing(told.map(({ version }) => version)), told.map(({ version }) => version).join(" "));
    for (const uid of uids) assert.ok(isIncreasing(told.filter((one) => one.uid === uid).map(({ lastSeq }) => lastSeq)));
    assert.equal(await store.version(), 4 + 8 * 15);
  }
});

test("appends of both stores to one session at once: one log without gap, every one of them in it", async (context) => {
  const { a, b } = await openTwo(context);
  await create(a, "s");
  await Promise.all(Array.from({ length: 80 }, (_, n) => append(n % 2 === 0 ? a : b, "s", [cancelled(`by ${n}`)])));
  const events = await b.events("s", { after: 0, limit: 1000 });
  assert.equal(events.length, 82);
  let previous = "";
  for (const { hash, ...hashed } of events) {
    assert.equal(hash, hashOf(previous, hashed));
    previous = hash;
  }
  assert.equal(new Set(events.map(({ data }) => JSON.stringify(data))).size, 82);
});

test("one session created at both stores at once is one", async (context) => {
  const { a, b } = await openTwo(context);
  const made = await Promise.all([a, b, a, b].map((store, n) => store.create(newRecord("s", { bindKey: `key ${n}` }), write(EMPTY_STATE, boundEvents(buildTestBundle("s"))))));
  assert.equal(made.filter(({ created }) => created).length, 1);
  assert.equal(new Set(made.map(({ record }) => record.bindKey)).size, 1);
});

async function createPaid(store: Store, uid: string, environment: string): Promise<void> {
  const bundle = buildTestBundle(uid);
  await create(store, uid, { bundle: { ...bundle, environment: { ...bundle.environment, name: environment, uid: `${environment}-uid` } } });
}

/** Reserves 10 nano-USD of the day when they fit. */
async function reserve(store: Store, uid: string, day: string): Promise<boolean> {
  const isTaken = await store.change<boolean>(
    uid,
    ({ record, budget }) => {
      assert.ok(budget !== undefined && typeof budget.limitNanoUSD === "bigint" && budget.day === day);
      assert.ok(budget.usedNanoUSD + budget.reservedNanoUSD <= budget.limitNanoUSD, `${budget.usedNanoUSD} + ${budget.reservedNanoUSD} of ${budget.limitNanoUSD}`);
      if (budget.usedNanoUSD + budget.reservedNanoUSD + 10n > budget.limitNanoUSD) return { result: false };
      return { write: { ...write(record.state, [cancelled("")]), ledger: [{ day, requests: 1, reservedNanoUSD: 10n }] }, result: true };
    },
    { day },
  );
  return isTaken === true;
}

/** What nobody could foresee from the record: a change of the ledger by a call that did not ask for its day. */
const settle = (store: Store, uid: string, change: LedgerChange): Promise<void> => append(store, uid, [cancelled("")], { ledger: [change] });

test("32 sessions at two stores never reserve more than their day's budget, and what is released is reserved again", async (context) => {
  const { a, b } = await openTwo(context);
  const uids = Array.from({ length: 32 }, (_, n) => `s${n}`);
  for (const uid of uids) await createPaid(a, uid, "shared");
  await a.putBudget({ environmentUid: "shared-uid", costUSDPerDay: "0.000000105" });
  const work = async (uid: string, n: number): Promise<void> => {
    const store = n % 2 === 0 ? a : b;
    for (let round = 0; round < 4; round += 1) {
      // Spends 1 of the 10: the other 9 are free again.
      if (await reserve(store, uid, DAY)) await settle(n % 3 === 0 ? a : b, uid, { day: DAY, reservedNanoUSD: -10n, costNanoUSD: 1n });
    }
  };
  await Promise.all(uids.map(work));
  const [sum] = await b.usage({ namespace: "team", from: DAY, to: DAY, by: [] });
  assert.ok(sum !== undefined);
  assert.equal(sum.reservedNanoUSD, 0n);
  assert.equal(sum.costNanoUSD, BigInt(sum.requests));
  assert.ok(sum.requests >= 10 && sum.costNanoUSD <= 105n, `${sum.requests} requests`);
});

test("budgets of several Environments and days, changed by both stores in any order, never lock each other out", async (context) => {
  const { a, b } = await openTwo(context);
  const environments = ["e0", "e1", "e2"];
  const uids = Array.from({ length: 12 }, (_, n) => `s${n}`);
  for (const [n, uid] of uids.entries()) await createPaid(a, uid, environments[n % 3] ?? "");
  for (const environment of environments) await b.putBudget({ environmentUid: `${environment}-uid`, costUSDPerDay: "1" });
  await Promise.all(
    uids.flatMap((uid, n) =>
      [a, b].map(async (store, other) => {
        for (let round = 0; round < 5; round += 1) {
          await reserve(store, uid, (n + other + round) % 2 === 0 ? DAY : NEXT_DAY);
          await settle(store, uid, { day: (n + round) % 2 === 0 ? NEXT_DAY : DAY, costNanoUSD: 1n });
        }
      }),
    ),
  );
  const sums = await a.usage({ namespace: "team", from: DAY, to: NEXT_DAY, by: [] });
  assert.deepEqual(sums.map(({ requests, reservedNanoUSD, costNanoUSD }) => [requests, reservedNanoUSD, costNanoUSD]), [[120, 1200n, 120n]]);
});

test("live limits and what is only said reach the other store, whatever their text, and not the one that says it", async (context) => {
  const { a, b } = await openTwo(context);
  const changes: Change[] = [];
  b.subscribe((change) => changes.push(change));
  await a.putBudget({ environmentUid: "e", costUSDPerDay: "2" });
  await until(() => changes.length > 0, "the limit is told");
  assert.deepEqual(changes, [{ kind: "budget", budget: { environmentUid: "e", costUSDPerDay: "2" } }]);
  const [heardA, heardB]: [string[], string[]] = [[], []];
  a.onBroadcast((text) => heardA.push(text));
  b.onBroadcast((text) => heardB.push(text));
  const texts = ["", "short", `\0 ${"ümlaut 🐎 ' \\ ".repeat(60_000)}`, ...Array.from({ length: 50 }, (_, n) => `delta ${n}`)];
  await Promise.all(texts.map((text) => a.broadcast(text)));
  await b.broadcast("from b");
  await until(() => heardB.length >= texts.length && heardA.length > 0, "everything is heard");
  assert.deepEqual(heardB, texts);
  assert.deepEqual(heardA, ["from b"]);
});

test("a connection that listens and is cut is made again, and what was committed meanwhile is told without a gap", async (context) => {
  // No beat that would ask for what was missed.
  const { url, a, b } = await openTwo(context, { beatMs: 3_600_000 });
  for (const uid of ["x", "y"]) await create(a, uid);
  await until(async () => (await b.version()) === 2, "b is there");
  const told = listen(b);
  for (let round = 0; round < 5; round += 1) {
    const cut = await serverOf().sql(url, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %';");
    assert.ok(round > 0 || Number(cut) === 2, `${cut.trim()} connections were cut`);
    for (const uid of ["x", "y"]) await append(a, uid, [cancelled("")]);
    const version = await a.version();
    await until(() => told.at(-1)?.version === version, `version ${version} is told`);
  }
  assert.ok(isIncreasing(told.map(({ version }) => version)));
  assert.deepEqual(["x", "y"].map((uid) => told.filter((one) => one.uid === uid).at(-1)?.lastSeq), [7, 7]);
});

/** A store in another process that the runner of a session is connected to. */
async function startReplica(context: TestContext, url: string, runner: { readonly uid: string; readonly podUid: string }): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, "../postgres/replica.ts"), url, runner.uid, runner.podUid], { stdio: ["ignore", "pipe", "inherit"] });
  context.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child;
}

test("runners of a replica that died are disconnected by another, those of the living stay", async (context) => {
  const { url, a, b } = await openTwo(context, { beatMs: 50, deadAfterMs: 2000 });
  for (const [uid, podUid] of [["lost", "r1"], ["kept", "r2"]] as const) {
    await create(a, uid);
    await a.register({ podUid, sessionUid: uid, component: "runner", podName: podUid }, AT);
  }
  await a.connected("kept", "r2", true, AT);
  const isConnected = async (uid: string): Promise<boolean | undefined> => (await b.record(uid))?.runner.connected;
  const child = await startReplica(context, url, { uid: "lost", podUid: "r1" });
  assert.deepEqual([await isConnected("lost"), await isConnected("kept")], [true, true]);
  const told = listen(b);
  // Frozen, it is taken for dead; back again, it says whose streams it still has.
  child.kill("SIGSTOP");
  await until(async () => (await isConnected("lost")) === false, "the frozen replica's runner is disconnected");
  child.kill("SIGCONT");
  await until(async () => (await isConnected("lost")) === true, "the thawed replica's runner is connected");
  child.kill("SIGKILL");
  await until(async () => (await isConnected("lost")) === false, "the dead replica's runner is disconnected");
  assert.equal(await isConnected("kept"), true);
  await until(async () => told.at(-1)?.version === (await b.version()), "b is told");
  // More often when the machine is so busy that the living one is late.
  assert.ok(told.length >= 3 && told.every(({ uid }) => uid === "lost"), JSON.stringify(told));
});

test("a store that opens or closes leaves the runners of the others alone, and one that moved stays connected", async (context) => {
  const { url, a, b } = await openTwo(context);
  await create(a, "s");
  await a.register({ podUid: "r1", sessionUid: "s", component: "runner", podName: "r1" }, AT);
  await a.connected("s", "r1", true, AT);
  const third = await openPostgresStore(url, { now: () => new Date() });
  await third.connected("s", "r1", true, "2026-01-01T00:00:05.000Z");
  const before = await b.record("s");
  assert.deepEqual(before?.runner, { podUid: "r1", connected: true, since: AT });
  // Its stream at the first ends after the one at the third began.
  await a.connected("s", "r1", false, "2026-01-01T00:00:06.000Z");
  assert.deepEqual(await b.record("s"), before);
  await third.close();
  assert.equal((await b.record("s"))?.runner.connected, false);
});

test("a runner whose end could not be noted, because the server was away then, is disconnected by the next beat", async (context) => {
  const { url, a } = await openTwo(context, { beatMs: 50 });
  for (const [uid, podUid] of [["left", "r1"], ["stays", "r2"]] as const) {
    await create(a, uid);
    await a.register({ podUid, sessionUid: uid, component: "runner", podName: podUid }, AT);
    await a.connected(uid, podUid, true, AT);
  }
  await a.connected("left", "r1", false, AT);
  // As the row was before.
  await serverOf().sql(url, "UPDATE records SET runner_connected = true, runner_replica = (SELECT runner_replica FROM records WHERE uid = 'stays') WHERE uid = 'left';");
  await until(async () => (await a.record("left"))?.runner.connected === false, "nobody follows any more");
  assert.equal((await a.record("stays"))?.runner.connected, true);
});

test("both stores expire at once: each record once, and none that another one works on is waited for", async (context) => {
  const { a, b } = await openTwo(context);
  for (let n = 0; n < 10; n += 1) {
    await create(a, `s${n}`);
    await append(b, `s${n}`, [runFinishedEvent()]);
    await a.acknowledge(`s${n}`);
  }
  const gone = await Promise.all([a.expire("2026-02-01T00:00:00.000Z", 10), b.expire("2026-02-01T00:00:00.000Z", 10)]);
  assert.equal(gone[0] + gone[1], 10);
  assert.deepEqual(await a.recordsAfter({ after: 0, limit: 10, acknowledged: true }), []);
  assert.deepEqual(await b.events("s1", { after: 0, limit: 10 }), []);
});
