import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, EventType, NewEvent } from "@paddock/api/log/events";
import { MAX_AUTHORS } from "@paddock/api/log/limits";
import { deadlineAt } from "@paddock/api/log/state";
import type { SessionState, WaitingFor } from "@paddock/api/log/state";
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
import type { SharedBudget } from "../store/store.ts";
import { admit } from "./admit.ts";
import type { Admission, Appender } from "./admission.ts";
import { rowsOf } from "./testdata/rows.ts";

/** What foldAll stamps every event with. */
const NOW = new Date("2026-01-01T00:00:00.000Z");
const LONG_AFTER = new Date("2026-03-01T00:00:00.000Z");
const plain = buildTestBundle("u", { startTime: NOW.toISOString(), limits: { maxTurns: 5, timeoutSeconds: 60 } });
const bundle: Bundle = { ...plain, agent: { ...plain.agent, spec: { ...plain.agent.spec, customTools: [{ name: "post_note", description: "Post a note.", inputSchema: {} }] } } };
const conversation: Bundle = { ...bundle, mode: "Conversation" };
const [CALL, NOTE, READ] = ["root/1/0", "root/1/1", "root/1/2"] as const;

const DECIDED = decidedEvent(bundle, CALL, { decision: "Ask" });
const FINGERPRINT = (DECIDED.data as EventDataOf<"tool.decided">).fingerprint;

const ann = { role: "person", by: "ann" } as const;
const by = (state: SessionState, ...events: NewEvent[]): SessionState => foldAll(events, state, ann);
const stop = (id = "stop"): NewEvent => event("turn.interrupted", { id });
const suspend = event("session.suspended", { by: "ann" });
const cancel = event("session.cancelled", { reason: "spec.cancel" });

const bound = foldAll(boundEvents(bundle));
const started = foldAll([startedEvent("p1", 1)], bound);
const requested = foldAll([requestedEvent(1, 1, 3)], started);
const answered = foldAll([respondedEvent(1, 1)], requested);
const called = foldAll([respondedEvent(1, 1, ["bash", "post_note", "read"].map((name) => ({ name, arguments: "{}" })))], requested);
const readDone = foldAll([toolFinishedEvent(READ, { status: "error" })], called);
/** bash waits for approval, post_note for a client, read has its result. */
const asked = foldAll([DECIDED, event("approval.requested", { call: CALL, tool: "bash", fingerprint: FINGERPRINT, summary: "true", argumentsDigest: "d", expiresAt: "2026-01-02T00:00:00.000Z" })], readDone);
const noted = foldAll([decidedEvent(bundle, NOTE, { tool: "post_note" }), toolStartedEvent(NOTE, 1)], asked);
/** Only the client's result is open. */
const client = foldAll([toolFinishedEvent(CALL, { status: "cancelled" })], noted);
const waits = (state: SessionState, what: WaitingFor, through = state.lastSeq): NewEvent => event("run.waiting", { for: what, text: "", through });
const waitingFor = (state: SessionState, what: WaitingFor): SessionState => foldAll([waits(state, what)], state);
const allDone = foldAll([CALL, NOTE, READ].map((call) => toolFinishedEvent(call, { status: "cancelled" })), called);

interface Asked {
  readonly who?: Appender["role"];
  readonly now?: Date;
  readonly bundle?: Bundle;
  readonly budget?: SharedBudget;
}

const WHO: Readonly<Record<Appender["role"], Appender>> = {
  operator: { role: "operator" },
  person: { role: "person", username: "ann" },
  gateway: { role: "gateway" },
  runner: { role: "runner", podUid: "p1", epoch: 1, newestPodUid: "p1" },
};

function ask(state: SessionState, appended: NewEvent, { who = "runner", now = NOW, bundle: frozen = bundle, budget }: Asked = {}): Admission {
  return admit(state, frozen, appended, { who: WHO[who], now, budget });
}

const { accepts, refuses, knows } = rowsOf(ask);

