import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import { BLOB_LIMITS, LOG_LIMITS } from "@paddock/api/log/limits";
import type { NewEvent } from "@paddock/api/log/events";
import { EMPTY_STATE, deadlineAt } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import {
  boundEvents,
  buildTestBundle,
  decidedEvent,
  event,
  foldAll,
  requestedEvent,
  respondedEvent,
  runFinishedEvent,
  startedEvent,
  toolFinishedEvent,
  toolStartedEvent,
} from "../../../test/fakes/session.ts";
import { admit } from "./admit.ts";
import type { Admission, Appender } from "./admission.ts";
import { rowsOf } from "./testdata/rows.ts";

const bundle = buildTestBundle("u");
const BASH = { name: "bash", arguments: `{"command":"true"}` };
const READ = { name: "read", arguments: `{"path":"a"}` };
const CALL = "root/1/0";
const SECOND = "root/1/1";

// 1 bound, 2 prompt, 3 started, 4 requested, 5 responded with two calls.
const bound = foldAll(boundEvents(bundle));
const started = foldAll([startedEvent("p1", 1)], bound);
const requested = foldAll([requestedEvent(1, 1, 3)], started);
const answered = foldAll([respondedEvent(1, 1)], requested);
const called = foldAll([respondedEvent(1, 1, [BASH, READ])], requested);
const decided = foldAll([decidedEvent(bundle, CALL)], called);
const running = foldAll([toolStartedEvent(CALL, 1)], decided);
const ran = foldAll([toolFinishedEvent(CALL)], running);
const allRan = foldAll([toolFinishedEvent(SECOND, { status: "error" })], ran);
const cancelled = foldAll([event("session.cancelled", { reason: "spec.cancel" })], running);
const over = foldAll([runFinishedEvent({ through: answered.lastSeq })], answered);

interface Asked {
  readonly who?: Partial<Extract<Appender, { role: "runner" }>> | "operator";
  readonly bundle?: Bundle;
  readonly now?: Date;
}

function ask(state: SessionState, appended: NewEvent, { who = {}, bundle: frozen = bundle, now = new Date() }: Asked = {}): Admission {
  const appender: Appender = who === "operator" ? { role: "operator" } : { role: "runner", podUid: "p1", epoch: 1, newestPodUid: "p1", ...who };
  return admit(state, frozen, appended, { who: appender, now });
}

const { accepts, refuses, knows } = rowsOf(ask);

const late = new Date(deadlineAt(bound));

describe("any event", () => {
  refuses("a type of another role", ["forbidden", "final"], started, event("session.cancelled", { reason: "" }));
  refuses("a runner's type from the operator", ["forbidden", "final"], started, requestedEvent(1, 1, 3), { who: "operator" });
  refuses("a runner that is not the newest registered", ["fenced", "final"], started, requestedEvent(1, 1, 3), { who: { newestPodUid: "p2" } });
  refuses("a pod that was never registered", ["fenced", "final"], bound, startedEvent("p1", 1), { who: { newestPodUid: undefined } });
  refuses("an older epoch", ["fenced", "final"], foldAll([startedEvent("p2", 2)], started), requestedEvent(1, 1, 3), { who: { podUid: "p2", newestPodUid: "p2", epoch: 1 } });
  refuses("a pod before its runner.started", ["fenced", "final"], bound, requestedEvent(1, 1, 2));
  refuses("a runner's event after the end", ["finished", "final"], over, requestedEvent(2, 1, over.lastSeq));
  knows("an operator's event after the end", { seq: over.lastSeq }, over, event("session.cancelled", { reason: "" }), { who: "operator" });
  refuses("a payload that is too large", ["too-large", "final"], running, toolFinishedEvent(CALL, { content: "x".repeat(BLOB_LIMITS.blobBytes + 1) }));
  test("keeps headroom for results when the log is full", () => {
    const full = { ...running, lastSeq: LOG_LIMITS.events };
    assert.equal(ask(full, toolFinishedEvent(CALL)).kind, "accept");
    const refused = ask({ ...started, lastSeq: LOG_LIMITS.events }, requestedEvent(1, 1, 3));
    assert.deepEqual([refused.kind, "problem" in refused ? refused.problem : ""], ["refuse", "limit"]);
    assert.equal(ask({ ...running, lastSeq: LOG_LIMITS.events + LOG_LIMITS.headroomEvents }, toolFinishedEvent(CALL)).kind, "refuse");
    const stuffed = { ...running, lastSeq: LOG_LIMITS.events + LOG_LIMITS.headroomEvents, lastNewsSeq: 1, bytes: LOG_LIMITS.logBytes * 2 };
    assert.equal(ask(stuffed, event("session.cancelled", { reason: "" }), { who: "operator" }).kind, "accept");
    assert.equal(ask(stuffed, runFinishedEvent({ outcome: "RunnerFailed", through: 9 })).kind, "accept");
    assert.equal(ask({ ...running, bytes: LOG_LIMITS.logBytes }, toolFinishedEvent(CALL)).kind, "accept");
    assert.equal(ask({ ...started, bytes: LOG_LIMITS.logBytes }, requestedEvent(1, 1, 3)).kind, "refuse");
  });
  test("replaces what looks like a credential before it is stored", () => {
    const answer = ask(running, toolFinishedEvent(CALL, { content: `key sk-${"a1B2".repeat(8)} end` }));
    assert.deepEqual(answer, { kind: "accept", event: toolFinishedEvent(CALL, { content: "key [redacted] end" }) });
  });
});

