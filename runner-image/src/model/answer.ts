import type { ChatCompletionChunk } from "openai/resources/chat/completions";
import type { AssistantMessage } from "@paddock/api/log/events";
import type { TokenUsage } from "@paddock/api/log/money";
import { isStorable, parseArguments } from "../tools/decision.ts";
import { ModelFailure } from "./failure.ts";

/** An answer that counts. `usage` is absent when the endpoint reported none. */
export interface Answer {
  readonly message: AssistantMessage;
  readonly finishReason: string;
  readonly usage?: TokenUsage;
}

/** Collects the chunks of one streamed answer. */
export interface AnswerBuilder {
  /** Takes the next chunk; returns the text it adds. Throws ModelFailure when it does not have a chunk's shape. */
  take(chunk: ChatCompletionChunk): string;
  /** The whole answer, once the stream has ended without an error. Throws ModelFailure when it does not count. */
  finish(): Answer;
}

const MAX_CALLS = 128;
const KNOWN_DELTA = new Set(["role", "content", "tool_calls", "function_call"]);
const KNOWN_CALL = new Set(["index", "id", "type", "function"]);

interface CallParts {
  id: string;
  name: string;
  arguments: string;
  readonly extra: Record<string, unknown>;
}

export function createAnswerBuilder(): AnswerBuilder {
  let text = "";
  let finishReason: string | undefined;
  let usage: TokenUsage | undefined;
  const extra: Record<string, unknown> = {};
  const calls: CallParts[] = [];

  return {
    take(chunk) {
      if (chunk === null || typeof chunk !== "object") throw new ModelFailure("invalid", "the endpoint's stream held something that is no chunk of an answer");
      usage = usageOf(chunk.usage) ?? usage;
      const { finish_reason: reason, delta = {} } = firstChoice(chunk) ?? {};
      finishReason = reason ?? finishReason;
      mergeExtra(extra, delta, KNOWN_DELTA);
      for (const call of delta.tool_calls ?? []) mergeCall(calls, call);
      const more = typeof delta.content === "string" ? delta.content : "";
      text += more;
      return more;
    },
    finish() {
      if (finishReason === undefined) throw new ModelFailure("truncated", "the endpoint ended the stream before the answer was complete (no finish reason)");
      const message = buildMessage(text, calls, extra);
      if (!isStorable(message)) throw new ModelFailure("invalid", "the answer has fields that no log can hold: nested too deeply, or a number that is too large");
      // A cut answer is not run, so its arguments need not be whole.
      if (finishReason !== "length" && finishReason !== "content_filter") refuseBroken(message);
      return { message, finishReason: finishReason.slice(0, 64), ...(usage === undefined ? {} : { usage }) };
    },
  };
}

/** Endpoints send chunks without choices, for the usage, and leave out the index. */
function firstChoice(chunk: ChatCompletionChunk): LooseChoice | undefined {
  const choices = chunk.choices as readonly LooseChoice[] | undefined;
  return choices?.find(({ index }) => (index ?? 0) === 0);
}

interface LooseChoice {
  readonly index?: number;
  readonly finish_reason?: string | null;
  readonly delta?: Partial<ChatCompletionChunk["choices"][number]["delta"]>;
}

/** Normalised counts, or undefined when the endpoint reported none that can be read. Cached input is part of the input. */
function usageOf(usage: ChatCompletionChunk["usage"]): TokenUsage | undefined {
  if (usage === null || usage === undefined) return undefined;
  const count = (value: unknown): number => (typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0);
  const inputTokens = count(usage.prompt_tokens);
  const outputTokens = count(usage.completion_tokens);
  if (inputTokens + outputTokens === 0) return undefined;
  return { inputTokens, outputTokens, cachedInputTokens: Math.min(inputTokens, count(usage.prompt_tokens_details?.cached_tokens)) };
}

type CallDelta = NonNullable<ChatCompletionChunk["choices"][number]["delta"]["tool_calls"]>[number];

/** Endpoints leave out the index or repeat the name: a piece belongs to its index, else to the newest call unless it brings a new id. */
function mergeCall(calls: CallParts[], delta: CallDelta): void {
  const at = (delta.index as number | undefined) ?? placeOf(calls, delta.id);
  if (!Number.isInteger(at) || at < 0 || at >= MAX_CALLS) throw new ModelFailure("invalid", `the answer has a tool call at index ${at}: at most ${MAX_CALLS} are taken`);
  while (calls.length <= at) calls.push({ id: "", name: "", arguments: "", extra: {} });
  const call = calls[at];
  if (call !== undefined) addPiece(call, delta);
}

function addPiece(call: CallParts, { id = "", function: { name = "", arguments: args = "" } = {}, ...rest }: CallDelta): void {
  call.id ||= id;
  call.name ||= name;
  call.arguments += args;
  mergeExtra(call.extra, rest, KNOWN_CALL);
}

function placeOf(calls: readonly CallParts[], id: string | undefined): number {
  const isNew = calls.length === 0 || (id !== undefined && id !== "" && id !== calls.at(-1)?.id);
  return isNew ? calls.length : calls.length - 1;
}

/** Fields we do not know, such as reasoning content: pieces of text and lists are joined, anything else is taken as last seen. */
function mergeExtra(extra: Record<string, unknown>, delta: object, known: ReadonlySet<string>): void {
  for (const [key, value] of Object.entries(delta)) {
    if (known.has(key) || value === null || value === undefined) continue;
    const before = Object.hasOwn(extra, key) ? extra[key] : undefined;
    if (typeof before === "string" && typeof value === "string") extra[key] = before + value;
    else if (Array.isArray(before) && Array.isArray(value)) extra[key] = [...(before as unknown[]), ...(value as unknown[])];
    else extra[key] = value;
  }
}

function buildMessage(text: string, calls: readonly CallParts[], extra: Readonly<Record<string, unknown>>): AssistantMessage {
  const callExtras = calls.some((call) => Object.keys(call.extra).length > 0) ? { tool_calls: calls.map((call) => call.extra) } : {};
  const kept = { ...extra, ...callExtras };
  const toolCalls = calls.map(({ id, name, arguments: args }) => ({ id: id.slice(0, 512), name: name.slice(0, 256), arguments: args }));
  // A refusal is the answer when there is no other.
  const said = text === "" && typeof extra["refusal"] === "string" ? extra["refusal"] : text;
  return { text: said, toolCalls, ...(Object.keys(kept).length > 0 ? { extra: kept } : {}) };
}

function refuseBroken({ toolCalls }: AssistantMessage): void {
  const broken = toolCalls.find((call) => parseArguments(call.arguments) === undefined);
  if (broken !== undefined) throw new ModelFailure("invalid", `the arguments of the tool call ${JSON.stringify(broken.name)} are not a JSON object`);
}
