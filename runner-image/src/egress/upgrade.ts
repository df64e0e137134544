import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream";
import { buildDenial, isDenial, whereOf } from "./decision.ts";
import { admitRequest, createTally, injectHeaders, meter } from "./exchange.ts";
import type { Admission, ExchangePorts, Lane } from "./exchange.ts";
import { answerHeaders, mapHeaders, requestHeaders } from "./headers.ts";
import { maskFrames } from "./frames.ts";
import { maskStream } from "./mask.ts";
import type { EgressDenial } from "./policy.ts";
import type { UpstreamAnswer, UpstreamSwitch } from "./upstream.ts";

/** A program's request to switch protocols; `head`: what it has sent behind it. */
export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * A WebSocket from its handshake to its end; other protocols are refused. Where the host has a credential no extension is agreed on: compressed frames
 * could not be masked. A value that a server sends in two frames is not found.
 */
export async function carryUpgrade({ request, socket, head }: UpgradeRequest, lane: Lane, ports: ExchangePorts & { readonly idleMs: number }): Promise<void> {
  const { connection, upstream } = lane;
  const { target } = connection;
  const tally = createTally(ports.account);
  const over = new AbortController();
  const method = request.method ?? "";
  const note = { ...target, method: method.slice(0, 32) };
  socket.on("error", () => undefined);
  socket.once("close", () => { over.abort(); });
  const refuse = (denial: EgressDenial): void => {
    tally.start({ ...note, decision: "Deny", rule: denial.refusal });
    ports.account.refused?.(denial.message);
    tally.end();
    end(socket, denial);
  };
  const protocol = (request.headers.upgrade ?? "").trim().toLowerCase();
  if (protocol !== "websocket" || method !== "GET") {
    refuse(buildDenial("ProtocolNotAllowed", `Paddock refused to switch protocols with ${whereOf(target)}: only WebSockets go through the proxy. Use HTTP/1.1 or HTTP/2 as it is.`));
    return;
  }
  const path = request.url ?? "";
  const admission = await admitRequest({ method, path, authorities: request.headersDistinct["host"] ?? [] }, lane, ports);
  if (isDenial(admission)) { refuse(admission); return; }
  const { grant, injected } = admission;
  const answer = await upstream.upgrade({
    method,
    path,
    headers: { ...injectHeaders(handshakeHeaders(request, admission), injected), connection: "Upgrade", upgrade: "websocket" },
    secretHeaders: [],
    entries: grant.entries,
    body: undefined,
    signal: over.signal,
  });
  if (isDenial(answer)) { refuse(answer); return; }
  const [credential] = injected;
  tally.start({ ...note, decision: "Allow", rule: grant.rule, ...(credential === undefined ? {} : { credential: credential.name }) });
  answerProgram({ socket, head, idleMs: ports.idleMs }, answer, { mask: admission.mask, tally });
}

/** Pure. */
function handshakeHeaders(request: IncomingMessage, { mask }: Admission): OutgoingHttpHeaders {
  const { "sec-websocket-extensions": extensions, ...headers } = requestHeaders(request.headers, mask !== undefined);
  return mask === undefined && extensions !== undefined ? { ...headers, "sec-websocket-extensions": extensions } : headers;
}

interface Program {
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly idleMs: number;
}

function answerProgram({ socket, head, idleMs }: Program, answer: UpstreamSwitch | UpstreamAnswer, { mask, tally }: Pick<Admission, "mask"> & { readonly tally: ReturnType<typeof createTally> }): void {
  const plain = answerHeaders(answer.headers);
  const headers = mask === undefined ? plain : mapHeaders(plain, mask.text);
  if (!("socket" in answer)) {
    // Not switched: an answer like any other, after which the connection ends.
    const { "content-length": _length, ...rest } = headers;
    if (answer.headers["content-encoding"] !== undefined && mask !== undefined) { answer.body.destroy(); socket.destroy(); return; }
    socket.write(headOf(answer.status, { ...rest, connection: "close" }));
    pipeline([answer.body, ...(mask === undefined ? [] : [maskStream(mask)]), meter(tally.received), socket], tally.end);
    return;
  }
  const far = answer.socket;
  far.on("error", () => undefined);
  socket.write(headOf(101, { ...headers, connection: "Upgrade", upgrade: "websocket" }));
  if (head.length > 0) far.write(head);
  if (answer.head.length > 0) far.unshift(answer.head);
  // Two pipelines on each side, with more listeners than node takes for usual.
  for (const side of [socket, far]) side.setMaxListeners(32);
  limitIdle([socket, far], idleMs);
  pipeline([socket, meter(tally.sent), far], () => { far.destroy(); });
  pipeline([far, ...(mask === undefined ? [] : [maskFrames(mask)]), meter(tally.received), socket], () => {
    socket.destroy();
    tally.end();
  });
}

/** Ends both when nothing has come from either for so long. */
function limitIdle(sides: readonly Duplex[], idleMs: number): void {
  const timer = setTimeout(() => { for (const side of sides) side.destroy(); }, idleMs);
  for (const side of sides) {
    side.on("data", () => timer.refresh());
    side.once("close", () => { clearTimeout(timer); });
  }
}

function end(socket: Duplex, { status, message }: EgressDenial): void {
  if (socket.destroyed || !socket.writable) return;
  const body = `${message}\n`;
  socket.end(headOf(status, { "content-type": "text/plain; charset=utf-8", "content-length": String(Buffer.byteLength(body)), connection: "close" }) + body);
}

function headOf(status: number, headers: OutgoingHttpHeaders): string {
  const lines = Object.entries(headers).flatMap(([name, value]) => (Array.isArray(value) ? value : [String(value)]).map((text) => `${name}: ${text}\r\n`));
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n${lines.join("")}\r\n`;
}
