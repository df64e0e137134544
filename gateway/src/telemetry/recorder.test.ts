import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { NewEvent } from "@paddock/api/log/events";
import { boundEvents, decidedEvent, event, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../../test/fakes/session.ts";
import { CONTENT_NAMES, NAME } from "./genai.ts";
import { spanIdOf } from "./ids.ts";
import { createRecorder } from "./recorder.ts";
import type { Recorder } from "./recorder.ts";
import type { SpanData } from "./spans.ts";
import { openPlay } from "./testdata/play.ts";
import type { Play } from "./testdata/play.ts";
import { askedEvents, grantedEvent, SECRET_WORDS, storyBundle, tellStory } from "./testdata/story.ts";

const silent = { warn: (...said: unknown[]) => assert.fail(JSON.stringify(said)), info: () => undefined };

/** The spans of these commits, sorted by their ends; `restartAt(n)` has another process take over before the n-th commit. */
async function spansOf(bundle: Bundle, commits: readonly (readonly NewEvent[])[], restartAt: (index: number) => boolean = () => false): Promise<{ spans: SpanData[]; play: Play }> {
  const play = openPlay(bundle);
  const spans: SpanData[] = [];
  const start = (): Recorder => createRecorder({ events: (_, query) => Promise.resolve(play.read(query)), emit: (span) => spans.push(span), logger: silent });
  let recorder = start();
  for (const [index, events] of commits.entries()) {
    if (restartAt(index)) {
      await recorder.idle();
      recorder = start();
    }
    recorder.stored(play.commit(...events));
  }
  await recorder.idle();
  return { spans: inOrder(spans), play };
}

function inOrder(spans: readonly SpanData[]): SpanData[] {
  return spans.toSorted((a, b) => a.endMs - b.endMs || a.name.localeCompare(b.name));
}

const byName = (spans: readonly SpanData[], name: string): SpanData[] => spans.filter((span) => span.name === name);

function only(spans: readonly SpanData[], name: string): SpanData {
  const [span, ...more] = byName(spans, name);
  assert.ok(span !== undefined && more.length === 0, `one span ${name} among ${spans.map((each) => each.name).join(", ")}`);
  return span;
}

test("a session is one trace: a span for each attempt, each call, each approval, and one for the run above them", async () => {
  const bundle = storyBundle("u");
  const { spans, play } = await spansOf(bundle, tellStory(bundle));
  const run = spanIdOf("u", ["run"]);
  const timesOf = ({ startMs, endMs }: SpanData) => [startMs, endMs];
  const at = (from: number, to: number) => [play.msOf(from), play.msOf(to)];
  assert.deepEqual(new Set(spans.map(({ traceId }) => traceId)), new Set([bundle.traceId]));
  assert.deepEqual(
    spans.map(({ name, parentSpanId, error }) => [name, parentSpanId, error]),
    [
      ["chat scripted", run, "overloaded"],
      ["chat scripted", run, undefined],
      ["execute_tool read", run, undefined],
      ["approval bash", spanIdOf("u", ["tool", "root/1/0"]), undefined],
      ["execute_tool bash", run, "error"],
      ["chat scripted", run, "lost"],
      ["chat scripted", run, undefined],
      ["invoke_agent agent", undefined, undefined],
    ],
  );
  assert.deepEqual(spans.map(timesOf), [at(4, 5), at(6, 7), at(11, 14), at(9, 15), at(16, 17), at(18, 19), at(20, 21), at(1, 22)]);
  assert.equal(only(spans, "invoke_agent agent").spanId, run);
  assert.equal(only(spans, "execute_tool bash").spanId, spanIdOf("u", ["tool", "root/1/0"]));
  assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, spans.length);
  assert.equal(only(spans, "execute_tool read").attributes[NAME.attempts], 2);
  assert.equal(only(spans, "approval bash").attributes[NAME.decision], "Approved");
  const answered = byName(spans, "chat scripted")[1];
  assert.equal(answered?.kind, "client");
  assert.deepEqual(
    [NAME.operation, NAME.provider, NAME.model, NAME.maxTokens, NAME.inputTokens, NAME.outputTokens, NAME.finishReasons, NAME.serverAddress, NAME.serverPort, NAME.turn, NAME.attempt].map((name) => answered.attributes[name]),
    ["chat", "openai", "scripted", 500, 10, 5, ["tool_calls"], "model.team.svc", 80, 1, 2],
  );
  assert.equal(byName(spans, "chat scripted")[0]?.attributes[NAME.httpStatus], 503);
});