describe("session.bound and input.received", () => {
  accepts("the first event", EMPTY_STATE, boundEvents(bundle)[0] ?? assert.fail(), { who: "operator" });
  knows("a second binding", { seq: 1 }, bound, boundEvents(bundle)[0] ?? assert.fail(), { who: "operator" });
  knows("the prompt again, by its id", { seq: 2 }, bound, event("input.received", { id: "prompt", content: "other" }), { who: "operator" });
  accepts("a message to a Task that runs", running, event("input.received", { id: "another", content: "more" }), { who: "operator" });
  refuses("a message to a Task that is over", ["finished", "final"], over, event("input.received", { id: "another", content: "more" }), { who: "operator" });
});

describe("runner.started", () => {
  accepts("the first runner in epoch 1", bound, startedEvent("p1", 1));
  accepts("the next pod in the next epoch", running, startedEvent("p2", 2), { who: { podUid: "p2", newestPodUid: "p2", epoch: 2 } });
  refuses("a second start of a pod", ["unexpected", "final"], started, startedEvent("p1", 2), { who: { epoch: 2 } });
  refuses("an epoch that is not the next", ["fenced", "final"], bound, startedEvent("p1", 2), { who: { epoch: 2 } });
  refuses("a batch of another epoch", ["fenced", "final"], bound, startedEvent("p1", 1), { who: { epoch: 2 } });
  refuses("another pod's UID", ["denied", "final"], bound, startedEvent("p9", 1));
});

describe("model.requested", () => {
  accepts("the first turn", started, requestedEvent(1, 1, 3));
  accepts("the next turn when every call has its result", allRan, requestedEvent(2, 1, allRan.lastSeq));
  accepts("a further attempt after a failure", foldAll([event("model.failed", { turn: 1, attempt: 1, class: "overloaded", message: "" })], requested), requestedEvent(1, 2, 3));
  accepts("a further attempt by the next runner", foldAll([startedEvent("p2", 2)], requested), requestedEvent(1, 2, 3), {
    who: { podUid: "p2", newestPodUid: "p2", epoch: 2 },
  });
  refuses("a cancelled session", ["stopped", "final"], foldAll([event("session.cancelled", { reason: "" })], started), requestedEvent(1, 1, 3));
  refuses("a session past its deadline", ["stopped", "final"], started, requestedEvent(1, 1, 3), { now: late });
  refuses("more turns than allowed", ["limit", "final"], { ...answered, turns: 5 }, requestedEvent(6, 1, 5));
  refuses("a second request while one is open", ["unexpected", "final"], requested, requestedEvent(1, 2, 3));
  refuses("a turn that is not the next", ["unexpected", "final"], started, requestedEvent(2, 1, 3));
  refuses("an attempt that is not the next", ["unexpected", "final"], started, requestedEvent(1, 2, 3));
  refuses("a request from events that are not stored", ["unexpected", "final"], started, requestedEvent(1, 1, 4));
  refuses("open calls of the previous turn", ["unexpected", "wait"], ran, requestedEvent(2, 1, ran.lastSeq));
  refuses("a request without the newest result", ["stale", "wait"], allRan, requestedEvent(2, 1, allRan.lastSeq - 1));
  refuses("a model that is not the agent's", ["denied", "final"], started, event("model.requested", { turn: 1, attempt: 1, model: "x", requestDigest: "", through: 3 }));
});

