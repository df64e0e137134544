import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startOfBytes } from "@paddock/api/cut";
import { detachPayload } from "@paddock/api/log/blobs";
import type { SessionState } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, foldAll, requestedEvent, runFinishedEvent, startedEvent } from "../../../test/fakes/session.ts";
import type { StoredRecord } from "../store/store.ts";
import { buildView, urgentPartOf } from "./view.ts";

const bundle = buildTestBundle("u", { startTime: "2026-01-01T00:00:00.000Z" });

function recordOf(state: SessionState, change: Partial<StoredRecord> = {}): StoredRecord {
  const runner = { podUid: "p1", connected: true, since: "2026-01-01T00:00:01.000Z" };
  const identity = { uid: "u", namespace: "team", name: "job", namespaceUid: "n1", bundle, bundleDigest: "sha256:bundle", bindKey: "secret" };
  return { ...identity, state, batch: undefined, runner, acknowledged: false, dueAt: undefined, corrupt: undefined, version: 7, ...change };
}

const started = foldAll([...boundEvents(bundle), startedEvent("p1", 1), requestedEvent(1, 1, 3)]);
const usage = { inputTokens: 100, cachedInputTokens: 20, outputTokens: 7 };
const answer = { turn: 1, attempt: 1, message: { text: "Hi", toolCalls: [] }, finishReason: "stop", usage, seconds: 1.9 };

test("a view shows the record without its keys", () => {
  const view = buildView(recordOf(foldAll([event("model.responded", { ...answer, costNanoUSD: "1500000" })], started)));
  assert.deepEqual(view, {
    uid: "u",
    namespace: "team",
    name: "job",
    version: 7,
    activity: { kind: "Active" },
    bundle: {
      digest: "sha256:bundle",
      agentDigest: "sha256:agent",
      environment: bundle.environment,
      limits: bundle.limits,
      startTime: bundle.startTime,
      traceId: bundle.traceId,
    },
    runner: { podUid: "p1", epoch: 1, connected: true, since: "2026-01-01T00:00:01.000Z" },
    sandbox: { requested: 0, pending: false },
    cancelled: false,
    suspended: false,
    approvals: [],
    authors: [],
    lastSeq: 5,
    turns: 1,
    toolCalls: 0,
    usage: { ...usage, totalTokens: 107, costUSD: "0.0015" },
    recentSteps: [{ seq: 5, kind: "model", name: "m", outcome: "stop", seconds: 1 }],
    deadline: "2026-01-01T01:00:00.000Z",
  });
});

test("a record that waits says since when and what was answered, and has no deadline until the next input", () => {
  const text = `${"x".repeat(4095)}ä`;
  const frozen = { ...bundle, mode: "Conversation" as const, startTime: "2025-12-31T00:00:00.000Z" };
  const begun = foldAll([...boundEvents(frozen), startedEvent("p1", 1), requestedEvent(1, 1, 3), event("model.responded", answer)]);
  const waiting = foldAll([event("run.waiting", { for: "input", text, through: 5 })], begun);
  const view = buildView(recordOf(waiting));
  assert.deepEqual(view.activity, { kind: "Waiting", for: "input", since: "2026-01-01T00:00:00.000Z" });
  assert.deepEqual([view.answer, view.deadline, view.problem], [{ text: "x".repeat(4095), truncated: true }, undefined, undefined]);
  const active = buildView(recordOf(foldAll([event("input.received", { id: "next", content: "more" })], waiting)));
  assert.deepEqual([active.activity, active.answer, active.deadline], [{ kind: "Active" }, undefined, "2026-01-01T01:00:00.000Z"]);
  assert.notEqual(urgentPartOf(active), urgentPartOf(view));
  const cancelled = foldAll([event("session.cancelled", { reason: "" }), runFinishedEvent({ outcome: "Cancelled", text: "" })], waiting);
  const over = buildView(recordOf(cancelled));
  assert.deepEqual([over.activity.kind, over.answer, over.deadline], ["Finished", undefined, undefined]);
});

const approval = { call: "root/1/0", tool: "bash", fingerprint: "sha256:f", summary: "rm", argumentsDigest: "sha256:a", expiresAt: "2026-01-01T00:10:00.000Z" };

test("what waits for approval, who wrote, and suspension are shown and urgent", () => {
  const before = buildView(recordOf(started));
  const asked = foldAll([event("approval.requested", approval)], started);
  const [shown] = buildView(recordOf(asked)).approvals;
  assert.deepEqual(shown, { ...approval, requestedAt: "2026-01-01T00:00:00.000Z" });
  const states = [asked, foldAll([event("session.suspended", {})], started), { ...started, authors: ["ann"] }];
  for (const state of states) assert.notEqual(urgentPartOf(buildView(recordOf(state))), urgentPartOf(before));
  assert.deepEqual([buildView(recordOf({ ...started, authors: ["ann"] })).authors, buildView(recordOf(states[1] ?? started)).suspended], [["ann"], true]);
});

