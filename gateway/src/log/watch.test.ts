import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { BudgetView } from "@paddock/api/wire/records";
import { buildTestBundle, event, requestedEvent, startedEvent } from "../../../test/fakes/session.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { openLogWriter } from "./append.ts";
import type { LogWriter } from "./append.ts";
import { watchRecords } from "./watch.ts";
import type { RecordNews } from "./watch.ts";

const now = (): Date => new Date();

type Versioned = Exclude<RecordNews, { kind: "budget" }>;

interface Watch {
  readonly told: RecordNews[];
  /** Resolves when something other than a budget was told that fulfils this. */
  until(wanted: (news: RecordNews) => boolean): Promise<Versioned>;
  /** The budget that was told with this limit. */
  untilBudget(limit: string): Promise<BudgetView>;
  stop(): Promise<void>;
}

/** Watches with counters held back for ever. */
function watch(store: Store, after: number): Watch {
  const told: RecordNews[] = [];
  const stopped = new AbortController();
  let noticed = Promise.withResolvers<void>();
  const watched = watchRecords({
    store,
    after,
    signal: stopped.signal,
    write: async (news) => {
      told.push(news);
      noticed.resolve();
    },
    idle: async () => undefined,
    idleMs: 60_000,
    coalesceMs: 3_600_000,
    clock: () => performance.now(),
  });
  const waitFor = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await noticed.promise;
      noticed = Promise.withResolvers();
    }
  };
  return {
    told,
    until: (wanted) => waitFor(() => told.filter((news) => news.kind !== "budget").find(wanted)),
    untilBudget: (limit) => waitFor(() => told.flatMap((news) => (news.kind === "budget" ? [news.budget] : [])).find(({ costUSDPerDay }) => costUSDPerDay === limit)),
    stop: async () => {
      stopped.abort();
      await watched;
    },
  };
}

async function open(context: TestContext): Promise<{ store: Store; writer: LogWriter }> {
  const folder = mkdtempSync(join(tmpdir(), "paddock-watch-"));
  const store = openSqliteStore(folder, now);
  context.after(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  const writer = openLogWriter({ store, now, count: () => undefined, stored: () => undefined });
  for (const uid of ["a", "b"]) {
    await writer.create({ bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
    await store.register({ podUid: `p-${uid}`, sessionUid: uid, component: "runner", podName: `p-${uid}` }, now().toISOString());
    await writer.appendByRunner(uid, `p-${uid}`, { epoch: 1, batch: 1, events: [startedEvent(`p-${uid}`, 1)] });
  }
  return { store, writer };
}

test("a watcher that resumes is told the change that was held back when it went", async (context) => {
  const { store, writer } = await open(context);
  const first = watch(store, 0);
  await first.until(({ kind }) => kind === "synced");
  await writer.appendByRunner("a", "p-a", { epoch: 1, batch: 2, events: [requestedEvent(1, 1, 3)] });
  const held = (await store.record("a"))?.version ?? 0;
  await writer.appendByOperator("b", [event("session.cancelled", { reason: "" })]);
  const told = await first.until((news) => news.kind === "record" && news.view.cancelled);
  await first.stop();
  assert.equal(told.version, held - 1);
  assert.equal(first.told.length, 4);
  const second = watch(store, told.version);
  await second.until(({ kind }) => kind === "synced");
  await second.stop();
  const again = second.told.map((news) => (news.kind === "record" ? [news.view.uid, news.view.lastSeq] : news.kind));
  assert.deepEqual(again, [["a", 4], ["b", 4], "synced"]);
});

test("an urgent change takes the held counters along", async (context) => {
  const { store, writer } = await open(context);
  const watching = watch(store, 0);
  await watching.until(({ kind }) => kind === "synced");
  await writer.appendByRunner("a", "p-a", { epoch: 1, batch: 2, events: [requestedEvent(1, 1, 3)] });
  await writer.appendByOperator("a", [event("session.cancelled", { reason: "" })]);
  const told = await watching.until((news) => news.kind === "record" && news.view.cancelled);
  await watching.stop();
  assert.equal(told.kind === "record" && told.view.lastSeq, 5);
  assert.equal(told.version, await store.version());
});

test("what changes while the list is told is told after it, once", async (context) => {
  const { store, writer } = await open(context);
  const order: string[] = [];
  const stopped = new AbortController();
  const watched = watchRecords({
    store,
    after: 0,
    signal: stopped.signal,
    write: async (news) => {
      order.push(news.kind === "record" ? `${news.view.uid}${news.view.lastSeq}` : news.kind);
      if (order.length === 1) await writer.appendByOperator("a", [event("session.cancelled", { reason: "" })]);
      if (order.includes("a4") && order.includes("synced")) stopped.abort();
    },
    idle: async () => undefined,
    idleMs: 60_000,
    coalesceMs: 0,
    clock: () => performance.now(),
  });
  await watched;
  assert.deepEqual(order, ["a3", "b3", "a4", "synced"]);
});

test("a watcher that begins is not told of acknowledged records as gone, on later pages neither", async (context) => {
  const { store, writer } = await open(context);
  const finished = event("run.finished", { outcome: "Cancelled", text: "", reason: "", through: 3 });
  // More than a page, and the acknowledged one has the newest version.
  for (let count = 0; count < 200; count += 1) await writer.create({ bundle: buildTestBundle(`more-${count}`), namespaceUid: "n1", prompt: "Hello" });
  const ended = await writer.appendByOperator("a", [event("session.cancelled", { reason: "" }), finished]);
  assert.equal(ended?.kind, "stored");
  assert.equal(await store.acknowledge("a"), "acknowledged");
  const beginning = watch(store, 0);
  const synced = await beginning.until(({ kind }) => kind === "synced");
  await beginning.stop();
  assert.deepEqual([beginning.told.filter(({ kind }) => kind === "gone"), beginning.told.length], [[], 202]);
  const resuming = watch(store, synced.version);
  await resuming.until(({ kind }) => kind === "synced");
  await resuming.stop();
  assert.deepEqual(resuming.told.map(({ kind }) => kind), ["gone", "synced"]);
});

test("a list of large bundles is told whole, page by page", async (context) => {
  const { store, writer } = await open(context);
  const files = [{ path: "f", content: "x".repeat(524_288) }];
  for (let count = 0; count < 20; count += 1) await writer.create({ bundle: buildTestBundle(`large-${count}`, { files }), namespaceUid: "n1", prompt: "Hello" });
  assert.equal((await store.recordsAfter({ after: 0, limit: 100, acknowledged: false })).length, 10);
  const watching = watch(store, 0);
  await watching.until(({ kind }) => kind === "synced");
  await watching.stop();
  assert.equal(watching.told.length, 23);
});

test("every budget is told before the records are synced, and each change after", async (context) => {
  const { store } = await open(context);
  await store.putBudget({ environmentUid: "e1", costUSDPerDay: "1" });
  await store.putBudget({ environmentUid: "e2" });
  const watching = watch(store, await store.version());
  await watching.until(({ kind }) => kind === "synced");
  await store.putBudget({ environmentUid: "e2", costUSDPerDay: "0.5" });
  const changed = await watching.untilBudget("0.5");
  await watching.stop();
  const budgets = watching.told.flatMap((news) => (news.kind === "budget" ? [news.budget] : []));
  assert.deepEqual([watching.told.findIndex(({ kind }) => kind === "synced"), budgets, changed.environmentUid], [2, [{ environmentUid: "e1", costUSDPerDay: "1" }, { environmentUid: "e2" }, changed], "e2"]);
});
