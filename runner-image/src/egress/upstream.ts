import { Agent, request as requestHttp1 } from "node:http";
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { connect as connectHttp2, constants, sensitiveHeaders } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { isDenial, whereOf } from "./decision.ts";
import type { EgressConnection, EgressDenial, EgressTarget } from "./policy.ts";
import { openUpstream, unreachable } from "./upstream-tls.ts";
import type { UpstreamPorts } from "./upstream-tls.ts";

/** Of one answer; cookies of some sites are long. */
export const MOST_HEADER_BYTES = 65_536;
/** HTTP/1.1 connections to the host at once, for one connection of a program. */
const MOST_SOCKETS = 8;
/** What a host may send ahead of a program that reads slowly: the usual 64 KiB are little for a host far away, and 256 programs may do so at once. */
const WINDOW_BYTES = 262_144;
/** Shorter than what servers usually keep a connection open for, so that few requests meet one that is just being closed. */
const KEPT_IDLE_MS = 4_000;

/** A request as it goes to the host. `entries`: those that allow it, for the addresses. `headers` without those of the connection. */
export interface UpstreamRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly entries: readonly number[];
  /** Names of headers that no table of a compression should keep. */
  readonly secretHeaders: readonly string[];
  readonly body: Readable | undefined;
  readonly signal: AbortSignal;
}

export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
  /** Complete once the body has ended. */
  readonly trailers: () => IncomingHttpHeaders;
}

/** The host switched protocols; `head` is what it has sent since. */
export interface UpstreamSwitch {
  readonly headers: IncomingHttpHeaders;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** The far side of one connection of a program: connections to its target, made when they are needed and kept while the program's is. */
export interface Upstream {
  /** Never throws: what cannot be reached is a value. A failure after the answer's headers destroys its body. */
  send(request: UpstreamRequest): Promise<UpstreamAnswer | EgressDenial>;
  /** A request to switch protocols, over an HTTP/1.1 connection of its own. */
  upgrade(request: UpstreamRequest): Promise<UpstreamSwitch | UpstreamAnswer | EgressDenial>;
  close(): void;
}

export interface UpstreamOptions extends UpstreamPorts {
  /** A program that speaks plain HTTP gets plain HTTP. */
  readonly isPlain: boolean;
  /** How long nothing may move. */
  readonly idleMs: number;
}

/** Carries failures of our own through node:http's agent. */
class DeniedError extends Error {
  readonly denial: EgressDenial;
  constructor(denial: EgressDenial) {
    super(denial.message);
    this.denial = denial;
  }
}

export function createUpstream(connection: Pick<EgressConnection, "target" | "signal">, options: UpstreamOptions): Upstream {
  // Entries differ in the addresses that may be dialled, so connections are not shared between different sets of them.
  const routes = new Map<string, Route>();
  const routeFor = (entries: readonly number[]): Route => {
    const key = entries.join(",");
    const known = routes.get(key);
    if (known !== undefined) return known;
    const made = createRoute(connection, entries, options);
    routes.set(key, made);
    return made;
  };
  return {
    async send(request) {
      const side = { ...options, target: connection.target };
      const first = await attempt(routeFor(request.entries), request, side);
      // A kept connection that the host had just closed: nothing of the request was seen, and there is no body that would be gone.
      if (!("again" in first)) return first;
      if (request.body !== undefined || request.signal.aborted) return first.again;
      const second = await attempt(routeFor(request.entries), request, side);
      return "again" in second ? second.again : second;
    },
    upgrade: (request) => sendUpgrade(connection, request, options),
    close() {
      for (const route of routes.values()) route.close();
    },
  };
}

/** So many at once, the others in their order. */
export function createTurns(most: number): () => Promise<() => void> {
  const waiting: (() => void)[] = [];
  let running = 0;
  const leave = (): void => {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  };
  return async () => {
    if (running < most) running++;
    else await new Promise<void>((go) => waiting.push(go));
    let isOver = false;
    return () => {
      if (!isOver) leave();
      isOver = true;
    };
  };
}

/** Connections of one set of entries. */
interface Route {
  /** Waits for a place among the requests of HTTP/1.1: the agent does not count connections that are still being made. */
  readonly turn: () => Promise<() => void>;
  /** What the host speaks: a session of HTTP/2, or an agent that makes connections of HTTP/1.1. */
  way(): Promise<ClientHttp2Session | Agent | EgressDenial>;
  close(): void;
}

function createRoute(connection: Pick<EgressConnection, "target" | "signal">, entries: readonly number[], options: UpstreamOptions): Route {
  const { target } = connection;
  let session: ClientHttp2Session | undefined;
  let pending: Promise<ClientHttp2Session | Agent | EgressDenial> | undefined;
  let seed: Socket | undefined;
  let isHttp1 = options.isPlain;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: MOST_SOCKETS, timeout: KEPT_IDLE_MS });
  agent.createConnection = (_, done) => {
    const first = seed;
    seed = undefined;
    if (first?.destroyed === false) return first;
    void openUpstream(options, connection, { entries, alpn: options.isPlain ? undefined : ["http/1.1"] }).then((opened) => {
      if (isDenial(opened)) done?.(new DeniedError(opened), undefined as never);
      else done?.(null, opened);
    });
    return undefined;
  };
  const find = async (): Promise<ClientHttp2Session | Agent | EgressDenial> => {
    const opened = await openUpstream(options, connection, { entries, alpn: ["h2", "http/1.1"] });
    if (isDenial(opened)) return opened;
    if ("alpnProtocol" in opened && opened.alpnProtocol === "h2") {
      session = openSession(target, opened);
      return session;
    }
    isHttp1 = true;
    seed = opened;
    return agent;
  };
  return {
    turn: createTurns(MOST_SOCKETS),
    async way() {
      if (isHttp1) return agent;
      if (session !== undefined && !session.closed && !session.destroyed) return session;
      pending ??= find().finally(() => (pending = undefined));
      return pending;
    },
    close() {
      agent.destroy();
      seed?.destroy();
      session?.destroy();
    },
  };
}