test("every span tells whose it is", async () => {
  const bundle = storyBundle("u");
  const { spans } = await spansOf(bundle, tellStory(bundle));
  for (const { name, attributes } of spans) {
    assert.deepEqual(
      [NAME.namespace, NAME.session, NAME.sessionUid, NAME.sessionName, NAME.environment, NAME.agent].map((attribute) => attributes[attribute]),
      ["team", "u", "u", "session-u", "environment", "agent"],
      name,
    );
  }
});

test("a gateway that restarts, before whichever commit, makes the same spans, each once", async () => {
  for (const content of ["Omitted", "Recorded"] as const) {
    const bundle = storyBundle("u", content);
    const story = tellStory(bundle);
    const { spans } = await spansOf(bundle, story);
    for (const at of story.keys()) assert.deepEqual((await spansOf(bundle, story, (index) => index === at)).spans, spans, `content ${content}, restart before commit ${at}`);
    assert.deepEqual((await spansOf(bundle, story, () => true)).spans, spans, `content ${content}, restart before each commit`);
  }
});

test("two gateways of one store, each with a part of the commits, make the same spans as one", async () => {
  const bundle = storyBundle("u");
  const story = tellStory(bundle);
  const alone = await spansOf(bundle, story);
  for (const mine of [(index: number) => index % 2 === 0, (index: number) => index % 3 === 0, (index: number) => index % 3 > 0, (index: number) => index % 5 > 1]) {
    const play = openPlay(bundle);
    const spans: SpanData[] = [];
    const [one, other] = [1, 2].map(() => createRecorder({ events: (_, query) => Promise.resolve(play.read(query)), emit: (span) => spans.push(span), logger: silent }));
    assert.ok(one !== undefined && other !== undefined);
    for (const [index, events] of story.entries()) (mine(index) ? one : other).stored(play.commit(...events));
    await Promise.all([one.idle(), other.idle()]);
    assert.deepEqual(inOrder(spans), alone.spans);
  }
});

test("one commit with everything in it makes the same spans as many", async () => {
  for (const content of ["Omitted", "Recorded"] as const) {
    const bundle = storyBundle("u", content);
    const story = tellStory(bundle);
    assert.deepEqual((await spansOf(bundle, [story.flat()])).spans, (await spansOf(bundle, story)).spans);
  }
});

test("what people and models wrote is not told, nor who they are", async () => {
  const bundle = storyBundle("u");
  const { spans } = await spansOf(bundle, tellStory(bundle));
  const text = JSON.stringify(spans);
  for (const [what, word] of Object.entries(SECRET_WORDS)) assert.ok(!text.includes(word), what);
  assert.deepEqual(spans.flatMap(({ attributes }) => CONTENT_NAMES.filter((name) => name in attributes)), []);
});

test("where the Environment says On it is told, in the conventions' form", async () => {
  const bundle = storyBundle("u", "Recorded");
  const { spans } = await spansOf(bundle, tellStory(bundle));
  const told = (name: string, attribute: string, index = 0): unknown => JSON.parse(String(byName(spans, name)[index]?.attributes[attribute]));
  const user = { role: "user", parts: [{ type: "text", content: "Hello" }] };
  assert.deepEqual(told("invoke_agent agent", NAME.inputMessages), [user]);
  assert.deepEqual(told("invoke_agent agent", NAME.outputMessages), [{ role: "assistant", parts: [{ type: "text", content: "Done." }] }]);
  assert.deepEqual(told("chat scripted", NAME.inputMessages, 1), [user]);
  assert.deepEqual(told("chat scripted", NAME.outputMessages, 1), [
    {
      role: "assistant",
      parts: [
        { type: "text", content: "Done." },
        { type: "tool_call", id: "call_0", name: "bash", arguments: '{"command":"make dangerous"}' },
        { type: "tool_call", id: "call_1", name: "read", arguments: '{"path":"a"}' },
      ],
      finish_reason: "tool_calls",
    },
  ]);
  // Only what the model had not seen before.
  const results = ["root/1/1", "root/1/0"].map((id) => ({ role: "tool", parts: [{ type: "tool_call_response", id, response: SECRET_WORDS.result }] }));
  assert.deepEqual(told("chat scripted", NAME.inputMessages, 3), results);
  assert.deepEqual(told("execute_tool bash", NAME.arguments), { command: "make dangerous" });
  assert.equal(only(spans, "execute_tool bash").attributes[NAME.result], SECRET_WORDS.result);
  const { attributes } = only(spans, "approval bash");
  assert.deepEqual([attributes[NAME.user], attributes[NAME.reason]], [SECRET_WORDS.person, SECRET_WORDS.reason]);
  assert.equal(byName(spans, "chat scripted")[0]?.message, SECRET_WORDS.failure);
});

