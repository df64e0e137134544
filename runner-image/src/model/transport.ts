import { Agent as HttpAgent, request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { createSecureContext, getCACertificates } from "node:tls";
import { destroyOnAbort } from "../signal.ts";
import { classifyStatus, ModelFailure, retryAfterMsOf } from "./failure.ts";

/** Time limits of one attempt, in milliseconds. */
export interface ModelLimits {
  readonly connectMs: number;
  /** From the request until the headers of the answer. */
  readonly firstByteMs: number;
  /** Between two pieces of the body; reasoning models are silent for minutes. */
  readonly idleMs: number;
  readonly totalMs: number;
}

export const MODEL_LIMITS: ModelLimits = { connectMs: 10_000, firstByteMs: 300_000, idleMs: 300_000, totalMs: 1_800_000 };

const DRAIN_MS = 1000;
const MAX_ERROR_BYTES = 64 * 1024;
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export interface ModelRequest {
  readonly url: URL;
  readonly apiKey: string | undefined;
  /** PEM of authorities that are trusted besides the public ones. */
  readonly ca?: string | undefined;
  /** JSON text. */
  readonly body: string;
  readonly limits: ModelLimits;
  /** The attempt ends with this signal; its reason should be a ModelFailure. */
  readonly signal: AbortSignal;
}

// Connections are kept between turns: a handshake per answer would be most of the waiting with a near endpoint.
const plainAgent = new HttpAgent({ keepAlive: true });
let secureAgent = { ca: undefined as string | undefined, agent: new HttpsAgent({ keepAlive: true }) };

/** One agent as long as the authorities stay the same: reading the public ones takes 20 ms. What a bundle holds that is no certificate is passed over. */
function agentFor(secure: boolean, ca: string | undefined): HttpAgent {
  if (!secure) return plainAgent;
  if (secureAgent.ca !== ca) {
    const secureContext = ca === undefined ? undefined : createSecureContext({ ca: [...getCACertificates("default"), ca] });
    secureAgent = { ca, agent: new HttpsAgent({ keepAlive: true, ...(secureContext === undefined ? {} : { secureContext }) }) };
  }
  return secureAgent.agent;
}

/**
 * Sends one Chat Completions request and resolves with the answer's body once it is known to be an event stream. Node's own client and
 * not fetch: it can tell connecting from waiting. Rejects with ModelFailure, or with the signal's reason.
 */
export async function openAnswer(request: ModelRequest): Promise<AsyncIterable<Buffer>> {
  const response = await sendRequest(request, true);
  const { statusCode = 0, headers } = response;
  const type = headers["content-type"] ?? "no content type";
  if (statusCode === 200 && type.startsWith("text/event-stream")) return readBody(response, request);
  const text = await readStart(response, request);
  if (statusCode >= 200 && statusCode < 300) {
    throw new ModelFailure("invalid", `${request.url.href} answered ${statusCode} with ${type} where an event stream was asked for: ${text}`, { status: statusCode });
  }
  const retryAfterMs = retryAfterMsOf(headers["retry-after"], Date.now());
  throw new ModelFailure(classifyStatus(statusCode, text), `${request.url.href} answered ${statusCode}: ${text}`, { status: statusCode, retryAfterMs });
}

/** `again`: a kept connection that the endpoint had closed meanwhile is no failure of this request; it is sent once more. */
function sendRequest(request: ModelRequest, again: boolean): Promise<IncomingMessage> {
  const { url, apiKey, ca, body, limits, signal } = request;
  const headers = {
    "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(body)),
    Accept: "text/event-stream",
    "User-Agent": "paddock-runner",
    ...(apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` }),
  };
  return new Promise((resolve, reject) => {
    const secure = url.protocol === "https:";
    const sent = (secure ? httpsRequest : httpRequest)(url, { method: "POST", headers, agent: agentFor(secure, ca) });
    destroyOnAbort(sent, signal);
    const stopTimers = boundOpening(sent, url, limits);
    // The listener stays: what happens to the request after its headers is told by the body as well.
    sent.on("error", (error) => {
      const stale = again && sent.reusedSocket && (error as NodeJS.ErrnoException).code === "ECONNRESET";
      if (stale && !signal.aborted) resolve(sendRequest(request, false));
      else reject(failureOf(error, url));
    });
    sent.once("response", (response) => {
      stopTimers();
      resolve(response);
    });
    sent.once("close", () => {
      stopTimers();
      // A connection that the other side turns round ends without an error, and without an answer.
      reject(new ModelFailure("network", `${url.host} ended the connection without an answer`));
    });
    sent.end(body);
  });
}

/** Time limits until the headers; the returned function ends them. */
function boundOpening(sent: ClientRequest, url: URL, { connectMs, firstByteMs }: ModelLimits): () => void {
  const stop = (message: string): void => void sent.destroy(new ModelFailure("network", message));
  const connect = setTimeout(() => stop(`no connection to ${url.host} within ${connectMs / 1000} s`), connectMs);
  const firstByte = setTimeout(() => stop(`${url.host} sent no answer within ${firstByteMs / 1000} s`), firstByteMs);
  sent.once("socket", (socket) => {
    const ready = (): void => clearTimeout(connect);
    if (!socket.connecting) return ready();
    socket.once(url.protocol === "https:" ? "secureConnect" : "connect", ready);
  });
  return () => {
    clearTimeout(connect);
    clearTimeout(firstByte);
  };
}

async function* readBody(response: IncomingMessage, { url, limits, signal }: ModelRequest): AsyncGenerator<Buffer> {
  const stop = (failure: Error): void => void response.destroy(failure);
  const onAbort = (): void => stop(reasonOf(signal));
  const idle = setTimeout(() => stop(new ModelFailure("network", `${url.host} sent nothing for ${limits.idleMs / 1000} s in the middle of an answer`)), limits.idleMs);
  signal.addEventListener("abort", onAbort, { once: true });
  let bytes = 0;
  try {
    for await (const chunk of response.iterator({ destroyOnReturn: false })) {
      const piece = chunk as Buffer;
      idle.refresh();
      bytes += piece.length;
      if (bytes > MAX_BODY_BYTES) throw new ModelFailure("invalid", `${url.host} sent an answer of more than ${MAX_BODY_BYTES} bytes`);
      yield piece;
    }
  } catch (error) {
    throw failureOf(error, url);
  } finally {
    clearTimeout(idle);
    signal.removeEventListener("abort", onAbort);
    drain(response);
  }
}

/** Reads what is left after the last piece of interest, so that the connection can serve the next turn; one that goes on is closed. */
function drain(response: IncomingMessage): void {
  if (response.readableEnded || response.destroyed) return;
  const giveUp = setTimeout(() => response.destroy(), DRAIN_MS).unref();
  response.on("error", () => undefined).once("close", () => clearTimeout(giveUp)).resume();
}

/** The first bytes of an answer that is an error, as text; what cannot be read of it is left out. */
async function readStart(response: IncomingMessage, request: ModelRequest): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of readBody(response, request)) {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes >= MAX_ERROR_BYTES) break;
    }
  } catch (error) {
    if (request.signal.aborted) throw error;
  }
  return readableError(Buffer.concat(pieces).toString("utf8"));
}

/** The sentence inside an error body where it has one of the usual shapes, else its start. */
function readableError(body: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return body.slice(0, 500);
  }
  const { error, message, detail } = (parsed ?? {}) as { readonly error?: { readonly message?: unknown }; readonly message?: unknown; readonly detail?: unknown };
  const said = [error?.message, error, message, detail].find((text) => typeof text === "string");
  return typeof said === "string" ? said.slice(0, 1000) : body.slice(0, 500);
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new ModelFailure("cancelled", "the request was cancelled");
}

function failureOf(error: unknown, url: URL): ModelFailure {
  if (error instanceof ModelFailure) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new ModelFailure("network", `the connection to ${url.host} failed: ${[code, message].filter((part) => part !== undefined && part !== "").join(" ")}`);
}