describe("turn.interrupted", () => {
  const person = { who: "person" } as const;
  for (const [name, state] of [["a request", requested], ["calls", noted], ["a session without a runner", bound], ["a suspended session", foldAll([suspend], called)], ["the wait for approval", waitingFor(noted, "approval")], ["the wait for a client", waitingFor(client, "tool")]] as const) {
    accepts(`it of ${name}`, state, stop(), person);
  }
  accepts("it of a Conversation", called, stop(), { ...person, bundle: conversation });
  refuses("it of an operator", ["forbidden", "final"], called, stop(), { who: "operator" });
  refuses("it while the session waits for input", ["unexpected", "final", /nothing is under way, send the next message/], waitingFor(answered, "input"), stop(), person);
  refuses("it of a cancelled session", ["stopped", "final"], foldAll([cancel], called), stop(), person);
  refuses("it of a finished session", ["finished", "final", /nothing is under way/], foldAll([runFinishedEvent()], answered), stop(), person);
  const stopped = by(called, stop("mine"));
  knows("it again", { seq: stopped.lastSeq }, stopped, stop("mine"), person);
  knows("another one while it holds", { seq: stopped.lastSeq }, stopped, stop("other"), person);
  const goneOn = by(stopped, event("input.received", { id: "next", content: "go on" }));
  knows("it again after the next message", { seq: stopped.lastSeq }, goneOn, stop("mine"), person);
  knows("it again after the end", { seq: stopped.lastSeq }, foldAll([runFinishedEvent()], stopped), stop("mine"), person);
  accepts("one with an id that another person used", foldAll([event("input.received", { id: "next", content: "go on" })], foldAll([stop("mine")], called, { role: "person", by: "bob" })), stop("mine"), person);
});

describe("what an interrupt stops", () => {
  const stopped = by(called, stop());
  const decided = by(foldAll([decidedEvent(bundle, CALL)], called), stop());
  refuses("a start", ["paused", "wait", /interrupted by event \d+: finish its open calls as cancelled and append run\.waiting for input/], decided, toolStartedEvent(CALL, 1));
  refuses("a sandbox", ["paused", "wait"], stopped, event("sandbox.requested", { reason: "bash" }));
  refuses("a request", ["paused", "wait"], by(allDone, stop()), requestedEvent(2, 1, allDone.lastSeq + 1));
  accepts("its calls' end as cancelled", stopped, toolFinishedEvent(CALL, { status: "cancelled" }));
  accepts("the failure of its request", by(requested, stop()), event("model.failed", { turn: 1, attempt: 1, class: "cancelled", message: "" }));
  test("accepts an answer that was there already", () => assert.equal(ask(by(requested, stop()), respondedEvent(1, 1)).kind, "accept"));
  const quiet = by(allDone, stop());
  for (const mode of [bundle, conversation]) {
    accepts(`the wait for the next message of a ${mode.mode ?? "Task"}`, quiet, waits(quiet, "input"), { bundle: mode });
    accepts(`the wait before any answer of a ${mode.mode ?? "Task"}`, by(started, stop()), waits(by(started, stop()), "input"), { bundle: mode });
  }
  refuses("a wait that has not seen it", ["stale", "wait"], quiet, waits(quiet, "input", quiet.lastSeq - 1));
  refuses("the wait with an open call", ["unexpected", "wait", /has no tool\.finished/], stopped, waits(stopped, "input"));
  refuses("the wait for approval", ["paused", "wait"], by(asked, stop()), waits(by(asked, stop()), "approval"));
  refuses("the wait for a client", ["paused", "wait"], by(client, stop()), waits(by(client, stop()), "tool"));
  refuses("Completed", ["paused", "wait"], by(answered, stop()), runFinishedEvent({ through: answered.lastSeq + 1 }));
  refuses("Completed that has not seen it", ["stale", "wait"], by(answered, stop()), runFinishedEvent({ through: answered.lastSeq }));
  const next = by(waitingFor(quiet, "input"), event("input.received", { id: "next", content: "go on" }));
  accepts("nothing after the next message", next, requestedEvent(2, 1, next.lastSeq));
});

describe("session.suspended and session.resumed", () => {
  const operator = { who: "operator" } as const;
  const suspended = foldAll([suspend], called);
  const resumed = foldAll([event("session.resumed", {})], suspended);
  accepts("a suspension", called, suspend, operator);
  knows("a second one", { newest: "session.suspended" }, suspended, suspend, operator);
  accepts("its end", suspended, event("session.resumed", {}), operator);
  knows("a second end", { newest: "session.resumed" }, resumed, event("session.resumed", {}), operator);
  knows("an end of what never was", { seq: 1 }, called, event("session.resumed", {}), operator);
  accepts("another suspension", resumed, suspend, operator);
  refuses("it of a person", ["forbidden", "final"], called, suspend, { who: "person" });
  const paused = ["paused", "wait", /suspended: record what runs, append run\.waiting for resume/] as const;
  refuses("a request meanwhile", paused, foldAll([suspend], allDone), requestedEvent(2, 1, allDone.lastSeq));
  refuses("a start meanwhile", paused, foldAll([decidedEvent(bundle, CALL), suspend], called), toolStartedEvent(CALL, 1));
  refuses("a sandbox meanwhile", paused, suspended, event("sandbox.requested", { reason: "bash" }));
  const running = foldAll([decidedEvent(bundle, CALL), toolStartedEvent(CALL, 1), suspend], called);
  accepts("the result of what ran", running, toolFinishedEvent(CALL));
  accepts("a decision meanwhile", suspended, decidedEvent(bundle, CALL));
  accepts("a message meanwhile", suspended, event("input.received", { id: "x", content: "hi" }), { who: "person" });
  accepts("the end of what was answered", foldAll([suspend], answered), runFinishedEvent({ through: answered.lastSeq }));
});