function openSession(target: EgressTarget, socket: Socket): ClientHttp2Session {
  const settings = { enablePush: false, initialWindowSize: WINDOW_BYTES };
  const session = connectHttp2(`https://${whereOf(target)}`, { createConnection: () => socket, settings, maxHeaderListPairs: 256 });
  session.once("connect", () => { session.setLocalWindowSize(WINDOW_BYTES); });
  session.on("error", () => undefined); // its streams tell
  return session;
}

type Side = Pick<EgressConnection, "target"> & Pick<UpstreamOptions, "isPlain" | "idleMs">;
type Attempt = UpstreamAnswer | EgressDenial | { readonly again: EgressDenial };

async function attempt(route: Route, request: UpstreamRequest, side: Side): Promise<Attempt> {
  const way = await route.way();
  if (isDenial(way)) return way;
  if (!(way instanceof Agent)) return sendHttp2(way, request, side);
  const leave = await route.turn();
  return sendHttp1(way, request, { ...side, leave });
}

function sendHttp1(agent: Agent, { method, path, headers: { te: _te, ...headers }, body, signal }: UpstreamRequest, { target, isPlain, idleMs, leave }: Side & { readonly leave: () => void }): Promise<Attempt> {
  return new Promise((done) => {
    const isSized = headers["content-length"] !== undefined;
    // Said in so many words: for some methods node would send a body without any frame, which the host takes for the next request.
    const framed = body !== undefined && !isSized ? { ...headers, "transfer-encoding": "chunked" } : headers;
    const request = requestHttp1({ agent, method, path, headers: { host: authorityOf(target, !isPlain), ...framed }, setHost: false, signal, maxHeaderSize: MOST_HEADER_BYTES, host: target.host, port: target.port });
    request.setTimeout(idleMs, () => { request.destroy(new DeniedError(silent(target, idleMs))); });
    request.on("error", (error: NodeJS.ErrnoException) => {
      const denial = explain(target, error);
      done(request.reusedSocket && error.code === "ECONNRESET" ? { again: denial } : denial);
    });
    request.once("response", (answer) => { done(answerOf(answer)); });
    request.once("close", leave);
    sendBody(body, request);
  });
}

