import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isApproved, isInterrupted, deadlineAt, pendingApprovals } from "./state.ts";
import type { SessionState } from "./state.ts";
import { AT, answered, append, digest, fold, sample } from "./testdata/samples.ts";

const CALL = "root/1/0";
const OTHER = "root/1/1";
const after = (seconds: number): string => new Date(Date.parse(AT) + seconds * 1000).toISOString();
const timeLeft = (state: SessionState): number => (deadlineAt(state) - Date.parse(AT)) / 1000;

const asked = fold([...answered, sample("tool.decided", { decision: "Ask" }), sample("approval.requested")]);
const waiting = append(asked, sample("run.waiting", { for: "approval" }), { at: after(100) });
const operator = { role: "operator" } as const;

describe("the clock of an input", () => {
  it("stands from waiting until a runner's first event after it", () => {
    assert.deepEqual([timeLeft(asked), timeLeft(waiting)], [900, Infinity]);
    const resolved = append(waiting, sample("approval.resolved"), { ...operator, at: after(1000) });
    assert.deepEqual([resolved.waiting, timeLeft(resolved)], [undefined, Infinity], "the queue for a pod is nobody's time");
    const started = append(resolved, sample("runner.started", { epoch: 2 }), { at: after(1300) });
    assert.deepEqual([started.pausedMs, timeLeft(started)], [1_200_000, 2100]);
  });

  it("goes on standing when the session waits again before a runner came", () => {
    const resolved = append(waiting, sample("approval.resolved"), { ...operator, at: after(200) });
    const again = append(resolved, sample("run.waiting", { for: "tool" }), { at: after(300) });
    const finished = append(again, sample("tool.finished"), { role: "person", by: "ann", at: after(400) });
    assert.equal(append(finished, sample("tool.decided", { call: OTHER }), { at: after(500) }).pausedMs, 400_000);
  });

  it("is not moved by what a runner appends while the session waits", () => {
    const reported = append(waiting, sample("runner.reported"), { at: after(500) });
    assert.deepEqual([timeLeft(reported), reported.pausedSince], [Infinity, after(100)]);
  });

  it("never runs backwards when the gateway's does", () => {
    const resolved = append(waiting, sample("approval.resolved"), { ...operator, at: after(50) });
    assert.equal(append(resolved, sample("tool.started"), { at: after(60) }).pausedMs, 0);
  });

  it("begins anew with each input of a Conversation, which takes no pause over", () => {
    const bound = sample("session.bound", { mode: "Conversation" });
    const idle = append(fold([bound, ...answered.slice(1)]), sample("run.waiting"), { at: after(800) });
    const input = append(idle, sample("input.received", { id: "next" }), { role: "person", by: "ann", at: after(5000) });
    assert.deepEqual([input.pausedSince, timeLeft(input)], [after(5000), Infinity]);
    assert.equal(timeLeft(append(input, sample("runner.started", { epoch: 2 }), { at: after(5030) })), 5930);
  });
});

describe("waiting", () => {
  const wakers = [
    { name: "an input", event: sample("input.received", { id: "next" }), ends: ["input"] },
    { name: "a resolution", event: sample("approval.resolved"), ends: ["approval"] },
    { name: "a client's result", event: sample("tool.finished"), ends: ["approval", "tool"] },
    { name: "an interrupt", event: sample("turn.interrupted"), ends: ["approval", "tool"] },
    { name: "session.resumed", event: sample("session.resumed"), ends: ["resume"] },
    { name: "session.suspended", event: sample("session.suspended"), ends: [] },
    { name: "the loss of the sandbox", event: sample("sandbox.lost"), ends: [] },
  ] as const;
  for (const { name, event, ends } of wakers) {
    it(`is ended by ${name} when it is for: ${ends.join(", ") || "nothing"}`, () => {
      const ended = (["input", "approval", "tool", "resume"] as const).filter(
        (what) => append(append(asked, sample("run.waiting", { for: what })), event, { role: "gateway" }).waiting === undefined,
      );
      assert.deepEqual(ended, ends);
    });
  }

  it("becomes waiting to be resumed when the session was suspended meanwhile", () => {
    const suspended = append(waiting, sample("session.suspended"), { ...operator, at: after(200) });
    assert.deepEqual([suspended.waiting?.for, suspended.suspended], ["approval", true]);
    const resolved = append(suspended, sample("approval.resolved"), { ...operator, at: after(300) });
    assert.deepEqual([resolved.waiting?.for, resolved.waiting?.since], ["resume", after(300)]);
    const resumed = append(resolved, sample("session.resumed"), { ...operator, at: after(400) });
    assert.deepEqual([resumed.waiting, resumed.suspended], [undefined, false]);
    assert.equal(append(resumed, sample("tool.started"), { at: after(500) }).pausedMs, 400_000);
  });

  it("is not ended by a result that the runner gives itself", () => {
    assert.equal(append(waiting, sample("tool.finished", { call: OTHER })).waiting?.for, "approval");
  });
});

