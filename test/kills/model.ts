import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text as readText } from "node:stream/consumers";

/** A message of a request, as far as the script looks at it. */
export interface Message {
  readonly role: string;
  readonly content?: string | null;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly unknown[];
}

export interface ScriptedAnswer {
  readonly text?: string;
  readonly calls?: readonly { readonly name: string; readonly arguments: unknown }[];
}

/** A request that the endpoint had, and what it would be charged: each one is, whoever got the answer. */
export interface Asked {
  /** The conversation's first message of a person, by which it is known. */
  readonly prompt: string;
  /** Answers with tool calls that it holds. */
  readonly step: number;
  readonly messages: readonly Message[];
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly maxTokens: number | undefined;
}

export interface ScriptedModel {
  readonly baseURL: string;
  readonly asked: readonly Asked[];
  /** Called with each request before it is answered; the answer waits for it. */
  onAsked(listener: (asked: Asked) => Promise<void>): void;
  close(): Promise<void>;
}

export const API_KEY = "sk-test-4f8a1c0d9e2b7a6655443322";

/**
 * An endpoint whose answer is a pure function of the messages: `script` gets the number of answers with calls before it. So one that was lost is
 * given again, word for word. Usage grows with the request's bytes.
 */
export async function startScriptedModel(script: (step: number, prompt: string) => ScriptedAnswer): Promise<ScriptedModel> {
  const asked: Asked[] = [];
  let listener: (one: Asked) => Promise<void> = async () => undefined;
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    const answer = async (): Promise<void> => {
      const body = await readText(request);
      if (request.headers.authorization !== `Bearer ${API_KEY}`) return void response.writeHead(401).end("{}");
      const { messages, max_completion_tokens: maxTokens } = JSON.parse(body) as { messages: readonly Message[]; max_completion_tokens?: number };
      const prompt = messages.find(({ role }) => role === "user")?.content ?? "";
      const step = messages.filter(({ tool_calls: calls = [] }) => calls.length > 0).length;
      const given = script(step, prompt);
      const one: Asked = { prompt, step, messages, inputTokens: Math.ceil(Buffer.byteLength(body) / 4), outputTokens: JSON.stringify(given).length, maxTokens };
      asked.push(one);
      await listener(one);
      if (!response.destroyed) stream(response, given, one);
    };
    // A request that is broken off has its cause at the other end.
    void answer().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    onAsked: (next) => {
      listener = next;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function stream(response: ServerResponse, { text = "", calls = [] }: ScriptedAnswer, { inputTokens, outputTokens }: Asked): void {
  const send = (value: unknown): void => void response.write(`data: ${JSON.stringify(value)}\n\n`);
  const chunk = (delta: object, finish: string | null = null): void => send({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] });
  response.writeHead(200, { "content-type": "text/event-stream" });
  chunk({ role: "assistant" });
  if (text !== "") chunk({ content: text });
  for (const [index, { name, arguments: args }] of calls.entries()) {
    chunk({ tool_calls: [{ index, id: `provider_${index}`, type: "function", function: { name, arguments: JSON.stringify(args) } }] });
  }
  chunk({}, calls.length > 0 ? "tool_calls" : "stop");
  send({ choices: [], usage: { prompt_tokens: inputTokens, completion_tokens: outputTokens } });
  response.end("data: [DONE]\n\n");
}
