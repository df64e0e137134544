import { createHash } from "node:crypto";
import type { LogEvent, LogEventOf, EventType } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { Message } from "./model.ts";
import type { Run } from "./play.ts";
import { CALLS, FINAL, LIMIT_NANO_USD, MARKS, MESSAGE, POSTED, PRICE, REFUSAL, SECRET } from "./story.ts";

/** What can be wrong with a run, for the counts of the summary. */
export type FaultKind = "ran again" | "Once twice" | "lost" | "stuck" | "money" | "chain" | "answer";

export interface Fault {
  readonly kind: FaultKind;
  readonly text: string;
}

/** What is wrong with how a session went; nothing when it kept every promise. Pure. */
export function judge(run: Run): readonly Fault[] {
  if (run.stuck !== undefined) return [{ kind: "stuck", text: run.stuck }];
  const broken = judgeChain(run);
  // What is no log has no account.
  const money = broken.length > 0 ? [] : judgeMoney(run);
  return [...broken, ...judgeReader(run), ...judgeCalls(run), ...judgeEffects(run), ...judgeStory(run), ...money, ...judgeContent(run)];
}

function of<T extends EventType>(log: readonly LogEvent[], type: T): readonly LogEventOf<T>[] {
  return log.filter((event): event is LogEventOf<T> => event.type === type);
}

function faults(kind: FaultKind, texts: readonly (string | false | undefined)[]): readonly Fault[] {
  return texts.flatMap((text) => (text === false || text === undefined ? [] : [{ kind, text }]));
}

function judgeChain({ log }: Run): readonly Fault[] {
  let previous = "";
  const texts = log.map((event, index) => {
    const { hash, ...unsealed } = event;
    const isRight = event.seq === index + 1 && hashOf(previous, unsealed) === hash;
    previous = hash;
    return !isRight && `event ${event.seq} (${event.type}) at place ${index + 1} is not in the chain`;
  });
  return faults("chain", [...texts, log.length === 0 && "the log is empty"]);
}

/** What a reader was shown is in the log, in its place, and the reader was shown all of it, once. */
function judgeReader({ log, seen }: Run): readonly Fault[] {
  const texts = seen.map((event, index) => {
    if (event.seq !== index + 1) return `a reader had event ${event.seq} as its number ${index + 1}`;
    return log[index]?.hash !== event.hash && `event ${event.seq} (${event.type}) was shown to a reader and is not in the log`;
  });
  return faults("lost", [...texts, seen.length !== log.length && `a reader had ${seen.length} of ${log.length} events`]);
}

/** One result per call, attempts in order, the same key for all of them, nothing after the result. */
function judgeCalls({ log }: Run): readonly Fault[] {
  const calls = of(log, "model.responded").flatMap(({ data }) => data.message.toolCalls.map((_, index) => `root/${data.turn}/${index}`));
  const strange = of(log, "tool.finished").filter(({ data }) => !calls.includes(data.call)).map(({ data }) => `a result for ${data.call}, which nobody made`);
  return [...calls.flatMap((call) => judgeCall(log, call)), ...faults("answer", strange)];
}

function judgeCall(log: readonly LogEvent[], call: string): readonly Fault[] {
  const results = of(log, "tool.finished").filter(({ data }) => data.call === call);
  const starts = of(log, "tool.started").filter(({ data }) => data.call === call);
  const [decided, ...more] = of(log, "tool.decided").filter(({ data }) => data.call === call);
  const end = results[0]?.seq ?? 0;
  const keys = new Set(starts.map(({ data }) => data.idempotencyKey));
  return [
    ...faults("answer", [results.length !== 1 && `${call} has ${results.length} results`, more.length > 0 && `${call} was decided ${more.length + 1} times`, keys.size > 1 && `${call} has the idempotency keys ${[...keys].join(" and ")}`]),
    ...faults("answer", starts.map(({ data }, index) => data.attempt !== index + 1 && `start ${index + 1} of ${call} is called attempt ${data.attempt}`)),
    ...faults("ran again", starts.map(({ seq }) => seq > end && `${call} was started by event ${seq}, after its result in event ${end}`)),
    ...faults("Once twice", [decided?.data.effect === "Once" && starts.length > 1 && `${call} has effect Once and was started ${starts.length} times`]),
  ];
}

function judgeEffects({ log, marks, executed }: Run): readonly Fault[] {
  const statusOf = (call: string): string | undefined => of(log, "tool.finished").find(({ data }) => data.call === call)?.data.status;
  const lines = Object.entries(MARKS).flatMap(([call, mark]) => {
    const count = marks[mark] ?? 0;
    return [
      ...faults("Once twice", [count > 1 && `the command of ${call} left its mark ${count} times`]),
      ...faults("answer", [count === 0 && statusOf(call) === "ok" && `${call} is ok and its command left no mark`]),
    ];
  });
  const twice = executed.filter((one, index) => executed.indexOf(one) !== index);
  const unasked = executed.filter((one) => !of(log, "tool.started").some(({ data }) => `${data.call} ${data.attempt}` === one));
  return [...lines, ...faults("ran again", twice.map((one) => `attempt ${one} was carried out twice`)), ...faults("ran again", unasked.map((one) => `${one} was carried out and is not in the log`))];
}

/** The end is that of an undisturbed run, and each call came to what it must. */
function judgeStory(run: Run): readonly Fault[] {
  return [...judgeEnd(run), ...judgeMessage(run), ...Object.entries(CALLS).flatMap(([call, must]) => judgeOutcome(run, call, must))];
}

