import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import { digestOf } from "@paddock/api/log/canonical";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
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
import { argumentFaults } from "./admit-arguments.ts";
import type { Admission, Appender } from "./admission.ts";
import { rowsOf } from "./testdata/rows.ts";

/** What foldAll stamps every event with. */
const NOW = new Date("2026-01-01T00:00:00.000Z");
const after = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);

const plain = buildTestBundle("u", { startTime: NOW.toISOString(), limits: { maxTurns: 5, timeoutSeconds: 100_000 } });
const schema = { type: "object", properties: { text: { type: "string", pattern: "^[a-z ]*$" } }, required: ["text"], additionalProperties: false };
const bundle: Bundle = {
  ...plain,
  agent: { ...plain.agent, spec: { ...plain.agent.spec, customTools: [{ name: "post_note", description: "Post a note.", inputSchema: schema, timeoutSeconds: 90 }, { name: "ask_boss", description: "Ask.", inputSchema: {}, permission: "Ask" }] } },
  environment: { ...plain.environment, spec: { ...plain.environment.spec, permissions: [{ tool: "bash", decision: "Ask" }], approvals: { timeoutSeconds: 3600 } } },
};
const [BASH, READ, NOTE, BOSS] = ["root/1/0", "root/1/1", "root/1/2", "root/1/3"] as const;

const called = foldAll([...boundEvents(bundle), startedEvent("p1", 1), requestedEvent(1, 1, 3), respondedEvent(1, 1, ["bash", "read", "post_note", "ask_boss"].map((name) => ({ name, arguments: "{}" })))]);

const decideBash = (change: Partial<EventDataOf<"tool.decided">> = {}): NewEvent => decidedEvent(bundle, BASH, { decision: "Ask", ...change });
const decideNote = (change: Partial<EventDataOf<"tool.decided">> = {}): NewEvent => decidedEvent(bundle, NOTE, { tool: "post_note", arguments: { text: "hi" }, ...change });
const fingerprint = (decideBash().data as EventDataOf<"tool.decided">).fingerprint;
const expiresAt = after(3600).toISOString();
const request: EventDataOf<"approval.requested"> = { call: BASH, tool: "bash", fingerprint, summary: "true", argumentsDigest: digestOf({ command: "true" }), expiresAt };

const asked = foldAll([decideBash(), event("approval.requested", request)], called);
function resolve(change: Partial<EventDataOf<"approval.resolved">> = {}): NewEvent {
  return event("approval.resolved", { call: BASH, fingerprint, decision: "Approved", by: "bob", scope: "Once", ...change });
}
const approved = foldAll([resolve()], asked);
const denied = foldAll([resolve({ decision: "Denied", reason: "no" })], asked);
const expiry = event("approval.resolved", { call: BASH, fingerprint, decision: "Expired", scope: "Once" });
const expired = foldAll([expiry], asked);
const runningBash = foldAll([toolStartedEvent(BASH, 1)], approved);

const decidedNote = foldAll([decideNote()], called);
const startedNote = foldAll([event("tool.started", { call: NOTE, attempt: 1, idempotencyKey: "k", deadline: after(90).toISOString() })], decidedNote);
const result = (change: Partial<EventDataOf<"tool.finished">> = {}): NewEvent => toolFinishedEvent(NOTE, { seconds: 0, ...change });
const givenNote = foldAll([result()], startedNote, { role: "person", by: "ann" });
const nextTurn = foldAll([...[BASH, READ, BOSS].map((call) => toolFinishedEvent(call, { status: "cancelled" })), requestedEvent(2, 1, 20), respondedEvent(2, 1)], givenNote);
const cancelled = (state: SessionState): SessionState => foldAll([event("session.cancelled", { reason: "" })], state);
const interrupted = (state: SessionState): SessionState => foldAll([event("turn.interrupted", { id: "stop" })], state, { role: "person", by: "ann" });

interface Asked {
  readonly who?: Appender["role"];
  readonly now?: Date;
  readonly bundle?: Bundle;
}

const WHO: Readonly<Record<Appender["role"], Appender>> = {
  operator: { role: "operator" },
  person: { role: "person", username: "ann" },
  gateway: { role: "gateway" },
  runner: { role: "runner", podUid: "p1", epoch: 1, newestPodUid: "p1" },
};

function ask(state: SessionState, appended: NewEvent, { who = "runner", now = NOW, bundle: frozen = bundle }: Asked = {}): Admission {
  return admit(state, frozen, appended, { who: WHO[who], now });
}