describe("model.responded and model.failed", () => {
  test("an answer gets its cost from the gateway, not from the runner", () => {
    const { type, data } = respondedEvent(1, 1);
    const answer = ask(requested, { type, data: { ...data, costNanoUSD: "1" } } as NewEvent);
    assert.deepEqual(answer, { kind: "accept", event: { type, data: { ...data, costNanoUSD: "20000" } } });
  });
  test("an answer without usage or price has no cost", () => {
    const { usage: _, ...unmetered } = respondedEvent(1, 1).data as { usage?: unknown };
    const metered = { type: "model.responded", data: unmetered } as NewEvent;
    assert.deepEqual(ask(requested, metered), { kind: "accept", event: metered });
    const free = { ...bundle, environment: { ...bundle.environment, spec: { models: [{ name: "m", model: "x", baseURL: "http://x/v1" }] } } };
    assert.deepEqual(ask(requested, respondedEvent(1, 1), { bundle: free }), { kind: "accept", event: respondedEvent(1, 1) });
  });
  test("the answer to an accepted request is stored even when the session was cancelled meanwhile", () => {
    assert.equal(ask(foldAll([event("session.cancelled", { reason: "" })], requested), respondedEvent(1, 1)).kind, "accept");
  });
  refuses("a second answer", ["unexpected", "final"], answered, respondedEvent(1, 1));
  refuses("the answer of another attempt", ["unexpected", "final"], requested, respondedEvent(1, 2));
  refuses("a failure without a request", ["unexpected", "final"], started, event("model.failed", { turn: 1, attempt: 1, class: "server", message: "" }));
  accepts("a failure of the open request", requested, event("model.failed", { turn: 1, attempt: 1, class: "server", message: "", delaySeconds: 1 }));
});

describe("tool.decided", () => {
  accepts("what the policy gives", called, decidedEvent(bundle, CALL));
  accepts("a stricter decision", called, decidedEvent(bundle, CALL, { decision: "Deny" }));
  accepts("a stricter effect", called, decidedEvent(bundle, SECOND, { tool: "read", arguments: { path: "a" }, effect: "Once" }));
  refuses("an unknown call", ["unexpected", "final"], called, decidedEvent(bundle, "root/1/2"));
  refuses("a call of an older turn", ["unexpected", "final"], foldAll([requestedEvent(2, 1, 5), respondedEvent(2, 1, [BASH])], allRan), decidedEvent(bundle, CALL));
  refuses("a second decision", ["unexpected", "final"], decided, decidedEvent(bundle, CALL));
  refuses("a decision after the result", ["unexpected", "final"], foldAll([toolFinishedEvent(SECOND, { status: "error" })], called), decidedEvent(bundle, SECOND));
  refuses("another tool than the call's", ["denied", "final"], called, decidedEvent(bundle, CALL, { tool: "read", arguments: { path: "a" }, effect: "Pure" }));
  refuses("a weaker effect", ["denied", "final"], called, decidedEvent(bundle, CALL, { effect: "Pure" }));
  refuses("a fingerprint of other arguments", ["denied", "final"], called, decidedEvent(bundle, CALL, { fingerprint: "sha256:other" }));
  refuses("arguments that the tool does not take", ["malformed", "final"], called, decidedEvent(bundle, CALL, { arguments: { command: "" } }));
  refuses("members that the tool does not know", ["malformed", "final"], called, decidedEvent(bundle, CALL, { arguments: { command: "true", uid: 0 } }));
  for (const name of ["glob", "grep", "constructor"]) {
    const state = foldAll([respondedEvent(1, 1, [{ name, arguments: `{"pattern":"*"}` }])], requested);
    refuses(`Allow for ${name}, which the policy denies`, ["denied", "final"], state, decidedEvent(bundle, CALL, { tool: name, arguments: { pattern: "*" } }));
    accepts(`Deny for ${name}`, state, decidedEvent(bundle, CALL, { tool: name, arguments: { pattern: "*" }, decision: "Deny" }));
  }
  const noSandbox: Bundle = { ...bundle, environment: { ...bundle.environment, spec: { ...bundle.environment.spec, sandbox: { provisioning: "Never" } } } };
  refuses("a tool that needs the sandbox there is none of", ["denied", "final"], called, decidedEvent(noSandbox, CALL), { bundle: noSandbox });
  const floor: Bundle = { ...bundle, environment: { ...bundle.environment, spec: { ...bundle.environment.spec, permissions: [{ tool: "bash", decision: "Deny" }] } } };
  refuses("what the Environment's floor denies", ["denied", "final"], called, decidedEvent(floor, CALL), { bundle: floor });
});

