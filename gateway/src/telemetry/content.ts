import { cutText } from "@paddock/api/cut";
import type { AssistantMessage } from "@paddock/api/log/events";

// Conversation content in spans, in the conventions' JSON. Only called where the Environment allows it. Every attribute is bounded: thousands of
// spans may wait for a receiver that is slow.

/** UTF-16 units of text in one attribute. */
const CONTENT_CHARS = 16_384;

export type Message = { readonly role: "user" | "assistant"; readonly text: string } | { readonly role: "tool"; readonly call: string; readonly result: string };

export function cutContent(text: string): string {
  return cutText(text, CONTENT_CHARS);
}

export function textMessages(role: "user" | "assistant", text: string): string {
  return messagesOf([{ role, text }]);
}

/** Messages of a conversation; the first ones that fit together, the last of them cut. */
export function messagesOf(messages: readonly Message[]): string {
  const cut = cutter();
  return JSON.stringify(messages.flatMap((message) => (cut.isUsedUp() ? [] : [{ role: message.role, parts: [partOf(message, cut)] }])));
}

function partOf(message: Message, cut: Cutter): object {
  return message.role === "tool" ? { type: "tool_call_response", id: message.call, response: cut(message.result) } : { type: "text", content: cut(message.text) };
}

export function answerMessages({ text, toolCalls }: AssistantMessage, finishReason: string): string {
  const cut = cutter();
  const parts = [
    ...(text === "" ? [] : [{ type: "text", content: cut(text) }]),
    ...toolCalls.map(({ id, name, arguments: json }) => ({ type: "tool_call", id, name, arguments: cut(json) })),
  ];
  return JSON.stringify([{ role: "assistant", parts, finish_reason: finishReason }]);
}

interface Cutter {
  (text: string): string;
  isUsedUp(): boolean;
}

/** Cuts each text to what those before it have left. */
function cutter(): Cutter {
  let left = CONTENT_CHARS;
  const cut = (text: string): string => {
    const start = left === 0 ? "" : cutText(text, left);
    left -= start.length;
    return start;
  };
  return Object.assign(cut, { isUsedUp: () => left === 0 });
}
