import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { MODEL_FAILURES, parseNewEvent } from "./events.ts";
import type { EventDataOf, EventType, LogEvent, NewEvent } from "./events.ts";
import { callOf, foldEvent, hashOf } from "./fold.ts";
import { deadlineAt, turnsUsed, unseenInput } from "./state.ts";
import type { SessionState } from "./state.ts";
import { ALL_TYPES, AT, answered, append, digest, fold, limits, sample, samples } from "./testdata/samples.ts";

const asJson = (state: SessionState): unknown => JSON.parse(JSON.stringify(state));

describe("the fold, event by event", () => {
  it("knows every type that the contract has", () => {
    for (const type of ALL_TYPES) assert.equal(fold([sample(type)]).lastSeq, 1, type);
  });

  it("session.bound sets limits and deadline", () => {
    const state = fold([sample("session.bound")]);
    assert.deepEqual([state.limits, deadlineAt(state)], [limits, Date.parse(AT) + 900_000]);
  });

  it("input.received is remembered by id and is news", () => {
    const state = fold([sample("session.bound"), sample("input.received")]);
    assert.deepEqual([state.inputs, state.lastNewsSeq], [[{ id: "prompt", seq: 2, tokens: 18 }], 2]);
  });

  it("runner.started takes the epoch and voids the request its predecessor left open", () => {
    const before = fold([sample("session.bound"), sample("runner.started"), sample("model.requested")]);
    const state = append(before, sample("runner.started", { epoch: 2, podUid: "pod-2", reason: "resume" }));
    assert.deepEqual([before.request?.turn, state.request, state.epoch, state.runnerPodUid], [1, undefined, 2, "pod-2"]);
  });

  it("runner.reported is the newest problem, until the model answers", () => {
    const reported = fold([sample("runner.reported")]);
    assert.equal(reported.problem?.subject, "openai/api-key");
    assert.equal(append(reported, sample("model.responded")).problem, undefined);
  });

  it("model.requested opens a request and counts the attempt", () => {
    const state = fold([sample("model.requested", { attempt: 3 })]);
    assert.deepEqual([state.request, state.attempt], [{ seq: 1, turn: 1, attempt: 3, model: "default", through: 3 }, 3]);
  });

  it("model.failed closes the request and is a step", () => {
    const state = fold([sample("model.requested"), sample("model.failed")]);
    assert.deepEqual([state.request, state.attempt, state.turns, state.recentSteps], [
      undefined, 1, 0, [{ seq: 2, kind: "model", name: "default", outcome: "overloaded", seconds: 0 }],
    ]);
  });

  it("model.responded counts the turn, adds up the usage and opens its calls in order", () => {
    const state = fold(answered);
    assert.deepEqual([state.turns, state.attempt, state.request], [1, 0, undefined]);
    assert.deepEqual(state.totals, { inputTokens: 100, cachedInputTokens: 40, outputTokens: 10, costNanoUSD: "250" });
    assert.deepEqual(state.calls, [{ call: "root/1/0", name: "bash", attempts: 0 }, { call: "root/1/1", name: "read", attempts: 0 }]);
    assert.deepEqual(state.recentSteps.at(-1), { seq: 5, kind: "model", name: "default", outcome: "tool_calls", seconds: 1 });
  });

  it("an answer of unknown cost makes the sum unknown for good", () => {
    const unknown = sample("model.responded", { costNanoUSD: undefined });
    assert.equal(fold([...answered, unknown, sample("model.responded")]).totals.costNanoUSD, undefined);
  });

  it("an answer without usage adds none", () => {
    assert.equal(fold([...answered, sample("model.responded", { usage: undefined })]).totals.inputTokens, 100);
  });

  it("tool.decided, tool.started and tool.finished change their call and no other", () => {
    const state = fold([...answered, sample("tool.decided"), sample("tool.started", { attempt: 2 }), sample("tool.finished")]);
    const call = callOf(state, "root/1/0");
    assert.deepEqual([call?.decision?.decision, call?.attempts, call?.finished?.seq, state.toolCalls, state.lastNewsSeq], ["Allow", 2, 8, 1, 8]);
    assert.deepEqual(callOf(state, "root/1/1"), { call: "root/1/1", name: "read", attempts: 0 });
    assert.deepEqual(state.recentSteps.at(-1), { seq: 8, kind: "tool", name: "bash", outcome: "ok", seconds: 1 });
  });

  it("a new answer forgets the calls of the one before", () => {
    const state = fold([...answered, sample("model.responded", { turn: 2, message: { text: "done", toolCalls: [] } })]);
    assert.deepEqual([state.calls, callOf(state, "root/1/0")], [[], undefined]);
  });

  it("a sandbox is requested, bound, lost and replaced", () => {
    const requested = fold([sample("sandbox.requested")]);
    assert.deepEqual(requested.sandbox, { requested: 1, pending: true });
    const bound = append(requested, sample("sandbox.bound"));
    assert.deepEqual(bound.sandbox, { requested: 1, pending: false, bound: samples["sandbox.bound"] });
    const lost = append(bound, sample("sandbox.lost"));
    assert.deepEqual(lost.sandbox, { requested: 1, pending: false, lost: "box-1" });
    const again = fold([sample("sandbox.requested"), sample("sandbox.bound", { podUid: "box-2" })], lost);
    assert.deepEqual([again.sandbox.requested, again.sandbox.bound?.podUid, again.sandbox.lost], [2, "box-2", "box-1"]);
  });

  it("the late loss of an earlier sandbox does not unbind its successor", () => {
    const state = fold([sample("sandbox.requested"), sample("sandbox.bound", { podUid: "box-2" }), sample("sandbox.lost", { podUid: "box-1" })]);
    assert.deepEqual([state.sandbox.bound?.podUid, state.sandbox.lost], ["box-2", "box-1"]);
  });

  it("session.cancelled is news", () => {
    const state = fold([sample("session.cancelled")]);
    assert.deepEqual([state.cancelled, state.lastNewsSeq], [true, 1]);
  });

  it("run.finished closes the request and keeps the result", () => {
    const state = fold([sample("model.requested"), sample("run.finished")]);
    assert.deepEqual([state.request, state.finished?.outcome, state.finished?.seq, state.finished?.at], [undefined, "Completed", 2, AT]);
  });

  it("run.waiting is kept until the next input", () => {
    const waiting = fold([...answered, sample("run.waiting")]);
    assert.deepEqual(waiting.waiting, { for: "input", seq: 6, since: AT, text: "done" });
    assert.equal(append(waiting, sample("runner.started", { epoch: 2 })).waiting?.seq, 6);
    const active = append(waiting, sample("input.received", { id: "next" }));
    assert.deepEqual([active.waiting, active.lastNewsSeq], [undefined, 7]);
  });

  it("each input of a Conversation begins time and turns anew, one of a Task does not", () => {
    const [, ...rest] = answered;
    const inputs = [...rest, sample("run.waiting"), sample("input.received", { id: "next" })];
    const at = "2026-11-21T13:00:00.000Z";
    const bound = sample("session.bound", { startTime: "2026-11-20T12:00:00.000Z", mode: "Conversation" });
    const state = fold([bound, ...inputs]);
    assert.deepEqual([state.inputSince, turnsUsed(state), deadlineAt(state)], [{ at: AT, turns: 1 }, 0, Date.parse(AT) + 900_000]);
    const more = append(state, sample("model.responded", { turn: 2 }));
    assert.deepEqual([turnsUsed(more), deadlineAt({ ...more, inputSince: { at, turns: 1 } })], [1, Date.parse(at) + 900_000]);
    for (const task of [sample("session.bound"), sample("session.bound", { mode: "Task" })]) {
      const once = fold([task, ...inputs]);
      assert.deepEqual([once.inputSince, turnsUsed(once), deadlineAt(once)], [undefined, 1, Date.parse(AT) + 900_000]);
    }
  });

  it("the first input of a Conversation counts from the session's start", () => {
    const state = fold([sample("session.bound", { mode: "Conversation" }), sample("input.received")]);
    assert.deepEqual([state.mode, state.inputSince, turnsUsed(state)], ["Conversation", undefined, 0]);
  });

  it("an input is unseen until an answer to a request that covers it", () => {
    // The sample request covers events up to 3, and the answer is event 6.
    const late = fold([...answered.slice(0, 4), sample("input.received", { id: "next" }), sample("model.responded")]);
    assert.deepEqual([unseenInput(late), late.answeredThrough], [5, 3]);
    const asked = append(late, sample("model.requested", { turn: 2, through: 6 }));
    assert.equal(unseenInput(asked), 5, "asked is not answered");
    assert.equal(unseenInput(append(asked, sample("model.responded", { turn: 2 }))), undefined);
  });

  it("an answer that was asked for before an input came is not one of its turns", () => {
    const bound = sample("session.bound", { mode: "Conversation" });
    const asked = [bound, ...answered.slice(1, 4), sample("input.received", { id: "next" })];
    const state = fold([...asked, sample("model.responded")]);
    assert.deepEqual([state.turns, turnsUsed(state)], [1, 0]);
    assert.equal(turnsUsed(fold([sample("model.requested", { turn: 2, through: 6 }), sample("model.responded", { turn: 2 })], state)), 1);
  });

  it("inputs are told apart by their authors", () => {
    const bare = { v: 1, seq: 2, at: AT, role: "person", by: "ann", ...sample("input.received", { id: "x" }), hash: "h" } as unknown as LogEvent;
    assert.deepEqual(foldEvent(fold([sample("input.received", { id: "x" })]), bare).inputs, [{ id: "x", seq: 1, tokens: 18 }, { id: "x", seq: 2, tokens: 18, by: "ann" }]);
  });

  it("goes on from a state that was stored before Conversations were there", () => {
    const { answeredThrough: _, ...old } = fold(answered.slice(0, 4));
    const stored = { ...old, request: { seq: 4, turn: 1, attempt: 1, model: "default" } };
    const state = fold([sample("model.responded"), sample("run.finished")], stored);
    assert.deepEqual([unseenInput(state), turnsUsed(state), state.finished?.outcome], [undefined, 1, "Completed"]);
  });

  it("refuses an event that does not follow, and changes nothing", () => {
    const state = fold(answered);
    const bare = { v: 1, seq: 9, at: AT, role: "runner", ...sample("session.cancelled"), hash: "x" } as unknown as LogEvent;
    assert.throws(() => foldEvent(state, bare), /event 9 does not follow event 5/);
    assert.equal(state.cancelled, false);
  });
});