describe("tool.started", () => {
  accepts("an allowed call", decided, toolStartedEvent(CALL, 1));
  refuses("an undecided call", ["unexpected", "final"], called, toolStartedEvent(CALL, 1));
  refuses("a denied call", ["denied", "final"], foldAll([decidedEvent(bundle, CALL, { decision: "Deny" })], called), toolStartedEvent(CALL, 1));
  refuses("an unknown call", ["unexpected", "final"], called, toolStartedEvent("root/9/9", 1));
  refuses("a finished call", ["unexpected", "final"], ran, toolStartedEvent(CALL, 2));
  refuses("a second start of an effect Once", ["unexpected", "final"], running, toolStartedEvent(CALL, 2));
  refuses("a cancelled session", ["stopped", "final"], foldAll([event("session.cancelled", { reason: "" })], decided), toolStartedEvent(CALL, 1));
  refuses("a session past its deadline", ["stopped", "final"], decided, toolStartedEvent(CALL, 1), { now: late });
  const pure = foldAll([decidedEvent(bundle, SECOND, { tool: "read", arguments: { path: "a" }, effect: "Pure" }), toolStartedEvent(SECOND, 1)], called);
  accepts("the next attempt of a pure call", pure, toolStartedEvent(SECOND, 2));
  refuses("an attempt that is not the next", ["unexpected", "final"], pure, toolStartedEvent(SECOND, 3));
  refuses("an attempt again", ["unexpected", "final"], pure, toolStartedEvent(SECOND, 1));
});

describe("tool.finished", () => {
  for (const status of ["ok", "error", "timeout", "indeterminate", "cancelled"] as const) {
    accepts(`${status} of a started call`, running, toolFinishedEvent(CALL, { status }));
  }
  for (const status of ["ok", "timeout", "indeterminate"] as const) {
    refuses(`${status} of a call that never started`, ["unexpected", "final"], decided, toolFinishedEvent(CALL, { status }));
  }
  for (const status of ["denied", "cancelled", "error"] as const) {
    accepts(`${status} of a call that was not decided`, called, toolFinishedEvent(CALL, { status }));
  }
  refuses("denied of an allowed call", ["unexpected", "final"], decided, toolFinishedEvent(CALL, { status: "denied" }));
  refuses("the result of an unknown call", ["unexpected", "final"], answered, toolFinishedEvent(CALL));
  knows("the same result again", { seq: ran.lastSeq }, ran, toolFinishedEvent(CALL));
  refuses("another result", ["conflict", "final"], ran, toolFinishedEvent(CALL, { content: "other" }));
  accepts("the result of what ran when the session was cancelled", cancelled, toolFinishedEvent(CALL));
  test("knows a result again that was stored without its credential", () => {
    const secret = toolFinishedEvent(CALL, { content: `AKIA${"A".repeat(16)}` });
    const stored = ask(running, secret);
    assert.equal(stored.kind, "accept");
    if (stored.kind !== "accept") return;
    assert.deepEqual(ask(foldAll([stored.event], running), secret), { kind: "known", seq: running.lastSeq + 1 });
  });
});