const { accepts, refuses, knows } = rowsOf(ask);

function accepted(answer: Admission): Extract<Admission, { kind: "accept" }> {
  assert.equal(answer.kind, "accept", JSON.stringify(answer));
  return answer.kind === "accept" ? answer : assert.fail();
}

describe("tool.decided with Ask", () => {
  test("is followed by what asks people", () => {
    assert.deepEqual(ask(called, decideBash()), { kind: "accept", event: decideBash(), followed: event("approval.requested", request) });
  });
  test("waits a day for a decision when the Environment does not say", () => {
    const { approvals: _, ...spec } = bundle.environment.spec;
    const { followed } = accepted(ask(called, decideBash(), { bundle: { ...bundle, environment: { ...bundle.environment, spec } } }));
    assert.equal((followed?.data as { expiresAt?: string }).expiresAt, after(86_400).toISOString());
  });
  test("shows people what the log holds, without its credential", () => {
    const args = { command: `curl -H 'token: sk-${"a1B2".repeat(8)}'` };
    const { followed } = accepted(ask(called, decidedEvent(bundle, BASH, { decision: "Ask", arguments: args })));
    const { summary, argumentsDigest } = followed?.data as EventDataOf<"approval.requested">;
    assert.deepEqual([summary, argumentsDigest], ["curl -H 'token: [redacted]'", digestOf({ command: "curl -H 'token: [redacted]'" })]);
  });
  accepts("it without asking again when its fingerprint is approved for the session", { ...called, approvedFingerprints: [fingerprint] }, decideBash());
  refuses("Allow where the policy asks", ["denied", "final", /environment\.spec\.permissions asks for bash, and Allow claims more: append tool\.decided with Ask/], called, decideBash({ decision: "Allow" }));
  accepts("Deny where the policy asks", called, decideBash({ decision: "Deny" }));
  test("may be stricter than the policy", () => {
    const read = decidedEvent(bundle, READ, { tool: "read", arguments: { path: "a" }, effect: "Pure", decision: "Ask" });
    assert.equal(accepted(ask(called, read)).followed?.type, "approval.requested");
  });
  refuses("it when the session is cancelled", ["stopped", "final", /cancelled/], cancelled(called), decideBash());
  refuses("it when the turn was interrupted", ["paused", "wait", /interrupted by event 6: finish its open calls as cancelled/], interrupted(called), decideBash());
  refuses("it when the time is over", ["stopped", "final", /limits\.timeoutSeconds/], called, decideBash(), { now: after(100_000) });
  refuses("approval.requested of anybody but the gateway", ["forbidden", "final", /only by: gateway/], called, event("approval.requested", request));
});