test("a session that goes on has no deadline until its runner does", () => {
  const waiting = foldAll([event("approval.requested", approval), event("run.waiting", { for: "approval", text: "", through: 5 })], started);
  const resolved = foldAll([event("approval.resolved", { call: approval.call, fingerprint: approval.fingerprint, decision: "Denied", scope: "Once" })], waiting);
  // The fixture's events are a runner's, whose first one lets the time count.
  const view = buildView(recordOf({ ...resolved, pausedSince: "2026-01-01T00:00:00.000Z" }));
  assert.deepEqual([view.activity.kind, view.deadline], ["Active", undefined]);
});

test("what lost answers may have cost is shown apart", () => {
  const grant = { day: "2026-01-01", inputTokens: 10, outputTokens: 100, reservedNanoUSD: "2000000000" };
  const lost = foldAll([event("model.failed", { turn: 1, attempt: 1, class: "network", message: "" })], { ...started, request: { seq: 4, turn: 1, attempt: 1, model: "m", grant } });
  const { usage: shown } = buildView(recordOf(lost));
  assert.deepEqual([shown.costUSD, shown.uncertainCostUSD], ["0", "2"]);
});

test("an answer of unknown cost leaves the cost out", () => {
  const { usage: shown } = buildView(recordOf(foldAll([event("model.responded", answer)], started)));
  assert.deepEqual(shown, { ...usage, totalTokens: 107 });
});

test("a finished record has its result, and no problem any more", () => {
  const problem = event("runner.reported", { problem: "EndpointUnreachable", subject: "m", message: "" });
  const active = buildView(recordOf(foldAll([problem], started)));
  assert.deepEqual(active.problem, { problem: "EndpointUnreachable", subject: "m", message: "" });
  assert.equal(buildView(recordOf(foldAll([problem, event("model.responded", answer)], started))).problem, undefined, "the model answered since");
  const finished = buildView(recordOf(foldAll([problem, runFinishedEvent({ outcome: "ModelError", text: "", reason: "no answer" })], started)));
  assert.equal(finished.problem, undefined);
  assert.deepEqual(finished.activity, { kind: "Finished", outcome: "ModelError", at: "2026-01-01T00:00:00.000Z" });
  assert.deepEqual(finished.result, { outcome: "ModelError", text: "", truncated: false, message: "no answer" });
});

test("a result that is beside its event says that it is only the start", () => {
  const { event: stored } = detachPayload(runFinishedEvent({ text: "x".repeat(20_000) }));
  assert.deepEqual(buildView(recordOf(foldAll([stored], started))).result, { outcome: "Completed", text: "x".repeat(2048), truncated: true, message: "" });
});

test("a result that would steer a terminal in kubectl describe shows what it holds instead", () => {
  const text = "\u001b[2J\u202etxt\u2066\rx\u200b\u00ad\u009b31m\u{e0041}";
  const { result } = buildView(recordOf(foldAll([runFinishedEvent({ text, reason: "because \u202e" })], started)));
  assert.deepEqual(result, {
    outcome: "Completed", text: "\\u{1b}[2J\\u{202e}txt\\u{2066}\\u{d}x\\u{200b}\\u{ad}\\u{9b}31m\\u{e0041}", truncated: false, message: "because \\u{202e}",
  });
  const harmless = "C:\\path\t👩‍👩‍👧 ❤️ नमस्ते שלום\nline";
  assert.equal(buildView(recordOf(foldAll([runFinishedEvent({ text: harmless.replace("\n", "\r\n") })], started))).result?.text, harmless);
  const long = buildView(recordOf(foldAll([runFinishedEvent({ text: "\u202e".repeat(1000) })], started))).result;
  assert.ok(long?.truncated === true && Buffer.byteLength(long.text) <= 4096);
});

test("counters alone are not urgent", () => {
  const before = buildView(recordOf(started));
  const counted = buildView(recordOf(foldAll([event("model.responded", answer)], started), { version: 8 }));
  assert.equal(urgentPartOf(counted), urgentPartOf(before));
  const disconnected = buildView(recordOf(started, { runner: { podUid: "p1", connected: false, since: "2026-01-01T00:00:02.000Z" } }));
  assert.notEqual(urgentPartOf(disconnected), urgentPartOf(before));
});

test("a text is cut to its bytes and never inside a character", () => {
  assert.equal(startOfBytes("añb", 2), "a");
  assert.equal(startOfBytes("a😀b", 4), "a");
  assert.equal(startOfBytes("a😀b", 5), "a😀");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.nat(40), (text, bytes) => {
      const start = startOfBytes(text, bytes);
      assert.ok(text.startsWith(start) && Buffer.byteLength(start) <= bytes);
      const [nextCharacter] = text.slice(start.length);
      if (nextCharacter !== undefined) assert.ok(Buffer.byteLength(start + nextCharacter) > bytes);
    }),
  );
});
