import type { ChatCompletionRequest, ChatMessage, FixtureResponse } from "@copilotkit/aimock";
import type { Script, Turn } from "./script.ts";

type Messages = readonly ChatMessage[];

/** What is to be answered, or the sentence that says why nothing can be. */
export type Choice = { readonly script: Script; readonly index: number; readonly turn: Turn } | { readonly script: Script | undefined; readonly refusal: string };

/** Pure: the script by the conversation's first user messages, the turn by the number of answers that it holds. */
export function chooseTurn(scripts: readonly Script[], { messages }: ChatCompletionRequest): Choice {
  const prompt = promptOf(messages);
  const [script] = scripts.filter((one) => prompt.includes(one.prompt)).sort((a, b) => b.prompt.length - a.prompt.length);
  if (script === undefined) {
    return { script, refusal: `no script's prompt occurs in ${shorten(prompt)}; there are: ${scripts.map((one) => JSON.stringify(one.prompt)).join(", ")}` };
  }
  const index = messages.filter(({ role }) => role === "assistant").length;
  const turn = script.turns[index];
  const of = `script ${JSON.stringify(script.prompt)}`;
  if (turn === undefined) return { script, refusal: `${of} has ${script.turns.length} turns, and this request asks for number ${index + 1}` };
  const results = toolResults(messages).join("\n");
  if (turn.expect?.test(results) === false) return { script, refusal: `${of}, turns[${index}]: the tool results ${shorten(results)} do not match ${String(turn.expect)}` };
  return { script, index, turn };
}

/** Pure: the turn's response with its placeholders filled from the request. A pattern that finds nothing becomes an error response. */
export function fillResponse(response: FixtureResponse, { messages }: ChatCompletionRequest): FixtureResponse {
  try {
    return fill(response, toolResults(messages)) as FixtureResponse;
  } catch (error) {
    return buildRefusal(error instanceof Error ? error.message : String(error));
  }
}

/** An answer that no client asks for again. */
export function buildRefusal(sentence: string): FixtureResponse {
  return { error: { message: `scripted model: ${sentence}`, type: "invalid_request_error", code: "no_script" }, status: 422 };
}

function promptOf(messages: Messages): string {
  const answered = messages.findIndex(({ role }) => role === "assistant");
  const before = answered === -1 ? messages : messages.slice(0, answered);
  return before.filter(({ role }) => role === "user").map(textOf).join("\n");
}

function toolResults(messages: Messages): readonly string[] {
  const answered = messages.findLastIndex(({ role }) => role === "assistant");
  return messages.slice(answered + 1).filter(({ role }) => role === "tool").map((message) => textOf(message).trim());
}

function textOf({ content }: ChatMessage): string {
  return typeof content === "string" ? content : (content ?? []).map(({ text }) => text ?? "").join("");
}

/** Strings inside JSON text (tool arguments) are filled after parsing, or a quote in a result would break them. */
function fill(value: unknown, results: readonly string[], key = ""): unknown {
  if (typeof value === "string") return key === "arguments" ? JSON.stringify(fill(JSON.parse(value), results)) : fillText(value, results);
  if (Array.isArray(value)) return value.map((one) => fill(one, results));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, fill(one, results, name)]));
}

function fillText(text: string, results: readonly string[]): string {
  return text.replaceAll(/\{\{(toolResults|lastToolResult)(?::(.*?))?\}\}/gs, (_, name: string, pattern: string | undefined) => {
    if (name === "toolResults") return results.join("\n");
    const last = results.at(-1);
    if (last === undefined) throw new Error("the script speaks of a tool result, and the request ends with none");
    return pattern === undefined ? last : found(last, pattern);
  });
}

function found(result: string, pattern: string): string {
  const match = new RegExp(pattern, "m").exec(result);
  if (match === null) throw new Error(`the tool result ${shorten(result)} does not match ${pattern}`);
  return match[1] ?? match[0];
}

function shorten(text: string): string {
  return JSON.stringify(text.length <= 300 ? text : `${text.slice(0, 150)} … ${text.slice(-150)}`);
}
