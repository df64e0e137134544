import { ROOT_RUN } from "@paddock/api/log/limits";
import type { LogEvent, LogEventOf } from "@paddock/api/log/events";
import { nudgeFor } from "./notices.ts";

/** A message as Chat Completions takes it. */
export type ChatMessage =
  | { readonly role: "system" | "user"; readonly content: string }
  | { readonly role: "assistant"; readonly content: string | null; readonly tool_calls?: readonly ChatToolCall[] }
  | { readonly role: "tool"; readonly tool_call_id: string; readonly content: string };

export interface ChatToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/**
 * The conversation as the model is to see it, from stored events only: system, inputs, answers, results in the order of their calls. Pure;
 * a longer log gives the same messages and more, so that providers can cache the start. Throws RangeError when a call has no result: such
 * a request must never be sent.
 */
export function buildMessages(instructions: string, events: readonly LogEvent[]): readonly ChatMessage[] {
  const results = new Map(events.filter((event) => event.type === "tool.finished").map((event) => [event.data.call, event.data]));
  const messages: ChatMessage[] = [{ role: "system", content: instructions }];
  let inputs: readonly LogEventOf<"input.received">[] = [];
  let through = 0;
  const flush = (upTo: number): void => {
    messages.push(...inputs.filter(({ seq }) => seq <= upTo).map(({ data }) => ({ role: "user" as const, content: data.content })));
    inputs = inputs.filter(({ seq }) => seq > upTo);
  };
  for (const event of events) {
    if (event.type === "input.received") inputs = [...inputs, event];
    if (event.type === "model.requested") ({ through } = event.data);
    if (event.type !== "model.responded") continue;
    // An input that came while the model was answering is not what it answered: it follows the answer and its results.
    flush(through);
    messages.push(...answerMessages(event, results));
  }
  flush(Infinity);
  return messages;
}

/**
 * The id that the endpoint sees for a call: ours, because providers send empty and repeated ones. Nine letters and digits, the one form
 * that every known endpoint takes.
 */
export function toolCallId(turn: number, index: number): string {
  return `t${turn.toString(36).padStart(4, "0")}${index.toString(36).padStart(4, "0")}`;
}

function answerMessages({ data }: LogEventOf<"model.responded">, results: ReadonlyMap<string, LogEventOf<"tool.finished">["data"]>): ChatMessage[] {
  const { message, turn, finishReason } = data;
  const { tool_calls: callExtras, ...extra } = message.extra ?? {};
  const calls = message.toolCalls.map((call, index) => ({
    ...extraOf(callExtras, index),
    id: toolCallId(turn, index),
    type: "function" as const,
    function: { name: call.name, arguments: call.arguments === "" ? "{}" : call.arguments },
  }));
  const nudge = nudgeFor(message, finishReason);
  const said = message.text !== "" || calls.length > 0;
  const content = message.text === "" ? null : message.text;
  return [
    // Endpoints refuse an assistant message with nothing in it.
    ...(said ? [{ ...extra, role: "assistant" as const, content, ...(calls.length > 0 ? { tool_calls: calls } : {}) }] : []),
    ...message.toolCalls.map((_, index) => ({ role: "tool" as const, tool_call_id: toolCallId(turn, index), content: resultText(results, `${ROOT_RUN}/${turn}/${index}`) })),
    ...(nudge === undefined ? [] : [{ role: "user" as const, content: nudge }]),
  ];
}

/** Fields of single tool calls that we do not know, kept by position. */
function extraOf(extras: unknown, index: number): Readonly<Record<string, unknown>> {
  const extra: unknown = Array.isArray(extras) ? extras[index] : undefined;
  return extra !== null && typeof extra === "object" ? { ...extra } : {};
}

function resultText(results: ReadonlyMap<string, LogEventOf<"tool.finished">["data"]>, call: string): string {
  const result = results.get(call);
  if (result === undefined) throw new RangeError(`call ${call} has no tool.finished: a request without its result must not be built`);
  const content = result.content === "" ? "(no output)" : result.content;
  return result.note === undefined ? content : `${content}\n\n[${result.note}]`;
}