/** Any event that the contract accepts, with few enough identities that they meet. */
const turn = fc.integer({ min: 1, max: 4 });
const call = fc.tuple(turn, fc.integer({ min: 0, max: 3 })).map(([t, index]) => `root/${t}/${index}`);
const podUid = fc.constantFrom("pod-1", "pod-2", "pod-3");
const toolCalls = fc.array(fc.record({ id: fc.string({ maxLength: 8 }), name: fc.constantFrom("bash", "read", "nothing"), arguments: fc.json({ maxDepth: 1 }) }), { maxLength: 4 });
const grant = fc.record({ day: fc.constant("2026-11-21"), inputTokens: fc.nat(1e6), outputTokens: fc.nat(1e6), reservedNanoUSD: fc.bigInt({ min: 0n, max: 10n ** 25n }).map(String) });
const usage = fc.record({ inputTokens: fc.nat(1e6), cachedInputTokens: fc.nat(1e6), outputTokens: fc.nat(1e6) });
const change = <T extends EventType>(type: T, fields: fc.Arbitrary<Partial<EventDataOf<T>>>) => fields.map((data) => sample(type, data));
const fingerprintOf = fc.constantFrom(digest, `sha256:${"1".repeat(64)}`);
const anyEvent: fc.Arbitrary<NewEvent> = fc.oneof(
  fc.constantFrom(...ALL_TYPES.map((type) => sample(type))),
  change("input.received", fc.record({ id: fc.string({ minLength: 1, maxLength: 5 }), content: fc.string() })),
  change("runner.started", fc.record({ epoch: fc.integer({ min: 1, max: 9 }), podUid })),
  change("model.requested", fc.record({ turn, attempt: fc.integer({ min: 1, max: 5 }), grant: fc.option(grant, { nil: undefined }) })),
  change("model.failed", fc.record({ turn, class: fc.constantFrom(...MODEL_FAILURES) })),
  change("model.responded", fc.record({ turn, message: fc.record({ text: fc.string(), toolCalls }), usage: fc.option(usage, { nil: undefined }), costNanoUSD: fc.option(fc.bigInt({ min: 0n, max: 10n ** 15n }).map(String), { nil: undefined }) })),
  change("tool.decided", fc.record({ call, decision: fc.constantFrom("Allow" as const, "Ask" as const, "Deny" as const) })),
  change("approval.requested", fc.record({ call, fingerprint: fingerprintOf })),
  change("approval.resolved", fc.record({ call, fingerprint: fingerprintOf, decision: fc.constantFrom("Approved" as const, "Denied" as const, "Expired" as const), scope: fc.constantFrom("Once" as const, "Session" as const) })),
  change("run.waiting", fc.record({ for: fc.constantFrom("input" as const, "approval" as const, "tool" as const, "resume" as const) })),
  change("tool.started", fc.record({ call, attempt: fc.integer({ min: 1, max: 5 }) })),
  change("tool.finished", fc.record({ call, content: fc.string(), seconds: fc.nat(1000) })),
  change("sandbox.bound", fc.record({ podUid })),
  change("sandbox.lost", fc.record({ podUid })),
);
const anyLog = fc.array(anyEvent, { maxLength: 40 });

