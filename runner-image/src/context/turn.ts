import { ROOT_RUN } from "@paddock/api/log/limits";
import type { LogEvent, LogEventOf } from "@paddock/api/log/events";

/** The open turn as the log tells it: the newest answer and what came after it. */
export interface Turn {
  /** The newest answer; undefined before the first. */
  readonly answer: LogEventOf<"model.responded"> | undefined;
  /** Events after it, all of the log when there is none. */
  readonly since: readonly LogEvent[];
  /** The answer before it, when no input and no tool result lies between the two. */
  readonly before: LogEventOf<"model.responded"> | undefined;
}

export function turnOf(events: readonly LogEvent[]): Turn {
  const at = events.findLastIndex((event) => event.type === "model.responded");
  const answer = events[at];
  if (answer?.type !== "model.responded") return { answer: undefined, since: events, before: undefined };
  return { answer, since: events.slice(at + 1), before: answerRightBefore(events, at) };
}

/** Failed attempts to get the next answer, oldest first. */
export function failuresOf(turn: Turn): readonly LogEventOf<"model.failed">[] {
  return turn.since.filter((event) => event.type === "model.failed");
}

export function decisionOf(turn: Turn, call: string): LogEventOf<"tool.decided"> | undefined {
  return turn.since.find((event): event is LogEventOf<"tool.decided"> => event.type === "tool.decided" && event.data.call === call);
}

/** A call as the model made it. */
export interface MadeCall {
  readonly call: string;
  readonly name: string;
  /** JSON text, possibly not valid. */
  readonly argumentsText: string;
}

/** The call of the newest answer with this identity; undefined for one that was never made. */
export function callIn({ answer }: Turn, call: string): MadeCall | undefined {
  const made = answer?.data.message.toolCalls.find((_, index) => `${ROOT_RUN}/${answer.data.turn}/${index}` === call);
  return made === undefined ? undefined : { call, name: made.name, argumentsText: made.arguments };
}

/** Whether somebody stopped the newest request, or what its answer asked for. A message that followed does not take that back. */
export function isTurnInterrupted(events: readonly LogEvent[]): boolean {
  const asked = events.findLastIndex(({ type }) => type === "model.requested");
  return asked >= 0 && events.slice(asked + 1).some(({ type }) => type === "turn.interrupted");
}

function answerRightBefore(events: readonly LogEvent[], at: number): LogEventOf<"model.responded"> | undefined {
  const found = events.findLast(({ type }, index) => index < at && (type === "model.responded" || type === "tool.finished" || type === "input.received"));
  return found?.type === "model.responded" ? found : undefined;
}