describe("run.waiting for approval", () => {
  accepts("it with what a client still owes", noted, waits(noted, "approval"));
  accepts("it of a Conversation", noted, waits(noted, "approval"), { bundle: conversation });
  accepts("it of a suspended session", foldAll([suspend], noted), waits(foldAll([suspend], noted), "approval"));
  refuses("it when nobody is asked", ["unexpected", "final", /no approval is pending/], client, waits(client, "approval"));
  refuses("it with an undecided call", ["unexpected", "wait", /call root\/1\/1 is not decided: append tool\.decided first/], asked, waits(asked, "approval"));
  const startable = foldAll([decidedEvent(bundle, NOTE, { tool: "post_note" })], asked);
  refuses("it with a call that can start", ["unexpected", "wait", /call root\/1\/1 can start: append tool\.started first/], startable, waits(startable, "approval"));
  const denied = foldAll([decidedEvent(bundle, NOTE, { tool: "post_note", decision: "Deny" })], asked);
  refuses("it with a call that was denied", ["unexpected", "wait", /was denied: append tool\.finished with status denied/], denied, waits(denied, "approval"));
  const expired = foldAll([event("approval.resolved", { call: CALL, fingerprint: FINGERPRINT, decision: "Expired", scope: "Once" })], noted);
  refuses("it with a call that expired", ["unexpected", "wait", /was denied/], expired, waits(expired, "approval"));
  refuses("it when a decision landed just before", ["stale", "wait", /is newer than through/], expired, waits(noted, "approval"));
  refuses("it when a message landed just before", ["stale", "wait"], by(noted, event("input.received", { id: "x", content: "hi" })), waits(noted, "approval"));
  const running = foldAll([decidedEvent(bundle, READ, { tool: "read", effect: "Pure" }), toolStartedEvent(READ, 1)], foldAll([decidedEvent(bundle, CALL, { decision: "Ask" })], called));
  refuses("it with a call that runs", ["unexpected", "wait"], running, waits(running, "approval"));
  refuses("it with an open request", ["unexpected", "wait", /model request of turn 1 is open/], requested, waits(requested, "approval"));
  refuses("it of a cancelled session", ["stopped", "final"], foldAll([cancel], noted), waits(foldAll([cancel], noted), "approval"));
  refuses("it twice", ["unexpected", "final", /waits for approval since event \d+ already/], waitingFor(noted, "approval"), waits(waitingFor(noted, "approval"), "approval"));
});

