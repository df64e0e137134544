import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import type { RecordView } from "@paddock/api/wire/records";
import { classifyWith } from "../kernel/faults.ts";
import type { Action, Read } from "../kernel/kind.ts";
import { GRACE_MS, createOrphanPass, decideOrphan } from "./orphans.ts";
import { createLogWriter } from "./writer.ts";

const KEY = { namespace: "team", name: "s" };
const ABANDON: Action = { verb: "abandon", uid: "u", key: KEY };

function record(more: Partial<RecordView> = {}): RecordView {
  return {
    uid: "u", version: 1, namespace: "team", name: "s",
    activity: { kind: "Active" },
    bundle: { digest: "d", agentDigest: "a", environment: { name: "e", uid: "e", digest: "e", spec: { models: [] } }, limits: { maxTurns: 1, timeoutSeconds: 1 }, startTime: "2026-01-01T00:00:00Z", traceId: "t" },
    runner: { epoch: 1, connected: true, since: "2026-01-01T00:00:00Z" },
    sandbox: { requested: 0, pending: false },
    cancelled: false, suspended: false, approvals: [], authors: [], lastSeq: 9, turns: 0, toolCalls: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0 },
    recentSteps: [],
    ...more,
  };
}

const finished: RecordView["activity"] = { kind: "Finished", outcome: "Cancelled", at: "2026-01-01T00:00:00Z" };
const alone: RecordView["runner"] = { epoch: 1, connected: false, since: "2026-01-01T00:00:00Z" };

test("a record with its Session is left alone", () => {
  assert.deepEqual(decideOrphan({ record: record(), hasSession: true, cancelledForMs: undefined }), { actions: [] });
});

test("cancel first, finish after the runner's grace, then acknowledge", () => {
  assert.deepEqual(decideOrphan({ record: record(), hasSession: false, cancelledForMs: undefined }), { actions: [ABANDON], requeueAfterMs: GRACE_MS });
  assert.deepEqual(decideOrphan({ record: record({ cancelled: true }), hasSession: false, cancelledForMs: 500 }), { actions: [], requeueAfterMs: 1500 });
  assert.deepEqual(decideOrphan({ record: record({ cancelled: true }), hasSession: false, cancelledForMs: 2000 }), { actions: [ABANDON] });
  assert.deepEqual(decideOrphan({ record: record({ cancelled: true, runner: alone }), hasSession: false, cancelledForMs: 0 }), { actions: [ABANDON] });
  assert.deepEqual(decideOrphan({ record: record({ activity: finished }), hasSession: false, cancelledForMs: undefined }), { actions: [ABANDON] });
});

/** A gateway that keeps one record and a cache that shows it at once. */
function world(start: RecordView, sessionUid?: string, synced = true) {
  const state = { record: start as RecordView | undefined, appended: [] as NewEvent[], now: 0, sessionUid };
  const append = async (_uid: string, events: readonly NewEvent[]): Promise<readonly LogEvent[]> => {
    state.appended.push(...events);
    assert.ok(state.record);
    state.record = { ...state.record, cancelled: true, lastSeq: state.record.lastSeq + events.length, ...(events.some(({ type }) => type === "run.finished") ? { activity: finished } : {}) };
    return events.map((event, index) => ({ ...event, v: 1, seq: 10 + index, at: "", role: "operator", run: "root", hash: "" }));
  };
  const acknowledge = async (): Promise<void> => {
    state.record = undefined;
  };
  const toLog = createLogWriter({
    gateway: { append, acknowledge, putPod: () => assert.fail(), putRecord: () => assert.fail(), putBudget: () => assert.fail() },
    byUid: () => state.record,
    budgetOf: () => undefined,
    readNamespaceUid: () => assert.fail(),
    readSessionUid: async () => state.sessionUid,
    readTextMap: () => assert.fail(),
  });
  const read = {
    get: () => undefined,
    list: () => (state.record === undefined ? [] : [state.record]),
    isSynced: () => synced,
  } as Read;
  const pass = createOrphanPass({
    read,
    classify: classifyWith(),
    namespaces: ["team"],
    nowMs: () => state.now,
    act: (action) => (action.verb === "abandon" ? toLog(action) : assert.fail()),
  });
  return { state, pass: () => pass({ namespace: "team", name: "u" }, () => undefined) };
}

test("an orphan is cancelled, finished and acknowledged, and then there is silence", async () => {
  const { state, pass } = world(record());
  assert.deepEqual(await pass(), { writes: 1, requeueAfterMs: GRACE_MS });
  assert.deepEqual(state.appended.map(({ type }) => type), ["session.cancelled"]);
  assert.deepEqual(await pass(), { writes: 0, requeueAfterMs: GRACE_MS });
  state.now = GRACE_MS;
  assert.deepEqual(await pass(), { writes: 1 });
  assert.deepEqual(state.appended.at(-1), { type: "run.finished", data: { outcome: "Cancelled", text: "", reason: "The Session was deleted.", through: 10 } });
  assert.deepEqual(await pass(), { writes: 1 });
  assert.equal(state.record, undefined);
  assert.deepEqual(await pass(), { writes: 0 });
});

test("without a runner it is cancelled and finished in one append", async () => {
  const { state, pass } = world(record({ runner: alone }));
  await pass();
  assert.deepEqual(state.appended.map(({ type }) => type), ["session.cancelled", "run.finished"]);
});

test("a Session that a live read still finds is not given up, however the cache looks", async () => {
  const { state, pass } = world(record(), "u");
  await pass();
  assert.deepEqual(state.appended, []);
  state.sessionUid = "another";
  await pass();
  assert.equal(state.appended.length, 1);
});

test("nothing is decided before both caches are complete", async () => {
  const { state, pass } = world(record(), undefined, false);
  assert.deepEqual(await pass(), { writes: 0 });
  assert.deepEqual(state.appended, []);
});
