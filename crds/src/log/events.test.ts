import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseSandboxResult } from "../wire/sandbox.ts";
import { APPENDERS, callId, eventData, parseNewEvent } from "./events.ts";

function faultOf(value: unknown): string {
  const result = parseNewEvent(value);
  assert.ok("fault" in result, `accepted ${JSON.stringify(value)}`);
  return result.fault;
}

const call = "root/1/0";

describe("an event from outside", () => {
  it("loses members nobody knows", () => {
    assert.deepEqual(parseNewEvent({ type: "session.cancelled", data: { reason: "x", extra: 1 }, seq: 7, role: "operator" }), {
      event: { type: "session.cancelled", data: { reason: "x" } },
    });
  });

  it("keeps what an endpoint sent along with a message", () => {
    const message = { text: "", toolCalls: [], extra: { reasoning_content: "hm", nested: { a: [1] } } };
    const result = parseNewEvent({ type: "model.responded", data: { turn: 1, attempt: 1, message, finishReason: "stop", seconds: 0.5 } });
    assert.deepEqual("event" in result && result.event.type === "model.responded" && result.event.data.message, message);
  });

  it("takes no length of time that a status cannot hold, from a sandbox or a runner", () => {
    const result = { status: "ok", content: "", bytes: 0, truncated: false };
    assert.deepEqual(parseSandboxResult({ ...result, seconds: 3615, more: 1 }), { ...result, seconds: 3615 });
    for (const seconds of [1e300, -1, NaN, "1", undefined]) assert.equal(parseSandboxResult({ ...result, seconds }), undefined);
    assert.match(faultOf({ type: "tool.finished", data: { call, status: "ok", content: "", bytes: 0, seconds: 1e300 } }), /seconds/);
  });

  const bad: readonly { readonly name: string; readonly value: unknown; readonly says: RegExp }[] = [
    { name: "no object", value: "session.cancelled", says: /an event is an object \{type, data\}/ },
    { name: "null", value: null, says: /an event is an object/ },
    { name: "a list", value: [], says: /an event is an object/ },
    { name: "no type", value: { data: {} }, says: /an event is an object/ },
    { name: "an unknown type", value: { type: "session.paused", data: {} }, says: /no event type is called "session\.paused"/ },
    { name: "a type that objects inherit", value: { type: "constructor", data: {} }, says: /no event type is called "constructor"/ },
    { name: "a type without end", value: { type: "x".repeat(10_000), data: {} }, says: /^no event type is called "x{64}"$/ },
    { name: "no data", value: { type: "session.cancelled" }, says: /an event is an object \{type, data\}/ },
    { name: "a missing member", value: { type: "session.cancelled", data: {} }, says: /reason/ },
    { name: "a member of another type", value: { type: "sandbox.requested", data: { reason: 1 } }, says: /reason/ },
    { name: "a call that is none", value: { type: "tool.started", data: { call: "1", attempt: 1, idempotencyKey: "k", deadline: "2026-11-21T12:00:00Z" } }, says: /call/ },
    { name: "a deadline in words", value: { type: "tool.started", data: { call, attempt: 1, idempotencyKey: "k", deadline: "soon" } }, says: /deadline/ },
    { name: "attempt 0", value: { type: "model.requested", data: { turn: 1, attempt: 0, model: "m", requestDigest: "d", through: 1 } }, says: /attempt/ },
    { name: "half a turn", value: { type: "model.requested", data: { turn: 1.5, attempt: 1, model: "m", requestDigest: "d", through: 1 } }, says: /turn/ },
    { name: "a decision nobody knows", value: { type: "tool.decided", data: { call, tool: "bash", fingerprint: "f", arguments: {}, effect: "Once", decision: "Maybe", rule: "r" } }, says: /decision/ },
    { name: "a summary without end", value: { type: "approval.requested", data: { call, tool: "bash", fingerprint: "f", summary: "x".repeat(2049), argumentsDigest: "d", expiresAt: "2026-11-21T12:00:00Z" } }, says: /summary/ },
    { name: "a scope nobody knows", value: { type: "approval.resolved", data: { call, fingerprint: "f", decision: "Approved", by: "ann", scope: "Always" } }, says: /scope/ },
    { name: "a wait for nothing that comes", value: { type: "run.waiting", data: { for: "luck", text: "", through: 1 } }, says: /for/ },
    { name: "a limit nobody knows", value: { type: "budget.exceeded", data: { limit: "patience", used: "1", reserved: "0", allowed: "1" } }, says: /limit/ },
    { name: "an interrupt without an id", value: { type: "turn.interrupted", data: { id: "" } }, says: /id/ },
    { name: "negative seconds", value: { type: "tool.finished", data: { call, status: "ok", content: "", bytes: 0, seconds: -1 } }, says: /seconds/ },
    { name: "a cost that is no integer", value: { type: "model.responded", data: { turn: 1, attempt: 1, message: { text: "", toolCalls: [] }, finishReason: "stop", seconds: 1, costNanoUSD: "1.5" } }, says: /costNanoUSD/ },
    { name: "tokens below zero", value: { type: "model.responded", data: { turn: 1, attempt: 1, message: { text: "", toolCalls: [] }, finishReason: "stop", seconds: 1, usage: { inputTokens: -1, cachedInputTokens: 0, outputTokens: 0 } } }, says: /inputTokens/ },
    { name: "more calls than a message may hold", value: { type: "model.responded", data: { turn: 1, attempt: 1, message: { text: "", toolCalls: Array(129).fill({ id: "", name: "a", arguments: "" }) }, finishReason: "stop", seconds: 1 } }, says: /toolCalls/ },
    { name: "an outcome nobody knows", value: { type: "run.finished", data: { outcome: "Fine", text: "", reason: "", through: 1 } }, says: /outcome/ },
  ];
  for (const { name, value, says } of bad) {
    it(`with ${name} is refused with type and field`, () => {
      assert.match(faultOf(value), says);
    });
  }

  it("never makes the parser throw", () => {
    const type = fc.oneof(fc.constantFrom(...Object.keys(eventData)), fc.string());
    fc.assert(fc.property(fc.oneof(fc.jsonValue(), fc.record({ type, data: fc.jsonValue() })), (value) => {
      assert.ok(["event", "fault"].includes(Object.keys(parseNewEvent(value)).join()));
    }));
  });
});

describe("the identity of a call", () => {
  it("is run, turn and index", () => {
    for (const good of ["root/1/0", "a-b/999999/9999"]) assert.ok(callId.safeParse(good).success, good);
    for (const bad of ["root/1", "Root/1/0", "root/1/0/2", "root/-1/0", "../1/0", "root/1/0\n"]) assert.ok(!callId.safeParse(bad).success, bad);
  });
});

describe("appenders", () => {
  it("are named for every type, and people and gateway append little", () => {
    assert.deepEqual(Object.keys(APPENDERS).toSorted(), Object.keys(eventData).toSorted());
    assert.ok(Object.values(APPENDERS).every((roles) => roles.length > 0));
    assert.deepEqual(Object.entries(APPENDERS).filter(([, roles]) => roles.includes("person")).map(([type]) => type), ["input.received", "turn.interrupted", "tool.finished"]);
    assert.deepEqual(Object.entries(APPENDERS).filter(([, roles]) => roles.includes("gateway") && roles.length === 1).map(([type]) => type), ["approval.requested", "budget.exceeded"]);
  });
});
