import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { SessionState } from "@paddock/api/log/state";
import { buildTestBundle, decidedEvent, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent } from "../../../test/fakes/session.ts";
import { LogCorruptError } from "../store/store.ts";
import type { Store } from "../store/store.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { createLogger } from "../telemetry/logger.ts";
import { openLogWriter } from "./append.ts";
import type { LogWriter } from "./append.ts";
import { createDamage } from "./damage.ts";
import { startTicker } from "./ticker.ts";
import type { Ticker, TickerPorts } from "./ticker.ts";

const BUNDLE = buildTestBundle("u");
const ASKING: Pick<Bundle, "agent" | "environment"> = {
  agent: { ...BUNDLE.agent, spec: { ...BUNDLE.agent.spec, tools: [{ name: "bash", permission: "Ask" }] } },
  environment: { ...BUNDLE.environment, spec: { ...BUNDLE.environment.spec, approvals: { timeoutSeconds: 1 } } },
};

interface Scene {
  readonly store: Store;
  readonly writer: LogWriter;
  start(change?: Partial<TickerPorts>): Ticker;
  /** Milliseconds by which the gateway's clock is ahead. */
  moveClock(ms: number): void;
}

function setScene(context: TestContext): Scene {
  const folder = mkdtempSync(join(tmpdir(), "paddock-ticker-"));
  let ahead = 0;
  const now = (): Date => new Date(Date.now() + ahead);
  const store = openSqliteStore(folder, now);
  const writer = openLogWriter({ store, now, count: () => undefined, stored: () => undefined });
  const logger = createLogger("silent");
  const tickers: Ticker[] = [];
  context.after(async () => {
    await Promise.all(tickers.map((ticker) => ticker.stop()));
    await store.close();
    rmSync(folder, { recursive: true });
  });
  return {
    store,
    writer,
    start: (change = {}) => {
      const damage = createDamage({ store, writer, logger, count: () => undefined });
      const ticker = startTicker({ store, writer, damage, logger, now, retentionSeconds: 0, expired: () => undefined, ...change });
      tickers.push(ticker);
      return ticker;
    },
    moveClock: (ms) => {
      ahead += ms;
    },
  };
}

/** A session whose call waits for approval for a second, and no runner any more. */
async function makeAsking({ store, writer }: Scene, uid: string): Promise<void> {
  const bundle = buildTestBundle(uid, ASKING);
  await writer.create({ bundle, namespaceUid: "n1", prompt: "Hello" });
  await store.register({ podUid: `p-${uid}`, sessionUid: uid, component: "runner", podName: `p-${uid}` }, new Date().toISOString());
  const answer = respondedEvent(1, 1, [{ name: "bash", arguments: '{"command":"true"}' }]);
  const decided = decidedEvent(bundle, "root/1/0", { decision: "Ask" });
  const appended = await writer.appendByRunner(uid, `p-${uid}`, { epoch: 1, batch: 1, events: [startedEvent(`p-${uid}`, 1), requestedEvent(1, 1, 3), answer, decided] });
  assert.equal(appended?.kind, "stored", JSON.stringify(appended));
}

/** Resolves when the stored state fulfils this. */
async function until(store: Store, uid: string, fits: (state: SessionState) => boolean): Promise<SessionState> {
  const { promise, resolve } = Promise.withResolvers<SessionState>();
  const unsubscribe = store.subscribe((change) => {
    if (change.kind === "record" && change.record.uid === uid && fits(change.record.state)) resolve(change.record.state);
  });
  const record = await store.record(uid);
  if (record !== undefined && fits(record.state)) resolve(record.state);
  return promise.finally(unsubscribe);
}

const isResolved = ({ approvals = [] }: SessionState): boolean => approvals.some(({ resolution }) => resolution !== undefined);

test("an approval that nobody decides expires at its time, without a pod and without a reader", async (t) => {
  const scene = setScene(t);
  scene.start();
  await makeAsking(scene, "late");
  const { approvals = [] } = await until(scene.store, "late", isResolved);
  const [approval] = approvals;
  assert.equal(approval?.resolution?.decision, "Expired");
  assert.ok(Date.parse(approval.resolution.at) >= Date.parse(approval.expiresAt));
  const [stored] = await scene.store.events("late", { after: 0, limit: 100, types: ["approval.resolved"] });
  assert.equal(stored?.role, "gateway");
});

