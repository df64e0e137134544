import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import type { RequestOptions } from "node:https";
import type { ClientRequest, IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { parseProblem } from "@paddock/api/wire/problem";
import { destroyOnAbort } from "./signal.ts";
import type { Problem } from "@paddock/api/wire/problem";

const CONNECT_MS = 5000;
const ANSWER_MS = 15_000;

/** An answer of the gateway that is not 2xx. */
export class GatewayRefusal extends Error {
  override readonly name = "GatewayRefusal";
  readonly status: number;
  readonly problem: Problem;
  constructor(status: number, problem: Problem) {
    super(`the gateway answered ${status} (${problem.title}): ${problem.detail}`);
    this.status = status;
    this.problem = problem;
  }
}

/**
 * Requests to the gateway over its own TLS. Every method rejects with GatewayRefusal on an answer that is not 2xx, and with the socket's
 * error when there was no whole answer.
 */
export interface Gateway {
  /** Sends JSON; resolves with the JSON answered, undefined for an empty one. Gives up after 15 s. */
  post(path: string, body: unknown): Promise<unknown>;
  /** Resolves with the text answered, at most a payload of the log. Gives up after 15 s. */
  read(path: string): Promise<string>;
  /** Opens a stream of server-sent events; resolves with its headers read, gives up waiting for them after 15 s. */
  stream(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage>;
  /** Where the newest connection to it leads; undefined before the first. */
  peer(): { readonly host: string; readonly port: number } | undefined;
  close(): void;
}

export interface GatewayAccess {
  readonly url: URL;
  /** PEM of the only CA that is trusted. */
  readonly ca: string;
  /** Read for every request: the kubelet rotates it. */
  readonly tokenFile: string;
  /** How long an answer, or a stream's headers, may take; absent means 15 s. */
  readonly answerMs?: number;
}

export function connectGateway({ url, ca, tokenFile, answerMs = ANSWER_MS }: GatewayAccess): Gateway {
  const agent = new Agent({ keepAlive: true, ca });
  let peer: ReturnType<Gateway["peer"]>;
  const send = async (path: string, options: RequestOptions, { signal, body }: { readonly signal: AbortSignal; readonly body?: string }): Promise<IncomingMessage> => {
    const token = (await readFile(tokenFile, "utf8")).trim();
    const headers = { ...(options.headers as Record<string, string>), Authorization: `Bearer ${token}` };
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, url), { ...options, agent, headers });
      boundConnect(sent);
      sent.once("response", ({ socket }) => {
        const { remoteAddress: host, remotePort: port } = socket;
        if (host !== undefined && port !== undefined) peer = { host: host.replace(/^::ffff:(?=\d+\.)/, ""), port };
      });
      destroyOnAbort(sent, signal);
      // The error listener stays: an abort after the headers is told here too, and by then nobody else listens.
      sent.on("error", reject).once("response", resolve).end(body);
    });
  };
  return {
    async post(path, body) {
      const json = JSON.stringify(body);
      const headers = { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(json)) };
      const response = await send(path, { method: "POST", headers }, { signal: AbortSignal.timeout(answerMs), body: json });
      const answered = await text(response);
      if (!isSuccess(response)) throw refusalOf(response, answered);
      return answered === "" ? undefined : (JSON.parse(answered) as unknown);
    },
    async read(path) {
      const response = await send(path, { method: "GET", headers: {} }, { signal: AbortSignal.timeout(answerMs) });
      const answered = await text(response);
      if (!isSuccess(response)) throw refusalOf(response, answered);
      return answered;
    },
    async stream(path, headers, signal) {
      // A kept connection to a gateway whose node was lost takes the request without a word.
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), answerMs);
      const opening = { signal: AbortSignal.any([signal, late.signal]) };
      const response = await send(path, { method: "GET", headers: { ...headers, Accept: "text/event-stream" } }, opening).finally(() => clearTimeout(timer));
      if (isSuccess(response)) return response;
      throw refusalOf(response, await text(response));
    },
    peer: () => peer,
    close: () => agent.destroy(),
  };
}

function boundConnect(sent: ClientRequest): void {
  const timer = setTimeout(() => sent.destroy(new Error(`no connection to the gateway within ${CONNECT_MS} ms`)), CONNECT_MS);
  const clear = (): void => clearTimeout(timer);
  sent.once("close", clear).once("socket", (socket) => {
    if (socket.connecting) socket.once("secureConnect", clear);
    else clear();
  });
}

function isSuccess({ statusCode = 0 }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function refusalOf({ statusCode = 0 }: IncomingMessage, body: string): GatewayRefusal {
  const problem = parseProblem(parseJson(body));
  if (problem !== undefined) return new GatewayRefusal(statusCode, problem);
  return new GatewayRefusal(statusCode, { type: "about:blank", title: "no problem details", status: statusCode, detail: body.slice(0, 200) });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