describe("run.waiting for a client and for resume", () => {
  accepts("the wait for a client", client, waits(client, "tool"));
  refuses("it while an approval is pending, which would not end it", ["unexpected", "wait", /append run\.waiting for approval/], noted, waits(noted, "tool"));
  refuses("it without an open call", ["unexpected", "final", /no custom tool's call is open/], answered, waits(answered, "tool"));
  const given = by(client, toolFinishedEvent(NOTE));
  refuses("it when the result landed just before", ["stale", "wait"], given, waits(client, "tool"));
  const suspended = foldAll([suspend], called);
  accepts("the wait to be resumed, with calls that have not started", suspended, waits(suspended, "resume"));
  accepts("the wait to be resumed before any answer", foldAll([suspend], started), waits(foldAll([suspend], started), "resume"));
  refuses("it of a session that is not suspended", ["unexpected", "final", /not suspended: go on/], called, waits(called, "resume"));
  const left = foldAll([decidedEvent(bundle, CALL), toolStartedEvent(CALL, 1), startedEvent("p1", 2), suspend], called);
  test("accepts it with a call that an earlier runner left, for it may have to start again", () => {
    const who: Appender = { role: "runner", podUid: "p1", epoch: 2, newestPodUid: "p1" };
    assert.equal(admit(left, bundle, waits(left, "resume"), { who, now: NOW }).kind, "accept");
  });
  refuses("it with an open request", ["unexpected", "wait"], foldAll([suspend], requested), waits(foldAll([suspend], requested), "resume"));
});

describe("the deadline of a session that waits", () => {
  for (const what of ["approval", "tool", "resume"] as const) {
    const state = waitingFor(what === "tool" ? client : what === "approval" ? noted : foldAll([suspend], called), what);
    test(`for ${what} never comes`, () => assert.equal(deadlineAt(state), Infinity));
    for (const who of ["operator", "runner"] as const) {
      refuses(`DeadlineExceeded by the ${who} while it waits for ${what}`, ["unexpected", "final", new RegExp(`waits for ${what} since event`)], state, runFinishedEvent({ outcome: "DeadlineExceeded", through: state.lastSeq }), { who, now: LONG_AFTER });
    }
    refuses(`a request while it waits for ${what}`, ["unexpected", "wait", new RegExp(`waits for ${what} since event \\d+: nothing begins before`)], state, requestedEvent(2, 1, state.lastSeq), { now: LONG_AFTER });
  }
  const woken = foldAll([event("approval.resolved", { call: CALL, fingerprint: FINGERPRINT, decision: "Approved", by: "bob", scope: "Once" })], waitingFor(noted, "approval"), { role: "operator" });
  refuses("DeadlineExceeded before a runner went on", ["unexpected", "final", /no runner has begun yet/], woken, runFinishedEvent({ outcome: "DeadlineExceeded", through: woken.lastSeq }), { who: "operator", now: LONG_AFTER });
  accepts("the start of what was approved, long after", woken, toolStartedEvent(CALL, 1), { now: LONG_AFTER });
  accepts("a message long after", waitingFor(noted, "approval"), event("input.received", { id: "x", content: "hi" }), { who: "person", now: LONG_AFTER });
});

describe("the people of a session", () => {
  const crowd = Array.from({ length: MAX_AUTHORS }, (_, n) => `person-${n}`).reduce((state, author) => foldAll([event("input.received", { id: "x", content: "hi" })], state, { role: "person", by: author }), started);
  const message = event("input.received", { id: "new", content: "hi" });
  refuses("one more than can be remembered", ["limit", "final", /32 people have written to the session, which is the most/], crowd, message, { who: "person" });
  accepts("one of them", { ...crowd, authors: [...(crowd.authors ?? []).slice(1), "ann"] }, message, { who: "person" });
  accepts("the operator", crowd, message, { who: "operator" });
});

describe("money", () => {
  const priced = (limits: object): SessionState => ({ ...started, limits: { ...started.limits, ...limits } });
  const budget: SharedBudget = { day: "2026-01-01", limitNanoUSD: 10n ** 12n, usedNanoUSD: 0n, reservedNanoUSD: 0n };
  test("a request is stored with the grant of the gateway and not with its own", () => {
    const { data } = requestedEvent(1, 1, 3);
    const claimed = { ...data, inputTokens: 10_000, maxOutputTokens: 1000, grant: { day: "1999-01-01", inputTokens: 0, outputTokens: 10 ** 9 } };
    const answer = ask(priced({ costUSD: "1" }), { type: "model.requested", data: claimed } as NewEvent, { budget: { ...budget, day: "2026-01-02" } });
    assert.equal(answer.kind, "accept");
    const { grant } = answer.kind === "accept" ? (answer.event.data as EventDataOf<"model.requested">) : assert.fail();
    assert.deepEqual(grant, { day: "2026-01-02", inputTokens: 10_000, outputTokens: 1000, reservedNanoUSD: "12000000" });
  });
  const exceeded = event("budget.exceeded", { limit: "costUSD", used: "0", reserved: "0", allowed: "0.000001" });
  test("a final refusal is noted in the log, once", () => {
    const poor = priced({ costUSD: "0.000001" });
    const answer = ask(poor, requestedEvent(1, 1, 3));
    assert.ok(answer.kind === "refuse" && answer.problem === "budget" && answer.refusal === "final", JSON.stringify(answer));
    assert.deepEqual(answer.instead, exceeded);
    assert.match(answer.detail, /^costUSD: .* append run\.finished with outcome BudgetExceeded$/);
    const again = ask(foldAll([exceeded], poor), requestedEvent(1, 1, 3));
    assert.ok(again.kind === "refuse" && again.instead === undefined && again.detail === answer.detail);
  });
  refuses("a request while others hold the money", ["budget", "wait", /hold 1000: ask again/], started, requestedEvent(1, 1, 3), { budget: { ...budget, reservedNanoUSD: 10n ** 12n } });
  refuses("a request when others have spent the money", ["budget", "final", /costUSDPerDay/], started, requestedEvent(1, 1, 3), { budget: { ...budget, usedNanoUSD: 10n ** 12n } });
  const broke = foldAll([exceeded], started);
  accepts("BudgetExceeded after the refusal", broke, runFinishedEvent({ outcome: "BudgetExceeded", through: broke.lastSeq }));
  accepts("BudgetExceeded after the refusal and the results that came with it", foldAll([exceeded], allDone), runFinishedEvent({ outcome: "BudgetExceeded", through: allDone.lastSeq + 1 }));
  refuses("BudgetExceeded without one", ["unexpected", "final", /needs budget\.exceeded/], started, runFinishedEvent({ outcome: "BudgetExceeded", through: started.lastSeq }));
  const granted = foldAll([requestedEvent(1, 1, 3), respondedEvent(1, 1)], broke);
  refuses("BudgetExceeded when a request was granted since", ["unexpected", "final"], granted, runFinishedEvent({ outcome: "BudgetExceeded", through: granted.lastSeq }));
  const said = by(broke, event("input.received", { id: "x", content: "hi" }));
  refuses("BudgetExceeded when somebody said something since", ["unexpected", "final"], said, runFinishedEvent({ outcome: "BudgetExceeded", through: said.lastSeq }));
  refuses("BudgetExceeded with an open call", ["unexpected", "wait"], foldAll([exceeded], called), runFinishedEvent({ outcome: "BudgetExceeded", through: called.lastSeq + 1 }));
  refuses("it of anybody but the gateway", ["forbidden", "final"], started, exceeded);
});

describe("the gateway's own end", () => {
  const corrupt = runFinishedEvent({ outcome: "LogCorrupt", text: "", reason: "event 7 is missing", through: 0 });
  accepts("LogCorrupt", waitingFor(noted, "approval"), corrupt, { who: "gateway" });
  knows("LogCorrupt of what has finished", { seq: answered.lastSeq + 1 }, foldAll([runFinishedEvent()], answered), corrupt, { who: "gateway" });
  refuses("another outcome", ["denied", "final"], answered, runFinishedEvent(), { who: "gateway" });
  for (const who of ["runner", "operator"] as const) refuses(`LogCorrupt of the ${who}`, ["denied", "final"], answered, { ...corrupt, data: { ...corrupt.data, through: answered.lastSeq } } as NewEvent, { who });
});

describe("other types", () => {
  const events: readonly (readonly [NewEvent, Appender["role"]])[] = [
    [event("egress.decided", { host: "example.com", port: 443, decision: "Deny", rule: "HostNotAllowed", count: 1, bytesSent: 0, bytesReceived: 0 }), "runner"],
    [event("tools.listed", { server: "mcp", tools: [] }), "runner"],
    [event("context.compacted", { firstKeptSeq: 3, summary: "so far", tokensBefore: 9, tokensAfter: 1 }), "runner"],
    [event("context.pruned", { firstKeptSeq: 3, tokensBefore: 9, tokensAfter: 1 }), "runner"],
    [event("guardrail.tripped", { stage: "tool", rule: "r", action: "Stop" }), "runner"],
  ];
  for (const [appended, who] of events) {
    accepts(`${appended.type} of the ${who}`, answered, appended, { who });
    refuses(`${appended.type} of a person`, ["forbidden", "final"], answered, appended, { who: "person" });
    refuses(`${appended.type} after the end`, ["finished", "final"], foldAll([runFinishedEvent()], answered), appended, { who });
  }
  for (const type of ["context.compacted", "context.pruned"] as const satisfies readonly EventType[]) {
    refuses(`${type} from an event that is not there`, ["unexpected", "final", /firstKeptSeq is 99/], answered, { type, data: { firstKeptSeq: 99, summary: "", tokensBefore: 1, tokensAfter: 1 } } as NewEvent);
  }
  test("a payload is taken out after its credential was replaced", () => {
    const answer = ask(answered, event("context.compacted", { firstKeptSeq: 1, summary: `sk-${"a1B2".repeat(8)} ${"x".repeat(20_000)}`, tokensBefore: 9, tokensAfter: 1 }));
    assert.ok(answer.kind === "accept" && answer.blob !== undefined);
    assert.match(answer.blob.text, /^\[redacted\] x+$/);
    assert.doesNotMatch(JSON.stringify(answer.event), /sk-/);
  });
});