describe("sandbox events", () => {
  const asked = event("sandbox.requested", { reason: "bash" });
  const pending = foldAll([asked], called);
  const pod = { podUid: "s1", podName: "x-s1", address: "10.0.0.9" };
  const ready = foldAll([event("sandbox.bound", pod)], pending);
  const lost = foldAll([event("sandbox.lost", { podUid: "s1", reason: "node" })], ready);
  accepts("a first request", called, asked);
  refuses("a second request", ["unexpected", "wait"], pending, asked);
  refuses("a request while one is bound", ["stale", "wait"], ready, asked);
  accepts("a request that replaces the bound one", ready, event("sandbox.requested", { reason: "unreachable", replaces: "s1" }));
  accepts("a request after a loss", lost, asked);
  refuses("a request of a cancelled session", ["stopped", "final"], cancelled, asked);
  const noSandbox: Bundle = { ...bundle, environment: { ...bundle.environment, spec: { ...bundle.environment.spec, sandbox: { provisioning: "Never" } } } };
  refuses("a request where none is provided", ["denied", "final"], called, asked, { bundle: noSandbox });
  accepts("a pod that was asked for", pending, event("sandbox.bound", pod), { who: "operator" });
  knows("the bound pod again", { newest: "sandbox.bound" }, ready, event("sandbox.bound", pod), { who: "operator" });
  refuses("a pod nobody asked for", ["stale", "final"], called, event("sandbox.bound", pod), { who: "operator" });
  refuses("a pod that was lost", ["stale", "final"], foldAll([asked], lost), event("sandbox.bound", pod), { who: "operator" });
  accepts("the loss of the bound pod", ready, event("sandbox.lost", { podUid: "s1", reason: "node" }), { who: "operator" });
  knows("the same loss again", { newest: "sandbox.lost" }, lost, event("sandbox.lost", { podUid: "s1", reason: "other" }), { who: "operator" });
});

describe("session.cancelled and run.finished", () => {
  accepts("a cancellation", running, event("session.cancelled", { reason: "spec.cancel" }), { who: "operator" });
  knows("a second cancellation", { newest: "session.cancelled" }, cancelled, event("session.cancelled", { reason: "again" }), { who: "operator" });
  accepts("Completed after a final answer", answered, runFinishedEvent({ through: answered.lastSeq }));
  refuses("Completed before an answer", ["unexpected", "final"], started, runFinishedEvent({ through: 3 }));
  refuses("Completed with an open request", ["unexpected", "wait"], requested, runFinishedEvent({ through: 4 }));
  refuses("Completed with an open call", ["unexpected", "wait"], ran, runFinishedEvent({ through: ran.lastSeq }));
  refuses("Completed when the model waits for results", ["unexpected", "final"], allRan, runFinishedEvent({ through: allRan.lastSeq }));
  refuses("an end that has not seen the newest result", ["stale", "wait"], allRan, runFinishedEvent({ outcome: "ModelError", through: allRan.lastSeq - 1 }));
  refuses("an end that has not seen the cancellation", ["stale", "wait"], cancelled, runFinishedEvent({ outcome: "RunnerFailed", through: running.lastSeq }));
  refuses("an end that saw what is not stored", ["unexpected", "final"], answered, runFinishedEvent({ through: 99 }));
  accepts("Cancelled with open calls after a cancellation", cancelled, runFinishedEvent({ outcome: "Cancelled", through: cancelled.lastSeq }));
  refuses("Cancelled that nobody asked for", ["denied", "final"], answered, runFinishedEvent({ outcome: "Cancelled", through: 5 }));
  accepts("MaxTurns when all are used", { ...allRan, turns: 5 }, runFinishedEvent({ outcome: "MaxTurns", through: allRan.lastSeq }));
  refuses("MaxTurns with turns left", ["unexpected", "final"], allRan, runFinishedEvent({ outcome: "MaxTurns", through: allRan.lastSeq }));
  accepts("DeadlineExceeded after the deadline", running, runFinishedEvent({ outcome: "DeadlineExceeded", through: running.lastSeq }), { now: late });
  refuses("DeadlineExceeded before it", ["unexpected", "wait"], running, runFinishedEvent({ outcome: "DeadlineExceeded", through: running.lastSeq }));
  refuses("NameConflict from a runner", ["denied", "final"], running, runFinishedEvent({ outcome: "NameConflict", through: running.lastSeq }));
  accepts("the operator's Cancelled whatever it has seen", cancelled, runFinishedEvent({ outcome: "Cancelled", through: 0 }), { who: "operator" });
  accepts("the operator's RunnerFailed", running, runFinishedEvent({ outcome: "RunnerFailed", through: running.lastSeq }), { who: "operator" });
  refuses("the operator's RunnerFailed when the runner got on", ["stale", "wait"], ran, runFinishedEvent({ outcome: "RunnerFailed", through: ran.lastSeq - 1 }), { who: "operator" });
  refuses("the operator's Completed", ["denied", "final"], answered, runFinishedEvent({ through: 5 }), { who: "operator" });
});