describe("a custom tool's arguments", () => {
  accepts("what its inputSchema takes", called, decideNote());
  refuses("what it does not take", ["malformed", "final", /arguments of call root\/1\/2 to post_note: \/text must match pattern.*append tool\.finished with status error instead/], called, decideNote({ arguments: { text: "HI" } }));
  refuses("a missing member", ["malformed", "final", /must have required property 'text'/], called, decideNote({ arguments: {} }));
  accepts("anything where it is denied", called, decideNote({ arguments: {}, decision: "Deny" }));
  refuses("a weaker effect", ["denied", "final", /post_note has the effect Once/], called, decideNote({ effect: "Idempotent" }));

  function withSchema(inputSchema: Record<string, unknown>): Bundle {
    return { ...bundle, agent: { ...bundle.agent, spec: { ...bundle.agent.spec, customTools: [{ name: "post_note", description: "Post a note.", inputSchema }] } } };
  }
  function decideUnder(frozen: Bundle, args: Record<string, unknown>): NewEvent {
    return decidedEvent(frozen, NOTE, { tool: "post_note", arguments: args });
  }
  const schemas = [
    { name: "that refers to another host", schema: { $ref: "https://schemas.example.com/note.json" }, says: /cannot be used: can't resolve reference https:\/\/schemas\.example\.com\/note\.json/ },
    { name: "of another dialect", schema: { $schema: "http://json-schema.org/draft-04/schema#", type: "object" }, says: /cannot be used: no schema with key or ref/ },
    { name: "that is none", schema: { type: "thing" }, says: /cannot be used: schema is invalid/ },
    { name: "that is too large", schema: { description: "x".repeat(16_400) }, says: /cannot be used: it has more than 16384 bytes/ },
    { name: "of a validator's own making, whose fault would come later and to nobody", schema: { $async: true, required: ["x"] }, says: /cannot be used: \$async is no JSON Schema/ },
    { name: "whose pattern takes for ever", schema: { properties: { text: { type: "string", pattern: "^(a+)+$" } } }, says: /cannot be checked: .*timed out/ },
  ];
  for (const { name, schema: inputSchema, says } of schemas) {
    const frozen = withSchema(inputSchema);
    refuses(`a schema ${name}`, ["malformed", "final", says], called, decideUnder(frozen, { text: `${"a".repeat(60)}!` }), { bundle: frozen });
  }
  test("a schema that two Agents share is told of by each one's own name for the tool", () => {
    const inputSchema = { type: "nothing" };
    const faultsOf = (name: string): string => argumentFaults({ agent: { digest: "d", spec: { customTools: [{ name, description: "Shared.", inputSchema }] } } }, name, {}).join();
    assert.match(faultsOf("first_tool"), /inputSchema of first_tool cannot be used/);
    assert.match(faultsOf("second_tool"), /inputSchema of second_tool cannot be used/);
  });
  for (const inputSchema of [{ $id: "note", type: "object" }, { $id: "note", type: "object", required: ["x"] }, { format: "uri", "x-other": 1 }, { $defs: { t: { type: "string" } }, properties: { text: { $ref: "#/$defs/t" } } }]) {
    const frozen = withSchema(inputSchema);
    accepts(`what the schema ${JSON.stringify(inputSchema)} takes`, called, decideUnder(frozen, { x: 1 }), { bundle: frozen });
  }
});

describe("approval.resolved", () => {
  const operator = { who: "operator" } as const;
  const gateway = { who: "gateway" } as const;
  accepts("an approval", asked, resolve(), operator);
  accepts("an approval for the session", asked, resolve({ scope: "Session", reason: "trusted" }), operator);
  accepts("a denial", asked, resolve({ decision: "Denied", reason: "too much" }), operator);
  accepts("a decision in the last moment", asked, resolve(), { ...operator, now: after(3599.999) });
  refuses("a decision after the expiry", ["stopped", "final", /expired at 2026-01-01T01:00:00\.000Z and counts as denied.*approvals\.timeoutSeconds/], asked, resolve(), { ...operator, now: after(3600) });
  refuses("a decision about nothing", ["unexpected", "final", /no approval is asked for call root\/1\/0/], called, resolve(), operator);
  refuses("a decision about a call that has its result", ["unexpected", "final", /or has its tool\.finished/], foldAll([toolFinishedEvent(BASH, { status: "cancelled" })], asked), resolve(), operator);
  refuses("a decision with another fingerprint", ["denied", "final", /is about the fingerprint sha256:other, and call root\/1\/0 has sha256:/], asked, resolve({ fingerprint: "sha256:other" }), operator);
  knows("the same decision again", { seq: approved.lastSeq }, approved, resolve({ reason: "other words" }), operator);
  knows("the same decision again, long after", { seq: approved.lastSeq }, approved, resolve(), { ...operator, now: after(9999) });
  refuses("another decision", ["conflict", "final", /decided at event 8: Approved by bob; the first decision stands/], approved, resolve({ decision: "Denied" }), operator);
  refuses("the same by another person", ["conflict", "final", /Approved by bob/], approved, resolve({ by: "eve" }), operator);
  refuses("a decision after its expiry was noted", ["conflict", "final", /decided at event 8: Expired; the first/], expired, resolve(), operator);
  refuses("a decision of nobody", ["malformed", "final", /names who decided/], asked, event("approval.resolved", { call: BASH, fingerprint, decision: "Approved", scope: "Once" }), operator);
  refuses("an expiry of the operator", ["denied", "final", /only the gateway/], asked, resolve({ decision: "Expired" }), { ...operator, now: after(3600) });
  refuses("it of a runner", ["forbidden", "final"], asked, resolve());
  refuses("it of a person", ["forbidden", "final"], asked, resolve(), { who: "person" });
  accepts("the gateway's expiry", asked, expiry, { ...gateway, now: after(3600) });
  refuses("the gateway's expiry before its time", ["unexpected", "wait", /can be decided until/], asked, expiry, { ...gateway, now: after(3599.999) });
  refuses("a decision of the gateway", ["denied", "final", /decides nothing/], asked, resolve(), gateway);
  refuses("the expiry of what was decided at the same moment", ["conflict", "final"], approved, expiry, { ...gateway, now: after(3600) });
  knows("a decision after the end as nothing new", { seq: approved.lastSeq + 1 }, foldAll([runFinishedEvent({ outcome: "Cancelled" })], approved), resolve(), operator);
  const own = { ...asked, authors: ["bob"] };
  refuses("the approval of who wrote a message", ["denied", "final", /bob wrote a message of the session and may not approve.*allowRequester/], own, resolve(), operator);
  accepts("the denial of who wrote a message", own, resolve({ decision: "Denied" }), operator);
  const lenient: Bundle = { ...bundle, environment: { ...bundle.environment, spec: { ...bundle.environment.spec, approvals: { allowRequester: true } } } };
  accepts("the approval of who wrote a message where that is allowed", own, resolve(), { ...operator, bundle: lenient });
});

describe("tool.started after Ask", () => {
  accepts("what was approved", approved, toolStartedEvent(BASH, 1));
  refuses("what nobody has decided", ["unexpected", "wait", /waits for approval since event 7: start it after approval\.resolved/], asked, toolStartedEvent(BASH, 1));
  refuses("what was denied", ["denied", "final", /was denied: append tool\.finished with status denied/], denied, toolStartedEvent(BASH, 1));
  refuses("what was not decided in time", ["denied", "final", /was not decided in time/], expired, toolStartedEvent(BASH, 1));
  const forSession = foldAll([resolve({ scope: "Session" })], asked);
  accepts("what was approved for the session", forSession, toolStartedEvent(BASH, 1));
  const again = foldAll([...[READ, NOTE, BOSS].map((call) => toolFinishedEvent(call, { status: "cancelled" })), toolStartedEvent(BASH, 1), toolFinishedEvent(BASH), requestedEvent(2, 1, 20), respondedEvent(2, 1, [{ name: "bash", arguments: "{}" }])], forSession);
  const [first, second] = ["root/2/0", "root/2/0"] as const;
  accepts("the same arguments again after an approval for the session", foldAll([decidedEvent(bundle, first, { decision: "Ask" })], again), toolStartedEvent(first, 1));
  refuses("other arguments after an approval for the session", ["denied", "final"], foldAll([decidedEvent(bundle, second, { decision: "Ask", arguments: { command: "false" } })], again), toolStartedEvent(second, 1));
  refuses("it while interrupted", ["paused", "wait", /interrupted/], interrupted(approved), toolStartedEvent(BASH, 1));
  refuses("it while suspended", ["paused", "wait", /suspended: record what runs, append run\.waiting for resume/], { ...approved, suspended: true }, toolStartedEvent(BASH, 1));
  accepts("it after the session was resumed", { ...approved, suspended: false }, toolStartedEvent(BASH, 1));
  refuses("denied of an approved call", ["unexpected", "final", /was allowed/], approved, toolFinishedEvent(BASH, { status: "denied" }));
  refuses("denied while nobody has decided", ["unexpected", "wait", /nobody has decided about call root\/1\/0 yet/], asked, toolFinishedEvent(BASH, { status: "denied" }));
  accepts("denied after a denial", denied, toolFinishedEvent(BASH, { status: "denied" }));
  accepts("denied after an expiry", expired, toolFinishedEvent(BASH, { status: "denied" }));
  // People decided about another call with the same arguments, for the session: what was said about this one stands.
  for (const [how, no] of [["a denial", denied], ["an expiry", expired]] as const) {
    const elsewhere: SessionState = { ...no, approvedFingerprints: [fingerprint] };
    accepts(`denied after ${how}, though its arguments were approved for the session elsewhere`, elsewhere, toolFinishedEvent(BASH, { status: "denied" }));
    refuses(`a start after ${how}, though its arguments were approved for the session elsewhere`, ["denied", "final"], elsewhere, toolStartedEvent(BASH, 1));
  }
  refuses("denied of a call that started by an approval for the session and was denied since", ["unexpected", "final", /started and may have run/], foldAll([toolStartedEvent(BASH, 1), resolve({ decision: "Denied" })], { ...asked, approvedFingerprints: [fingerprint] }), toolFinishedEvent(BASH, { status: "denied" }));
  accepts("cancelled of a call that waits for approval", interrupted(asked), toolFinishedEvent(BASH, { status: "cancelled" }));
  refuses("a second start of what may have run", ["unexpected", "final", /append tool\.finished with status indeterminate/], runningBash, toolStartedEvent(BASH, 2));
});

describe("a custom tool's call", () => {
  test("starts with the gateway's own time", () => {
    const { event: stored } = accepted(ask(decidedNote, toolStartedEvent(NOTE, 1), { now: after(7) }));
    assert.equal((stored.data as EventDataOf<"tool.started">).deadline, after(97).toISOString());
  });
  refuses("a second start, by whatever runner", ["unexpected", "wait", /was started already and a client of custom tool post_note gives its result: append run\.waiting for tool/], startedNote, toolStartedEvent(NOTE, 2));
  for (const status of ["ok", "error", "timeout", "indeterminate"] as const) {
    refuses(`${status} by the runner`, ["denied", "wait", /comes from a client of custom tool post_note/], startedNote, result({ status }));
  }
  accepts("cancelled by the runner", startedNote, result({ status: "cancelled" }));
  accepts("an error by the runner before it started", called, result({ status: "error" }));
  refuses("a start that nobody approved", ["unexpected", "wait", /waits for approval/], foldAll([decidedEvent(bundle, BOSS, { tool: "ask_boss", decision: "Ask" }), event("approval.requested", { ...request, call: BOSS, tool: "ask_boss" })], called), toolStartedEvent(BOSS, 1));
});

describe("a person's result", () => {
  const person = { who: "person" } as const;
  test("is stored with its size and how long it took, as the gateway counts", () => {
    const { event: stored } = accepted(ask(startedNote, result({ content: "grün", bytes: 1 }), { ...person, now: after(5) }));
    assert.deepEqual(stored, result({ content: "grün", bytes: 5, seconds: 5 }));
  });
  test("may be an error", () => {
    assert.equal(accepted(ask(startedNote, result({ status: "error" }), person)).event.type, "tool.finished");
  });
  refuses("any other status", ["malformed", "final", /ok or error, not denied/], startedNote, result({ status: "denied" }), person);
  refuses("one of a built-in tool", ["denied", "final", /is of bash, which the session runs itself/], runningBash, toolFinishedEvent(BASH), person);
  refuses("one before the start", ["unexpected", "wait", /has not started/], decidedNote, result(), person);
  refuses("one when its time is over", ["stopped", "final", /was over at 2026-01-01T00:01:30\.000Z.*timeoutSeconds of the Agent \(90\)/], startedNote, result(), { ...person, now: after(90) });
  refuses("one of an unknown call", ["unexpected", "final"], startedNote, toolFinishedEvent("root/9/9"), person);
  refuses("one after the end", ["finished", "final", /takes no result any more/], foldAll([runFinishedEvent({ outcome: "Cancelled" })], startedNote), result(), person);
  const long = result({ content: "x".repeat(20_000), bytes: 20_000 });
  knows("the same again", { seq: givenNote.lastSeq }, givenNote, result({ seconds: 77 }), person);
  knows("the same again, by the runner", { seq: givenNote.lastSeq }, givenNote, result(), {});
  knows("the same again when the model has answered since", { seq: givenNote.lastSeq }, nextTurn, result(), person);
  knows("the same again after the end", { seq: givenNote.lastSeq }, foldAll([runFinishedEvent()], nextTurn), result(), person);
  refuses("another one", ["conflict", "final", /has another result already, at event 8/], givenNote, result({ content: "other" }), person);
  refuses("another one when the model has answered since", ["conflict", "final"], nextTurn, result({ status: "error" }), person);
  test("that is large is known again too, and beside its event", () => {
    const { event: stored, blob } = accepted(ask(startedNote, long, person));
    assert.equal(blob?.ref.bytes, 20_000);
    assert.deepEqual(ask(foldAll([stored], startedNote, { role: "person", by: "ann" }), long, person), { kind: "known", seq: startedNote.lastSeq + 1 });
  });
  test("of a session that is cancelled, interrupted or waits is taken: it was asked for", () => {
    const waiting = foldAll([event("run.waiting", { for: "tool", text: "", through: 7 })], startedNote);
    for (const state of [cancelled(startedNote), interrupted(startedNote), waiting]) accepted(ask(state, result(), person));
  });
});

describe("the gateway's time-out", () => {
  const gateway = { who: "gateway", now: after(90) } as const;
  const late = result({ status: "timeout" });
  accepts("it when the time is over", startedNote, late, gateway);
  refuses("it before", ["denied", "final"], startedNote, late, { who: "gateway", now: after(89.999) });
  refuses("another status", ["denied", "final"], startedNote, result(), gateway);
  refuses("it of a built-in tool", ["denied", "final", /only ends calls of custom tools/], runningBash, toolFinishedEvent(BASH, { status: "timeout" }), { who: "gateway", now: after(99_999) });
  refuses("it when a result came first", ["conflict", "final"], givenNote, late, gateway);
});
