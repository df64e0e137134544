import { APIError } from "openai/core/error";
import { Stream } from "openai/core/streaming";
import type { ChatCompletionChunk } from "openai/resources/chat/completions";
import { createAnswerBuilder } from "./answer.ts";
import type { Answer } from "./answer.ts";
import { classifyStreamError, ModelFailure } from "./failure.ts";
import { openAnswer } from "./transport.ts";
import type { ModelLimits } from "./transport.ts";

// Only the stream decoder and the types of `openai` are loaded: the whole client takes 120 ms and 30 MB to import, on the way from
// a created session to its first request, and of what it does beyond decoding nothing is used here (no retries, our own time limits).

export interface Attempt {
  /** Base of an OpenAI-compatible endpoint. */
  readonly baseURL: string;
  readonly apiKey: string | undefined;
  /** PEM of authorities that are trusted besides the public ones. */
  readonly ca?: string | undefined;
  /** JSON text of the request. */
  readonly body: string;
  readonly limits: ModelLimits;
  /** Ends the attempt as `cancelled`. */
  readonly signal: AbortSignal;
  /** Told of each piece of text as it arrives. */
  onText(text: string): void;
}

/**
 * One attempt: one request, one answer. An answer counts only if its stream ended without error, a finish reason was seen and each
 * tool call's arguments are a JSON object. Rejects with ModelFailure otherwise.
 */
export async function completeOnce({ baseURL, apiKey, ca, body, limits, signal, onText }: Attempt): Promise<Answer> {
  const url = new URL(`${baseURL.replace(/\/+$/, "")}/chat/completions`);
  const ended = new AbortController();
  const cancel = (): void => ended.abort(new ModelFailure("cancelled", "the request was cancelled"));
  const total = setTimeout(() => ended.abort(new ModelFailure("network", `${url.host} did not complete its answer within ${limits.totalMs / 1000} s`)), limits.totalMs);
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    const answer = await openAnswer({ url, apiKey, ca, body, limits, signal: ended.signal });
    return await readAnswer(answer, ended, onText);
  } catch (error) {
    throw failureOf(error, ended.signal);
  } finally {
    clearTimeout(total);
    signal.removeEventListener("abort", cancel);
  }
}

async function readAnswer(body: AsyncIterable<Buffer>, ended: AbortController, onText: (text: string) => void): Promise<Answer> {
  const builder = createAnswerBuilder();
  // The decoder reads any async iterable of bytes; its type knows only fetch's Response.
  const stream = Stream.fromSSEResponse<ChatCompletionChunk>({ body } as unknown as Response, ended);
  for await (const chunk of stream) {
    const text = builder.take(chunk);
    if (text !== "") onText(text);
  }
  // The iterator ends normally when it is aborted.
  if (ended.signal.reason instanceof ModelFailure) throw ended.signal.reason;
  return builder.finish();
}

function failureOf(error: unknown, ended: AbortSignal): ModelFailure {
  if (ended.reason instanceof ModelFailure) return ended.reason;
  if (error instanceof ModelFailure) return error;
  if (error instanceof APIError) return new ModelFailure(classifyStreamError(error.code ?? error.type ?? "", error.message), `the endpoint broke the answer off: ${error.message}`);
  if (error instanceof SyntaxError) return new ModelFailure("truncated", "the endpoint sent a piece of the answer that is not JSON");
  throw error;
}
