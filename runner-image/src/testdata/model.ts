import { createServer } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text as readText } from "node:stream/consumers";
import type { TestContext } from "node:test";

/** One request that the endpoint got. */
export interface Asked {
  readonly headers: IncomingHttpHeaders;
  readonly body: { readonly messages: readonly Record<string, unknown>[]; readonly [field: string]: unknown };
}

export type Reply = (response: ServerResponse, asked: Asked, request: IncomingMessage) => void;

export interface ModelServer {
  readonly baseURL: string;
  readonly asked: readonly Asked[];
  /** Resolves when the first request has arrived. */
  readonly reached: Promise<void>;
  /** Connections that were opened. */
  connections(): number;
}

/** An endpoint whose n-th request gets the n-th reply, later ones the last: for what a scripted model cannot do wrong. */
export async function startModel(t: TestContext, replies: readonly Reply[]): Promise<ModelServer> {
  const asked: Asked[] = [];
  let connections = 0;
  const { promise: reached, resolve: onReached } = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    void readText(request).then((body) => {
      const one = { headers: request.headers, body: JSON.parse(body) as Asked["body"] };
      asked.push(one);
      onReached();
      const reply = replies[Math.min(asked.length, replies.length) - 1];
      reply?.(response, one, request);
    }, () => undefined);
  });
  server.on("connection", () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked, reached, connections: () => connections };
}

export interface ScriptedCall {
  readonly name: string;
  readonly arguments: unknown;
}

/** A whole answer, streamed in the usual pieces. */
export function answer({ text = "", calls = [], finish, extra = {} }: { readonly text?: string; readonly calls?: readonly ScriptedCall[]; readonly finish?: string; readonly extra?: object }): Reply {
  return (response) => {
    openStream(response);
    chunk(response, { role: "assistant", ...extra });
    for (const piece of text.match(/[^]{1,7}/g) ?? []) chunk(response, { content: piece });
    for (const [index, call] of calls.entries()) {
      const args = typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments);
      chunk(response, { tool_calls: [{ index, id: `provider_${index}`, type: "function", function: { name: call.name, arguments: "" } }] });
      chunk(response, { tool_calls: [{ index, function: { arguments: args.slice(0, 5) } }] });
      chunk(response, { tool_calls: [{ index, function: { arguments: args.slice(5) } }] });
    }
    chunk(response, {}, finish ?? (calls.length > 0 ? "tool_calls" : "stop"));
    send(response, { choices: [], usage: { prompt_tokens: 100, completion_tokens: 20, prompt_tokens_details: { cached_tokens: 60 } } });
    response.end("data: [DONE]\n\n");
  };
}

export function openStream(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
}

export function chunk(response: ServerResponse, delta: object, finish: string | null = null): void {
  send(response, { id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] });
}

export function send(response: ServerResponse, value: unknown): void {
  response.write(`data: ${JSON.stringify(value)}\n\n`);
}

export function fail(status: number, message: string, headers: Record<string, string> = {}): Reply {
  return (response) => void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify({ error: { message } }));
}