function answerOf(answer: IncomingMessage): UpstreamAnswer {
  return { status: answer.statusCode ?? 502, headers: answer.headers, body: answer, trailers: () => answer.trailers };
}

function sendBody(body: Readable | undefined, request: ClientRequest | ClientHttp2Stream): void {
  if (body === undefined) { request.end(); return; }
  // Not a pipeline: that would destroy the program's connection with the host's, and the program could not be told.
  body.pipe(request);
  request.once("close", () => { body.unpipe(request); body.resume(); });
}

function sendHttp2(session: ClientHttp2Session, { method, path, headers, secretHeaders, body, signal }: UpstreamRequest, { target, idleMs }: Side): Promise<Attempt> {
  return new Promise((done) => {
    let stream: ClientHttp2Stream;
    try {
      const pseudo = { ":method": method, ":scheme": "https", ":authority": authorityOf(target, true), ":path": path };
      stream = session.request({ ...pseudo, ...headers, [sensitiveHeaders]: [...secretHeaders] }, { endStream: body === undefined, signal });
    } catch (error) {
      const denial = explain(target, error as NodeJS.ErrnoException);
      done(session.closed || session.destroyed ? { again: denial } : denial);
      return;
    }
    let trailers: IncomingHttpHeaders = {};
    stream.setTimeout(idleMs, () => { stream.destroy(new DeniedError(silent(target, idleMs))); });
    stream.on("error", (error: NodeJS.ErrnoException) => {
      const denial = explain(target, error);
      done(stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || error.code === "ERR_HTTP2_GOAWAY_SESSION" ? { again: denial } : denial);
    });
    stream.once("close", () => { done(unreachable(target, "it ended the request without an answer")); });
    stream.once("trailers", (received: IncomingHttpHeaders) => { trailers = received; });
    stream.once("response", (received) => {
      done({ status: received[":status"] ?? 502, headers: received, body: stream, trailers: () => trailers });
    });
    if (body !== undefined) sendBody(body, stream);
  });
}

async function sendUpgrade(connection: Pick<EgressConnection, "target" | "signal">, { method, path, headers: { te: _te, ...headers }, entries, signal }: UpstreamRequest, options: UpstreamOptions): Promise<UpstreamSwitch | UpstreamAnswer | EgressDenial> {
  const { target } = connection;
  const opened = await openUpstream(options, connection, { entries, alpn: options.isPlain ? undefined : ["http/1.1"] });
  if (isDenial(opened)) return opened;
  return new Promise((done) => {
    const host = authorityOf(target, !options.isPlain);
    const request = requestHttp1({ createConnection: () => opened, method, path, headers: { host, ...headers }, setHost: false, signal, maxHeaderSize: MOST_HEADER_BYTES });
    request.setTimeout(options.idleMs, () => { request.destroy(new DeniedError(silent(target, options.idleMs))); });
    request.on("error", (error: NodeJS.ErrnoException) => { done(explain(target, error)); });
    request.once("upgrade", (answer, socket: Duplex, head: Buffer) => { done({ headers: answer.headers, socket, head }); });
    request.once("response", (answer) => { done(answerOf(answer)); });
    request.end();
  });
}

/** As browsers write it: without the port that the scheme implies. */
function authorityOf(target: EgressTarget, isSecure: boolean): string {
  return target.port === (isSecure ? 443 : 80) ? target.host : whereOf(target);
}

function silent(target: EgressTarget, idleMs: number): EgressDenial {
  return { ...unreachable(target, `it sent nothing for ${idleMs / 1000} s`), status: 504 };
}

/** Nothing of the error but its kind. */
function explain(target: EgressTarget, error: NodeJS.ErrnoException): EgressDenial {
  if (error instanceof DeniedError) return error.denial;
  const code = error.code ?? "unknown";
  if (code === "HPE_HEADER_OVERFLOW") return unreachable(target, `its answer has more than ${MOST_HEADER_BYTES} bytes of headers`);
  if (code.startsWith("HPE_")) return unreachable(target, "its answer is not HTTP");
  if (code === "ECONNRESET" || code === "EPIPE") return unreachable(target, "it closed the connection before it answered");
  return unreachable(target, `the connection failed (${code})`);
}
