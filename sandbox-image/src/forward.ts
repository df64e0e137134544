import { createServer, STATUS_CODES } from "node:http";
import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from "node:http";
import { constants } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream";
import type { EgressChannel } from "./channel.ts";

/** How many connections of programs are carried at once. */
const MOST_STREAMS = 256;
const ANSWER_MS = 60_000;

/** Hop by hop, or said otherwise in HTTP/2 (RFC 9113, 8.2.2). */
const CONNECTION_HEADERS = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te", "host", "proxy-authorization", "http2-settings"]);

/** An answer of our own to a program: what went wrong and what to do. */
interface Trouble {
  readonly status: number;
  readonly sentence: string;
}

const NO_CHANNEL: Trouble = { status: 503, sentence: "the sandbox has no way out now: no runner is connected. Try again in a few seconds" };
const TOO_MANY: Trouble = { status: 503, sentence: `more than ${MOST_STREAMS} connections leave the sandbox; close some and try again` };
const NO_ANSWER: Trouble = { status: 504, sentence: `the runner's proxy did not answer within ${ANSWER_MS / 1000} s` };
const CUT_OFF: Trouble = { status: 502, sentence: "the connection to the runner's proxy ended before it answered" };
const NOT_FORWARDED: Trouble = { status: 400, sentence: "this is a proxy: ask it for CONNECT host:port, or for an absolute http:// address" };

const NO_UPGRADE: Trouble = { status: 501, sentence: "a WebSocket needs a tunnel: ask this proxy for CONNECT host:port" };

/** The HTTP proxy of programs in the sandbox; not listening yet. It decides nothing: each request becomes one stream to the runner's proxy. */
export function createForwarder(channel: Pick<EgressChannel, "session">): Server {
  let streams = 0;

  /** A stream, or why there is none. Every stream has an error listener from its first moment, or a killed peer would end this process. */
  function openStream(headers: Parameters<ClientHttp2Session["request"]>[0], endStream: boolean): ClientHttp2Stream | Trouble {
    if (streams >= MOST_STREAMS) return TOO_MANY;
    const session = channel.session();
    if (session === undefined) return NO_CHANNEL;
    try {
      const stream = session.request(headers, { endStream });
      streams++;
      stream.on("error", () => undefined).once("close", () => { streams--; });
      return stream;
    } catch (error) {
      return { status: 400, sentence: `the request cannot be forwarded: ${error instanceof Error ? error.message : String(error)}` };
    }
  }

  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    const target = parseTarget(request.url ?? "");
    if (target === undefined) { refuse(response, NOT_FORWARDED); return; }
    // Others, such as h2c, are offers that a server may leave alone; without its upgrade a WebSocket's request is none.
    if (request.headers.upgrade?.toLowerCase() === "websocket") { refuse(response, NO_UPGRADE); return; }
    const body = request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined;
    const stream = openStream({ ...target, ":method": request.method ?? "GET", ...forwardable(request.headers) }, !body);
    if ("sentence" in stream) { refuse(response, stream); return; }
    forwardRequest(stream, body ? request : undefined, response);
  });

  server.on("connect", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => undefined);
    const stream = openStream({ ":method": "CONNECT", ":authority": request.url ?? "" }, false);
    if ("sentence" in stream) { socket.end(rawAnswer(stream)); return; }
    tunnel(stream, socket, head);
  });

  server.on("clientError", (_: Error, socket: Duplex) => {
    if (socket.writable) socket.end(rawAnswer(NOT_FORWARDED));
  });
  return server;
}

function forwardRequest(stream: ClientHttp2Stream, body: IncomingMessage | undefined, response: ServerResponse): void {
  const giveUp = (trouble: Trouble): void => {
    refuse(response, trouble);
    stream.close(constants.NGHTTP2_CANCEL);
  };
  stream.setTimeout(ANSWER_MS, () => { giveUp(NO_ANSWER); });
  stream.once("close", () => { giveUp(CUT_OFF); });
  response.once("close", () => { stream.close(constants.NGHTTP2_CANCEL); });
  if (body !== undefined) pipeline(body, stream, () => undefined); // a peer that does not want the body says so in its answer
  stream.once("response", (headers) => {
    stream.setTimeout(0);
    try {
      response.writeHead(headers[":status"] ?? 502, forwardable(headers));
    } catch {
      giveUp({ status: 502, sentence: "the answer has headers that HTTP/1.1 cannot hold" });
      return;
    }
    pipeline(stream, response, () => undefined);
  });
}

/**
 * Bytes in both directions; each side may end its own without ending the other's. The program is read from the start, because only who reads
 * notices that the other has gone; what it sends before the answer waits in the stream's window.
 */
function tunnel(stream: ClientHttp2Stream, socket: Duplex, head: Buffer): void {
  let answered = false;
  const giveUp = (trouble: Trouble): void => {
    if (!answered) socket.write(rawAnswer(trouble));
    answered = true;
    stream.close(constants.NGHTTP2_CANCEL);
    socket.resume().end();
  };
  stream.setTimeout(ANSWER_MS, () => { giveUp(NO_ANSWER); });
  stream.once("close", () => {
    // A program must not take what it got for the whole, so it gets a reset and no end.
    if (answered && !stream.readableEnded && socket instanceof Socket) socket.resetAndDestroy();
    else giveUp(CUT_OFF);
  });
  socket.once("close", () => { stream.close(constants.NGHTTP2_CANCEL); });
  socket.once("end", () => { if (!answered) stream.close(constants.NGHTTP2_CANCEL); }); // nobody waits for the answer
  if (head.length > 0) stream.write(head);
  socket.pipe(stream);
  stream.once("response", (headers) => {
    stream.setTimeout(0);
    answered = true;
    const status = headers[":status"] ?? 502;
    const isOpen = status >= 200 && status <= 299;
    socket.write(isOpen ? "HTTP/1.1 200 Connection established\r\n\r\n" : rawHead(status, forwardable(headers)));
    stream.pipe(socket);
  });
}

/** An absolute http:// address as HTTP/2 says it. Pure. */
function parseTarget(address: string): { ":scheme": string; ":authority": string; ":path": string } | undefined {
  const url = /^http:\/\//i.test(address) ? URL.parse(address) : null;
  return url === null ? undefined : { ":scheme": "http", ":authority": url.host, ":path": `${url.pathname}${url.search}` };
}

/** The headers that go on, in either direction. Pure. */
function forwardable(headers: IncomingMessage["headers"] | IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = new Set((headers.connection ?? "").toLowerCase().split(",").map((name) => name.trim()));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(":") && !CONNECTION_HEADERS.has(name) && !named.has(name)));
}

function refuse(response: ServerResponse, { status, sentence }: Trouble): void {
  if (response.headersSent || response.destroyed) { response.destroy(); return; }
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" }).end(`${sentence}\n`);
}

function rawAnswer({ status, sentence }: Trouble): string {
  const body = `${sentence}\n`;
  return rawHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": String(Buffer.byteLength(body)) }) + body;
}

function rawHead(status: number, headers: OutgoingHttpHeaders): string {
  const lines = Object.entries({ ...headers, connection: "close" }).map(([name, value]) => `${name}: ${String(value)}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n${lines.join("")}\r\n`;
}