test("content is cut to a bound, whatever its size", async () => {
  const bundle = storyBundle("u", "Recorded");
  const long = "é".repeat(100_000);
  const calls = Array.from({ length: 3 }, () => ({ name: "bash", arguments: long }));
  const { spans } = await spansOf(bundle, [
    boundEvents(bundle),
    [event("input.received", { id: "long", content: long })],
    [startedEvent("p1", 1), grantedEvent(1, 1, 3), respondedEvent(1, 1, calls)],
    [decidedEvent(bundle, "root/1/0", { arguments: { command: long } }), toolStartedEvent("root/1/0", 1), toolFinishedEvent("root/1/0", { content: long })],
    [runFinishedEvent({ text: long })],
  ]);
  const texts = spans.flatMap(({ attributes }) => CONTENT_NAMES.flatMap((name) => (name in attributes ? [String(attributes[name])] : [])));
  assert.equal(texts.length, 6);
  for (const text of texts) assert.ok(text.length < 17_000, `${text.length}`);
});

test("what is open when the run ends, ends with it", async () => {
  const bundle = storyBundle("u");
  const { spans, play } = await spansOf(bundle, [
    boundEvents(bundle),
    [startedEvent("p1", 1), grantedEvent(1, 1, 3), respondedEvent(1, 1, ["bash", "read", "read"].map((name) => ({ name, arguments: "{}" })))],
    [...askedEvents(bundle, "root/1/0"), decidedEvent(bundle, "root/1/1", { tool: "read" }), toolStartedEvent("root/1/1", 1)],
    [event("session.cancelled", { reason: "enough" }), runFinishedEvent({ outcome: "Cancelled" })],
  ]);
  const end = play.msOf(11);
  assert.deepEqual(
    spans.filter(({ endMs }) => endMs === end).map(({ name, startMs, attributes }) => [name, startMs, attributes[NAME.status] ?? attributes[NAME.decision] ?? attributes[NAME.outcome]]),
    [
      ["approval bash", play.msOf(7), "Withdrawn"],
      ["execute_tool bash", play.msOf(6), "unfinished"],
      ["execute_tool read", play.msOf(9), "unfinished"],
      ["invoke_agent agent", play.msOf(1), "Cancelled"],
    ],
  );
  assert.equal(only(spans, "invoke_agent agent").error, undefined);
});

test("a call that nobody let start begins with its decision, and takes its approval with it", async () => {
  const bundle = storyBundle("u");
  const { spans, play } = await spansOf(bundle, [
    boundEvents(bundle),
    [startedEvent("p1", 1), grantedEvent(1, 1, 3), respondedEvent(1, 1, ["bash", "bash"].map((name) => ({ name, arguments: "{}" })))],
    [...askedEvents(bundle, "root/1/0")],
    [event("turn.interrupted", { id: "stop" }), toolFinishedEvent("root/1/0", { status: "cancelled" }), toolFinishedEvent("root/1/1", { status: "error", seconds: 0 })],
  ]);
  const [cancelled, invalid] = byName(spans, "execute_tool bash");
  assert.deepEqual([cancelled?.startMs, cancelled?.endMs, cancelled?.error], [play.msOf(6), play.msOf(9), undefined]);
  assert.deepEqual([invalid?.startMs, invalid?.endMs, invalid?.error], [play.msOf(10), play.msOf(10), "error"]);
  assert.equal(only(spans, "approval bash").attributes[NAME.decision], "Withdrawn");
});

test("a log that cannot be read costs the beginning, not the span", async () => {
  const bundle = storyBundle("u");
  const play = openPlay(bundle);
  const spans: SpanData[] = [];
  const warnings: unknown[] = [];
  const recorder = createRecorder({ events: () => Promise.reject(new Error("damaged")), emit: (span) => spans.push(span), logger: { ...silent, warn: (...args: unknown[]) => warnings.push(args) } });
  const commits = tellStory(bundle).map((events) => play.commit(...events));
  for (const commit of commits.slice(5)) recorder.stored(commit);
  await recorder.idle();
  assert.equal(spans.length, 7);
  assert.equal(warnings.length, 2);
  const run = only(spans, "invoke_agent agent");
  assert.equal(run.startMs, Date.parse(bundle.startTime));
});

test("a store that never answers keeps few spans waiting, and none of the others", async () => {
  const bundle = storyBundle("u");
  const spans: SpanData[] = [];
  const recorder = createRecorder({ events: () => new Promise(() => undefined), emit: (span) => spans.push(span), logger: silent });
  for (let session = 0; session < 1000; session += 1) {
    const of = storyBundle(`u${session}`);
    const play = openPlay(of);
    play.commit(...boundEvents(bundle));
    recorder.stored(play.commit(runFinishedEvent()));
  }
  assert.equal(spans.length, 744);
});
