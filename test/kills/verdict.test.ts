import assert from "node:assert/strict";
import { test } from "node:test";
import { ROOT_RUN } from "@paddock/api/log/limits";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { hashOf } from "@paddock/api/log/fold";
import { boundEvents, buildTestBundle, event, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../fakes/session.ts";
import type { Run } from "./play.ts";
import { judge } from "./verdict.ts";

// The verdict sees each kind of broken promise; that a whole session keeps all of them is what the harness itself shows.

const bundle = buildTestBundle("u1");
const grant = { day: "2026-01-01", inputTokens: 100, outputTokens: 100, reservedNanoUSD: "300000" };
const requested = (turn: number, attempt: number): NewEvent => event("model.requested", { turn, attempt, model: "m", requestDigest: "sha256:r", through: 2, grant });
const decided = event("tool.decided", { call: "root/1/0", tool: "bash", fingerprint: "f", arguments: {}, effect: "Once", decision: "Allow", rule: "r" });
const answer = respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }]);
const answered = { ...answer, data: { ...answer.data, costNanoUSD: "20000" } } as NewEvent;
const BEGIN: readonly NewEvent[] = [...boundEvents(bundle), startedEvent("p1", 1), requested(1, 1), answered, decided];
const END: readonly NewEvent[] = [toolStartedEvent("root/1/0", 1), toolFinishedEvent("root/1/0"), runFinishedEvent()];

function sealed(events: readonly NewEvent[]): readonly LogEvent[] {
  let hash = "";
  return events.map((one, index) => {
    const unsealed = { v: 1, seq: index + 1, at: "2026-01-01T00:00:00.000Z", role: "runner", run: ROOT_RUN, ...one } as Omit<LogEvent, "hash">;
    hash = hashOf(hash, unsealed);
    return { ...unsealed, hash } as LogEvent;
  });
}

function runOf(events: readonly NewEvent[], change: Partial<Run> = {}): Run {
  const log = sealed(events);
  return { name: "one", uid: "u1", kills: [], struck: [], log, seen: log, asked: [], marks: { one: 1, two: 0 }, executed: ["root/1/0 1"], blobs: {}, status: {}, pods: [], milliseconds: 1, ...change };
}

/** What is wrong beyond what is wrong with every log that is not the story's. */
function more(run: Run): readonly string[] {
  const usual = new Set(judge(runOf([...BEGIN, ...END])).map(({ text }) => text));
  return judge(run).filter(({ text }) => !usual.has(text)).map(({ kind, text }) => `${kind}: ${text}`);
}

const whole = sealed([...BEGIN, ...END]);

test("a changed event and a missing one are no chain", () => {
  const changed = whole.map((one) => (one.type === "tool.finished" ? { ...one, data: { ...one.data, content: "other" } } : one));
  assert.deepEqual(more(runOf([...BEGIN, ...END], { log: changed, seen: changed })), ["chain: event 8 (tool.finished) at place 8 is not in the chain"]);
  const missing = whole.filter(({ type }) => type !== "tool.decided");
  assert.match(more(runOf([...BEGIN, ...END], { log: missing, seen: missing }))[0] ?? "", /^chain: event 7 \(tool\.started\) at place 6/);
});

test("what a reader was shown and the log has not is lost, and so is what the reader was not shown", () => {
  const other = sealed([...BEGIN, toolStartedEvent("root/1/0", 1), toolFinishedEvent("root/1/0", { content: "other" })]);
  assert.match(more(runOf([...BEGIN, ...END], { seen: other })).join("\n"), /lost: event 8 \(tool\.finished\) was shown to a reader and is not in the log\nlost: a reader had 8 of 9 events/);
  assert.match(more(runOf([...BEGIN, ...END], { seen: [...whole.slice(0, 3), ...whole.slice(2)] })).join("\n"), /lost: a reader had event 3 as its number 4/);
});

test("a recorded call that is started again, and a Once call that is started twice", () => {
  const again = more(runOf([...BEGIN, ...END.slice(0, 2), toolStartedEvent("root/1/0", 2), runFinishedEvent()]));
  assert.deepEqual(again.slice(0, 2), ["ran again: root/1/0 was started by event 9, after its result in event 8", "Once twice: root/1/0 has effect Once and was started 2 times"]);
  assert.match(more(runOf([...BEGIN, toolStartedEvent("root/1/0", 1), ...END.slice(1, 2), toolFinishedEvent("root/1/0"), runFinishedEvent()])).join("\n"), /root\/1\/0 has 2 results/);
});

test("an effect that the world has twice, or that nobody asked for", () => {
  assert.deepEqual(more(runOf([...BEGIN, ...END], { marks: { one: 2, two: 0 } })), ["Once twice: the command of root/1/0 left its mark 2 times"]);
  assert.deepEqual(more(runOf([...BEGIN, ...END], { executed: ["root/1/0 1", "root/1/0 1"] })), ["ran again: attempt root/1/0 1 was carried out twice"]);
  assert.deepEqual(more(runOf([...BEGIN, ...END], { executed: ["root/1/0 2"] })), ["ran again: root/1/0 2 was carried out and is not in the log"]);
});

test("a charge that the log does not account for, and requests that it does not know", () => {
  const asked = { prompt: "", step: 0, messages: [], inputTokens: 1_000_000, outputTokens: 0, maxTokens: 100 };
  assert.match(more(runOf([...BEGIN, ...END], { asked: [asked] })).join("\n"), /money: the log accounts for 20000 nano-USD, and the endpoint charges 1000000000/);
  assert.match(more(runOf([...BEGIN, ...END], { asked: [asked, asked] })).join("\n"), /money: the endpoint was asked 2 times, and the log has 1 requests/);
});

test("one that does not end is stuck, whatever else", () => {
  assert.deepEqual(judge(runOf(BEGIN, { stuck: "not over" })), [{ kind: "stuck", text: "not over" }]);
});