describe("an interrupt", () => {
  it("is news and holds until the next input", () => {
    const interrupted = append(fold(answered), sample("turn.interrupted"), { role: "person", by: "ann" });
    assert.deepEqual([interrupted.interrupted, interrupted.lastNewsSeq, isInterrupted(interrupted)], [6, 6, true]);
    assert.equal(isInterrupted(append(interrupted, sample("tool.finished", { status: "cancelled" }))), true);
    assert.equal(isInterrupted(append(interrupted, sample("input.received", { id: "next" }))), false);
  });

  it("is remembered by id and author, and not for ever", () => {
    const many = Array.from({ length: 40 }, (_, n) => `stop-${n}`);
    const state = many.reduce((folded, id) => append(folded, sample("turn.interrupted", { id }), { role: "person", by: "ann" }), fold(answered));
    assert.equal(state.interrupts?.length, 32);
    assert.deepEqual(state.interrupts.at(-1), { id: "stop-39", seq: 45, by: "ann" });
  });
});

describe("approvals", () => {
  const resolved = (change: object, at = after(10)): SessionState => append(asked, sample("approval.resolved", change), { ...operator, at });

  it("are pending until they are resolved, and then kept without their words", () => {
    assert.deepEqual(pendingApprovals(asked).map(({ call, summary, requestedAt }) => [call, summary, requestedAt]), [[CALL, "true", AT]]);
    const state = resolved({ reason: "fine" });
    assert.deepEqual(pendingApprovals(state), []);
    const [approval] = state.approvals ?? [];
    assert.deepEqual([approval?.summary, approval?.resolution], ["", { decision: "Approved", by: "ann", reason: "fine", scope: "Once", seq: 8, at: after(10) }]);
  });

  it("let exactly their call start", () => {
    const approved = resolved({});
    const denied = resolved({ decision: "Denied" });
    const mayStart = (state: SessionState): boolean[] => state.calls.map((call) => isApproved(state, call));
    assert.deepEqual([mayStart(asked), mayStart(approved), mayStart(denied)], [[false, false], [true, false], [false, false]]);
    const twin = append(approved, sample("tool.decided", { call: OTHER, tool: "read", decision: "Ask" }));
    assert.deepEqual(mayStart(twin), [true, false], "Once is for one call, whatever its fingerprint");
    const forAll = append(resolved({ scope: "Session" }), sample("tool.decided", { call: OTHER, tool: "read", decision: "Ask" }));
    assert.deepEqual([mayStart(forAll), forAll.approvedFingerprints], [[true, true], [digest]]);
    assert.equal(resolved({ decision: "Denied", scope: "Session" }).approvedFingerprints, undefined);
  });

  it("go with their call's result while nobody has decided, and stay as a memory when somebody has", () => {
    const finish = (state: SessionState): SessionState => append(state, sample("tool.finished", { status: "cancelled" }));
    assert.deepEqual(finish(asked).approvals, []);
    assert.equal(finish(resolved({})).approvals?.length, 1);
  });

  it("that are decided are forgotten from 32 on, but not those of calls that are open", () => {
    const calls = Array.from({ length: 128 }, (_, index) => `root/1/${index}`);
    const toolCalls = calls.map(() => ({ id: "", name: "bash", arguments: "{}" }));
    const many = fold([...answered.slice(0, 4), sample("model.responded", { message: { text: "", toolCalls } })]);
    const decided = calls.reduce((state, call) => fold([sample("tool.decided", { call, decision: "Ask" }), sample("approval.requested", { call }), sample("approval.resolved", { call })], state), many);
    assert.ok(decided.calls.every((call) => isApproved(decided, call)));
    const next = fold([sample("model.responded", { turn: 2, message: { text: "", toolCalls: toolCalls.slice(0, 1) } }), sample("approval.requested", { call: "root/2/0" }), sample("approval.resolved", { call: "root/2/0" })], decided);
    assert.equal(next.approvals?.length, 33);
  });
});

describe("results of clients", () => {
  it("are remembered beyond their answer, whatever time they say they took", () => {
    const given = append(fold(answered), sample("tool.finished"), { role: "person", by: "ann" });
    const later = append(given, sample("model.responded", { turn: 2 }));
    assert.deepEqual(later.clientResults?.map(({ call, seq }) => [call, seq]), [[CALL, 6]]);
    const slower = append(fold(answered), sample("tool.finished", { seconds: 99 }), { role: "person", by: "ann" });
    assert.equal(slower.clientResults?.[0]?.digest, given.clientResults?.[0]?.digest);
    assert.equal(append(fold(answered), sample("tool.finished")).clientResults, undefined);
  });
});