test("what became due while no gateway ran is appended at its start", async (t) => {
  const scene = setScene(t);
  await makeAsking(scene, "slept");
  scene.moveClock(60_000);
  scene.start();
  await until(scene.store, "slept", isResolved);
});

test("two gateways that both try append once", async (t) => {
  const scene = setScene(t);
  scene.start();
  scene.start();
  const uids = ["a", "b", "c", "d"];
  for (const uid of uids) await makeAsking(scene, uid);
  await Promise.all(uids.map((uid) => until(scene.store, uid, isResolved)));
  for (const uid of uids) assert.equal((await scene.store.events(uid, { after: 0, limit: 100, types: ["approval.resolved"] })).length, 1);
});

test("one that cannot be appended to holds up no other, and a damaged one ends", async (t) => {
  const scene = setScene(t);
  for (const uid of ["broken", "damaged", "whole"]) await makeAsking(scene, uid);
  scene.moveClock(60_000);
  const appendDue: LogWriter["appendDue"] = (uid) => {
    if (uid === "broken") return Promise.reject(new Error("the disk is full"));
    return uid === "damaged" ? Promise.reject(new LogCorruptError(uid, "event 3 is missing")) : scene.writer.appendDue(uid);
  };
  scene.start({ writer: { appendDue } });
  await until(scene.store, "whole", isResolved);
  const { finished } = await until(scene.store, "damaged", (state) => state.finished !== undefined);
  assert.deepEqual([finished?.outcome, finished?.role], ["LogCorrupt", "gateway"]);
  assert.equal((await scene.store.record("damaged"))?.corrupt, "event 3 is missing");
  assert.deepEqual((await scene.store.record("broken"))?.state.approvals?.map(({ resolution }) => resolution), [undefined]);
});

test("a hundred that cannot be appended to hold up no other", async (t) => {
  const scene = setScene(t);
  const broken = Array.from({ length: 100 }, (_, index) => `broken-${index}`);
  await Promise.all(broken.map((uid) => makeAsking(scene, uid)));
  await makeAsking(scene, "whole");
  scene.moveClock(60_000);
  const appendDue: LogWriter["appendDue"] = (uid) => (uid === "whole" ? scene.writer.appendDue(uid) : Promise.reject(new Error("the disk is full")));
  scene.start({ writer: { appendDue } });
  await until(scene.store, "whole", isResolved);
});

test("a ticker that was stopped leaves nothing under way", async (t) => {
  const scene = setScene(t);
  const ticker = scene.start();
  await makeAsking(scene, "kept");
  await ticker.stop();
  scene.moveClock(60_000);
  assert.deepEqual(await scene.store.due(new Date(Date.now() + 60_000).toISOString(), 10), ["kept"]);
});

test("logs whose retention is over are deleted in batches, others are kept", async (t) => {
  const scene = setScene(t);
  const { store, writer } = scene;
  const finish = async (uid: string): Promise<void> => {
    await writer.create({ bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
    await writer.appendByOperator(uid, [event("session.cancelled", { reason: "" }), runFinishedEvent({ outcome: "Cancelled", text: "", through: 3 })]);
    assert.equal(await store.acknowledge(uid), "acknowledged");
  };
  for (let count = 0; count < 45; count += 1) await finish(`old-${count}`);
  scene.moveClock(3_600_000);
  await finish("new");
  await writer.create({ bundle: buildTestBundle("live"), namespaceUid: "n1", prompt: "Hello" });
  const batches: number[] = [];
  const all = Promise.withResolvers<void>();
  const sum = (): number => batches.reduce((total, batch) => total + batch, 0);
  scene.start({
    retentionSeconds: 1800,
    expired: (records) => {
      batches.push(records);
      if (sum() >= 45) all.resolve();
    },
  });
  await all.promise;
  assert.deepEqual([sum(), Math.max(...batches) <= 20], [45, true]);
  assert.equal(await store.record("old-7"), undefined);
  assert.deepEqual([(await store.record("new"))?.uid, (await store.record("live"))?.uid], ["new", "live"]);
});