describe("the fold, whatever the log", () => {
  it("gives the same state from a snapshot and the rest of the log", () => {
    fc.assert(fc.property(anyLog, fc.nat(40), (log, cut) => {
      const snapshot = asJson(fold(log.slice(0, cut))) as SessionState;
      assert.deepEqual(asJson(fold(log.slice(cut), snapshot)), asJson(fold(log)));
    }));
  });

  it("gives the same state when every event has been stored as text and read again", () => {
    fc.assert(fc.property(anyLog, (log) => {
      const stored = log.map((event) => {
        const parsed = parseNewEvent(JSON.parse(JSON.stringify(event)));
        assert.ok("event" in parsed, JSON.stringify(parsed));
        return parsed.event;
      });
      assert.deepEqual(asJson(fold(stored)), asJson(fold(log)));
    }));
  });

  it("never changes the state it is given", () => {
    fc.assert(fc.property(anyLog, anyEvent, (log, event) => {
      const state = fold(log);
      const before = JSON.stringify(state);
      append(state, event);
      assert.equal(JSON.stringify(state), before);
    }));
  });

  it("counts what happened", () => {
    fc.assert(fc.property(anyLog, (log) => {
      const state = fold(log);
      const of = (type: EventType) => log.filter((event) => event.type === type);
      assert.deepEqual([state.lastSeq, state.toolCalls, state.sandbox.requested], [log.length, of("tool.finished").length, of("sandbox.requested").length]);
      const inputs = of("model.responded").map(({ data }) => (data as EventDataOf<"model.responded">).usage?.inputTokens ?? 0);
      assert.equal(state.totals.inputTokens, inputs.reduce((sum, n) => sum + n, 0));
    }));
  });

  it("stays small however long the log gets", () => {
    const long = (count: number) => fold(Array.from({ length: count }, (_, i) => [sample("input.received", { id: `input-${i % 10}` }), sample("model.responded"), sample("tool.finished")]).flat());
    const [short, tall] = [long(200), long(2000)];
    assert.deepEqual([tall.inputs.length, tall.recentSteps.length, tall.calls.length], [100, 10, 2]);
    // Numbers get longer by their digits, nothing else grows.
    assert.ok(JSON.stringify(tall).length < JSON.stringify(short).length + 1000);
  });
});

describe("the hash chain", () => {
  it("depends on the event and on everything before it", () => {
    fc.assert(fc.property(anyLog, fc.nat(39), (log, at) => {
      const changed = log.map((event, index) => (index === at ? sample("session.cancelled", { reason: "another" }) : event));
      assert.equal(fold(log).lastHash === fold(changed).lastHash, at >= log.length);
    }));
  });

  it("does not depend on the order of members", () => {
    const event = { v: 1, seq: 1, at: AT, role: "operator", type: "session.cancelled", data: { reason: "x" } } as unknown as Omit<LogEvent, "hash">;
    const reversed = Object.fromEntries(Object.entries(event).reverse()) as unknown as Omit<LogEvent, "hash">;
    assert.equal(hashOf("", event), hashOf("", reversed));
  });
});