function judgeEnd({ log, status }: Run): readonly Fault[] {
  const ends = of(log, "run.finished").map(({ seq, data: { outcome, text, reason } }) => JSON.stringify({ seq, outcome, text, reason }));
  const wanted = JSON.stringify({ seq: log.length, outcome: "Completed", text: FINAL, reason: "" });
  return faults("answer", [
    (ends.length !== 1 || ends[0] !== wanted) && `the end is ${ends.join(" and ")} and not ${wanted}`,
    (status.outcome !== "Completed" || status.text !== FINAL) && `status says ${JSON.stringify(status)}`,
  ]);
}

/** What was said once is there once, and the model saw it. */
function judgeMessage({ log, asked }: Run): readonly Fault[] {
  const said = of(log, "input.received").filter(({ data }) => data.content === MESSAGE).length;
  const wasSeen = asked.some(({ messages }) => messages.some(({ content }) => content === MESSAGE));
  return faults("answer", [said !== 1 && `the message is in the log ${said} times`, !wasSeen && "the model never saw the message"]);
}

type Must = (typeof CALLS)[string];

const STATUSES: Readonly<Record<Must, readonly string[]>> = { sure: ["ok"], once: ["ok", "indeterminate"], denied: ["denied"], custom: ["ok"] };
/** What the model must have been told. */
const TELLS: Readonly<Partial<Record<Must, string>>> = { custom: POSTED, denied: REFUSAL };

function judgeOutcome({ log, asked }: Run, call: string, must: Must): readonly Fault[] {
  const result = of(log, "tool.finished").find(({ data }) => data.call === call)?.data;
  if (result === undefined) return faults("answer", [`${call} has no result`]);
  const [, turn = 0, index = 0] = call.split("/").map(Number);
  const told = [...new Set(asked.flatMap(({ messages }) => toldOf(messages, turn, index)))];
  const wanted = wantedOf(must, result.status);
  return faults("answer", [
    !STATUSES[must].includes(result.status) && `${call} ended as ${result.status}: ${result.content.slice(0, 200)}`,
    told.length !== 1 && `the model was told ${told.length} things of ${call}: ${told.map((text) => text.slice(0, 120)).join(" | ")}`,
    !told.some((text) => text.includes(wanted)) && `${call} is ${result.status}, and the model was told ${JSON.stringify(told.map((text) => text.slice(0, 200)))}`,
  ]);
}

function wantedOf(must: Must, status: string): string {
  return status === "indeterminate" ? "not known" : (TELLS[must] ?? "");
}

/** Results of one call: those that follow the turn's message of calls, in their order. */
function toldOf(messages: readonly Message[], turn: number, index: number): readonly string[] {
  const answers = messages.flatMap(({ tool_calls: calls = [] }, at) => (calls.length > 0 ? [at] : []));
  const at = answers[turn - 1];
  const content = at === undefined ? undefined : messages[at + 1 + index]?.content;
  return content === undefined || content === null ? [] : [content];
}

/** The log accounts for at least what the endpoint would charge, for each answer exactly, and never for more than the limit. */
function judgeMoney({ log, asked }: Run): readonly Fault[] {
  const { totals } = log.reduce(foldEvent, EMPTY_STATE);
  const charge = ({ inputTokens, outputTokens }: { readonly inputTokens: number; readonly outputTokens: number }): bigint => BigInt(inputTokens) * PRICE.input + BigInt(outputTokens) * PRICE.output;
  const real = asked.reduce((sum, one) => sum + charge(one), 0n);
  const known = BigInt(totals.costNanoUSD ?? "-1");
  const whole = known + BigInt(totals.uncertainNanoUSD ?? "0");
  const answered = of(log, "model.responded").reduce((sum, { data }) => sum + (data.usage === undefined ? 0n : charge(data.usage)), 0n);
  const requests = of(log, "model.requested").length;
  const ungranted = of(log, "model.requested").filter(({ data }) => data.grant?.reservedNanoUSD === undefined);
  return faults("money", [
    known !== answered && `the log counts ${known} nano-USD for answers of ${answered}`,
    whole < real && `the log accounts for ${whole} nano-USD, and the endpoint charges ${real}`,
    whole > LIMIT_NANO_USD && `${whole} nano-USD are over the limit`,
    asked.length > requests && `the endpoint was asked ${asked.length} times, and the log has ${requests} requests`,
    ungranted.length > 0 && `${ungranted.length} requests without a reservation`,
    ...asked.map(({ maxTokens, step }) => maxTokens === undefined && `step ${step} was asked for without a limit of output`),
  ]);
}

/** Large payloads are there, whole, and no secret is anywhere. */
function judgeContent({ log, blobs }: Run): readonly Fault[] {
  const large = of(log, "tool.finished").find(({ data }) => data.call === "root/2/0");
  const broken = Object.entries(blobs).filter(([digest, text]) => `sha256:${createHash("sha256").update(text).digest("hex")}` !== digest);
  return [
    ...faults("lost", [large?.data.blob === undefined && "the large result is not kept apart", ...broken.map(([digest, text]) => `the payload ${digest} reads ${JSON.stringify(text.slice(0, 80))}`)]),
    ...faults("answer", [JSON.stringify([log, blobs]).includes(SECRET) && "the log holds the endpoint's key"]),
  ];
}
