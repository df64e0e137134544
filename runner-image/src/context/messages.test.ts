import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { boundEvents, event, requestedEvent, respondedEvent, startedEvent, toolFinishedEvent } from "../../../test/fakes/session.ts";
import { BUNDLE, stored } from "../testdata/view.ts";
import { buildInstructions } from "./instructions.ts";
import { buildMessages, toolCallId } from "./messages.ts";

const BOUND = [...boundEvents(BUNDLE), startedEvent("p1", 1)];
const CALLS = [{ name: "read", arguments: '{"path":"a"}' }, { name: "glob", arguments: "" }];

function build(events: readonly NewEvent[]): ReturnType<typeof buildMessages> {
  return buildMessages("Be brief.", stored([...BOUND, ...events]));
}

function said(message: Partial<EventDataOf<"model.responded">["message"]>, finishReason = "stop"): NewEvent {
  return event("model.responded", { turn: 1, attempt: 1, message: { text: "", toolCalls: [], ...message }, finishReason, seconds: 1 });
}

test("a conversation is system, inputs, answers, and results in the order of their calls", () => {
  const results = [toolFinishedEvent("root/1/1", { content: "" }), toolFinishedEvent("root/1/0", { content: "text of a", note: "the sandbox is new" })];
  assert.deepEqual(build([requestedEvent(1, 1, 3), respondedEvent(1, 1, CALLS), ...results]), [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hello" },
    {
      role: "assistant",
      content: "Done.",
      tool_calls: [
        { id: "t00010000", type: "function", function: { name: "read", arguments: '{"path":"a"}' } },
        { id: "t00010001", type: "function", function: { name: "glob", arguments: "{}" } },
      ],
    },
    { role: "tool", tool_call_id: "t00010000", content: "text of a\n\n[the sandbox is new]" },
    { role: "tool", tool_call_id: "t00010001", content: "(no output)" },
  ]);
});

test("a request is never built while a call has no result", () => {
  assert.throws(() => build([requestedEvent(1, 1, 3), respondedEvent(1, 1, CALLS), toolFinishedEvent("root/1/1")]), /root\/1\/0 has no tool\.finished/);
});

test("a longer log only adds messages", () => {
  const events = [requestedEvent(1, 1, 3), respondedEvent(1, 1, CALLS), toolFinishedEvent("root/1/0"), toolFinishedEvent("root/1/1"), requestedEvent(2, 1, 8), respondedEvent(2, 1)];
  const before = build(events.slice(0, 4));
  assert.deepEqual(build(events).slice(0, before.length), before);
});

test("an input that came while the model answered follows the answer", () => {
  const late = event("input.received", { id: "2", content: "Also this" });
  assert.deepEqual(build([requestedEvent(1, 1, 3), late, respondedEvent(1, 1)]).map(({ role, content }) => [role, content]), [
    ["system", "Be brief."],
    ["user", "Hello"],
    ["assistant", "Done."],
    ["user", "Also this"],
  ]);
});

test("an empty answer is left out and the model is told", () => {
  const messages = build([requestedEvent(1, 1, 3), said({})]);
  assert.deepEqual(messages.map(({ role }) => role), ["system", "user", "user"]);
  assert.match(messages[2]?.content ?? "", /empty/);
});

test("fields that the endpoint added go back to it, in the message and in its calls", () => {
  const toolCalls = [{ id: "x", name: "read", arguments: "{}" }];
  const extra = { reasoning_content: "I think", tool_calls: [{ extra_content: { signature: "s" } }] };
  const [, , answer] = build([requestedEvent(1, 1, 3), said({ toolCalls, extra }), toolFinishedEvent("root/1/0")]);
  assert.deepEqual(answer, {
    role: "assistant",
    content: null,
    reasoning_content: "I think",
    tool_calls: [{ id: "t00010000", type: "function", function: { name: "read", arguments: "{}" }, extra_content: { signature: "s" } }],
  });
});

test("ids of calls are nine letters and digits, and no two are the same", () => {
  const ids = new Set<string>();
  for (let turn = 1; turn <= 200; turn += 1) for (let index = 0; index < 128; index += 1) ids.add(toolCallId(turn, index));
  assert.equal(ids.size, 200 * 128);
  for (const id of ids) assert.match(id, /^[a-z0-9]{9}$/);
});

test("the system message is the instructions and the facts of the place", () => {
  const text = buildInstructions({ ...BUNDLE, startTime: "2026-03-04T05:06:07.000Z" });
  assert.match(text, /^Be brief\.\n/);
  assert.match(text, /2026-03-04 \(UTC\)/);
  assert.match(text, /5 answers of yours and 3600 seconds/);
  assert.match(text, /workspace \/workspace/);
  const without = { ...BUNDLE, environment: { ...BUNDLE.environment, spec: { ...BUNDLE.environment.spec, sandbox: { provisioning: "Never" as const } } } };
  assert.doesNotMatch(buildInstructions(without), /workspace/);
});
