import { request } from "node:https";
import type { IncomingMessage } from "node:http";

// A plain HTTPS client for tests: JSON requests and server-sent events, over real sockets.

export interface Target {
  readonly url: string;
  readonly ca: string;
}

export interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Parsed when it is JSON, else the text. */
  readonly body: unknown;
}

/** Sends a request and resolves with the whole answer. */
export async function send(target: Target, sent: Sent): Promise<Reply> {
  const response = await open(target, sent);
  const text = await readText(response);
  const isJson = response.headers["content-type"]?.includes("json") === true;
  return { status: response.statusCode ?? 0, headers: response.headers, body: isJson ? (JSON.parse(text) as unknown) : text };
}

export interface ServerEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: unknown;
}

export interface Events extends AsyncIterableIterator<ServerEvent> {
  readonly status: number;
  /** Comments seen so far. */
  readonly comments: readonly string[];
  /** Stops taking from the socket, as a stuck reader does. */
  pause(): void;
  /** Resolves when the server has ended or cut the connection. */
  readonly ended: Promise<void>;
  close(): void;
}

/** Follows a stream of server-sent events; rejects with the answer's text when it is none. */
export async function follow(target: Target, sent: Sent): Promise<Events> {
  const response = await open(target, { ...sent, headers: { accept: "text/event-stream", ...sent.headers } });
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode ?? 0}: ${await readText(response)}`);
  const comments: string[] = [];
  const ended = Promise.withResolvers<void>();
  response.once("close", () => ended.resolve());
  // A cut connection is an end like any other here.
  response.on("error", () => ended.resolve());
  const events = readEvents(response, comments);
  const iterator = { next: () => events.next(), [Symbol.asyncIterator]: () => iterator };
  return Object.assign(iterator, {
    status: response.statusCode,
    comments,
    ended: ended.promise,
    pause: () => void response.pause(),
    close: () => void response.destroy(),
  });
}

async function* readEvents(response: IncomingMessage, comments: string[]): AsyncGenerator<ServerEvent, undefined> {
  try {
    for await (const block of readBlocks(response)) {
      const fields = new Map(block.split("\n").map((line): [string, string] => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      const data = fields.get("data");
      if (data === undefined) comments.push(block.slice(2));
      else yield { event: fields.get("event") ?? "message", id: fields.get("id"), data: JSON.parse(data) as unknown };
    }
  } catch {
    // The connection was cut.
  }
  return undefined;
}

/** What stands between empty lines. */
async function* readBlocks(response: IncomingMessage): AsyncGenerator<string> {
  let rest = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    const blocks = (rest + String(chunk)).split("\n\n");
    rest = blocks.pop() ?? "";
    yield* blocks;
  }
}

async function open({ url, ca }: Target, { method = "GET", path, token, body, headers }: Sent): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const json = body === undefined ? {} : { "content-type": "application/json" };
  const outgoing = request(new URL(path, url), { method, ca, agent: false, headers: { ...authorization, ...json, ...headers } }, resolve);
  outgoing.on("error", reject);
  outgoing.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body));
  return promise;
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
