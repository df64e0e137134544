import { constants } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Logger } from "pino";
import { buildDenial, decideConnection, isDenial, quote, whereOf } from "./decision.ts";
import { messageOf } from "../fault.ts";
import { createPacer } from "./pace.ts";
import type { Dial, EgressAccount, EgressConnection, EgressDenial, EgressGate, EgressInspector, EgressTarget } from "./policy.ts";
import type { EgressPolicy } from "./rules.ts";
import { parseTarget } from "./rules-target.ts";
import { awaitGreeting, carryTunnel, cutOff, UNRECOGNIZED_NAME } from "./tunnel.ts";
import type { Opening } from "./tunnel.ts";

/** What is left out has its usual value. */
export interface EgressLimits {
  /** Streams of a session at once; 256, as many as the sandbox's forwarder carries. */
  readonly streams?: number;
  /** Until the first bytes after CONNECT say what is spoken; 10 s. */
  readonly helloMs?: number;
  /** A tunnel in which no byte moves is ended; 15 min. */
  readonly idleMs?: number;
}

/** One for all channels of a session: the runner makes them once, and each channel to a sandbox is served with them. */
export interface EgressPorts {
  /** `readPolicy(environment, privateRanges)`. */
  readonly policy: EgressPolicy;
  /** `createDial({ policy })`. */
  readonly dial: Dial;
  readonly inspector: EgressInspector;
  readonly account: EgressAccount;
  readonly gate: EgressGate;
  readonly logger: Logger;
  readonly limits?: EgressLimits;
}

const DEFAULT_LIMITS = { streams: 256, helloMs: 10_000, idleMs: 15 * 60_000 } as const;
/** A program that is refused reads why; one that does not is cut off. */
const ANSWER_MS = 10_000;
/** Refusals cost this process more than the sandbox, so a flood of them waits; a build that tries a hundred forbidden hosts does not. */
const REFUSALS = { burst: 200, everyMs: 5 } as const;

/** What serves the streams of one channel. */
interface Desk {
  readonly ports: EgressPorts;
  readonly limits: Required<EgressLimits>;
  readonly refuse: (stream: ServerHttp2Stream, denial: EgressDenial) => void;
}

/**
 * Answers what programs in the sandbox send to their proxy, on the session that the sandbox opened over the turned connection. Never throws,
 * whatever the sandbox sends; ends everything with the session, or when the gate closes.
 */
export function serveEgress(session: ServerHttp2Session, ports: EgressPorts): void {
  const limits = { ...DEFAULT_LIMITS, ...ports.limits };
  const desk: Desk = { ports, limits, refuse: createRefuser() };
  const open = new Set<AbortController>();
  const endAll = (): void => {
    for (const ending of open) ending.abort();
  };
  let watched: AbortSignal | undefined;
  const watch = (signal: AbortSignal): void => {
    if (signal === watched) return;
    watched?.removeEventListener("abort", endAll);
    signal.addEventListener("abort", endAll, { once: true });
    watched = signal;
  };
  session.once("close", () => watched?.removeEventListener("abort", endAll));
  session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    // A peer that is killed breaks its streams; without a listener each of them would end this process.
    stream.on("error", () => undefined);
    if (stream.destroyed) return;
    const target = parseTarget(headers);
    const refusal = isDenial(target) ? target : findObstacle(ports.gate, open.size >= limits.streams);
    if (refusal !== undefined) return refuseNoted(desk, stream, { target: isDenial(target) ? UNREADABLE : target, denial: refusal });
    if (isDenial(target)) return;
    const ending = new AbortController();
    open.add(ending);
    watch(ports.gate.signal());
    ending.signal.addEventListener("abort", () => { cutOff(stream); }, { once: true });
    const served = serveStream(desk, stream, { headers, target, signal: ending.signal }).catch((error: unknown) => {
      ports.logger.error({ error: messageOf(error), host: target.host }, "the egress proxy failed");
      cutOff(stream);
    });
    stream.once("close", () => {
      // What ended as it should may still be on its way to the server; it counts until it is there.
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) ending.abort();
      void served.then(() => {
        open.delete(ending);
        ending.abort();
      });
    });
  });
}

/** For the account: there is nothing else to say about what names no host. */
const UNREADABLE: EgressTarget = { host: "(unreadable)", port: 1 };

/** Why nothing at all goes out now. */
function findObstacle(gate: EgressGate, isFull: boolean): EgressDenial | undefined {
  if (!gate.isOpen()) return buildDenial("Stopped", "Paddock refused the connection: the session is stopped, suspended or over, and nothing leaves its sandbox.");
  return isFull ? buildDenial("TooMany", "Paddock refused the connection: too many leave the sandbox at once. Close some and try again.") : undefined;
}

interface Asked {
  readonly headers: IncomingHttpHeaders;
  readonly target: EgressTarget;
  readonly signal: AbortSignal;
}

async function serveStream(desk: Desk, stream: ServerHttp2Stream, { headers, target, signal }: Asked): Promise<void> {
  const { policy, inspector } = desk.ports;
  const grant = decideConnection(policy, target);
  if (isDenial(grant)) { refuseNoted(desk, stream, { target, denial: grant }); return; }
  const connection: EgressConnection = { target, grant, signal };
  if (headers[":method"] !== "CONNECT") inspector.serveStream(stream, headers, connection);
  else if (grant.kind === "Terminate") await openInspected(desk, stream, connection);
  else await openTunnel(desk, stream, connection);
}

/** The answer comes before anybody is dialled: what goes where is known only with the requests. */
async function openInspected(desk: Desk, stream: ServerHttp2Stream, connection: EgressConnection): Promise<void> {
  stream.respond({ ":status": 200 });
  const opening = await awaitGreeting(stream, desk.limits.helloMs, connection.signal);
  if (!isOpeningFor(opening, connection.target)) { refuseOpening(desk, stream, { target: connection.target, opening }); return; }
  if (opening.kind === "Http") serveHttp(desk, stream, connection);
  else desk.ports.inspector.terminate(stream, connection);
}

/** Dialled before the answer, so that programs learn by its status and text when that fails. */
async function openTunnel(desk: Desk, stream: ServerHttp2Stream, connection: EgressConnection): Promise<void> {
  const { target, grant, signal } = connection;
  const { dial, account } = desk.ports;
  const socket = await dial(target, grant.entries, signal);
  if (isDenial(socket)) { refuseNoted(desk, stream, { target, denial: socket }); return; }
  try {
    if (stream.destroyed || stream.closed) return;
    stream.respond({ ":status": 200 });
    const opening = await awaitGreeting(stream, desk.limits.helloMs, signal);
    if (!isOpeningFor(opening, target)) { refuseOpening(desk, stream, { target, opening }); return; }
    if (opening.kind === "Http") { serveHttp(desk, stream, connection); return; }
    const count = account.note({ ...target, decision: "Allow", rule: grant.rule });
    await carryTunnel(stream, socket, { idleMs: desk.limits.idleMs, count, signal });
  } finally {
    socket.destroy();
  }
}

/** The reader of a greeting stops the stream, and a server of HTTP does not start one that was stopped. */
function serveHttp({ ports }: Desk, stream: ServerHttp2Stream, connection: EgressConnection): void {
  ports.inspector.serveHttp(stream, connection);
  stream.resume();
}

/** TLS for the host of CONNECT, or plain HTTP, whose requests are looked at one by one. */
function isOpeningFor(opening: Opening, { host }: EgressTarget): boolean {
  return opening.kind === "Http" || (opening.kind === "Tls" && opening.name === host);
}

interface RefusedOpening {
  readonly target: EgressTarget;
  readonly opening: Opening;
}

function refuseOpening({ ports }: Desk, stream: ServerHttp2Stream, { target, opening }: RefusedOpening): void {
  if (opening.kind === "Gone") { cutOff(stream); return; }
  const denial = denyOpening(target, opening);
  note(ports, target, denial);
  // No text can be read here any more; an alert at least says which part was wrong.
  if (opening.kind === "Tls") stream.end(UNRECOGNIZED_NAME);
  else stream.end();
  stream.setTimeout(ANSWER_MS, () => { cutOff(stream); });
  stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
}

function denyOpening(target: EgressTarget, opening: Opening): EgressDenial {
  if (opening.kind !== "Tls") return buildDenial("ProtocolNotAllowed", `Paddock ended ${whereOf(target)}: what was sent there is neither TLS nor HTTP.`);
  const what = opening.name === undefined ? "names no host" : `is for ${quote(opening.name)}`;
  return buildDenial("NameMismatch", `Paddock ended ${whereOf(target)}: TLS inside ${what}, and must name the host of CONNECT.`);
}

interface Refused {
  readonly target: EgressTarget;
  readonly denial: EgressDenial;
}

function refuseNoted({ ports, refuse }: Desk, stream: ServerHttp2Stream, { target, denial }: Refused): void {
  note(ports, target, denial);
  refuse(stream, denial);
}

function note({ account, logger }: EgressPorts, target: EgressTarget, { refusal, message }: EgressDenial): void {
  account.note({ ...target, decision: "Deny", rule: refusal });
  account.refused?.(message);
  logger.debug({ ...target, refusal, message }, "egress refused");
}

/** Answers with the refusal's text, at a pace that a flood cannot raise. */
function createRefuser(): (stream: ServerHttp2Stream, denial: EgressDenial) => void {
  const pacer = createPacer(REFUSALS);
  return (stream, denial) => {
    const waitMs = pacer(performance.now());
    if (waitMs === 0) { answer(stream, denial); return; }
    const timer = setTimeout(() => { answer(stream, denial); }, waitMs);
    stream.once("close", () => { clearTimeout(timer); });
  };
}

function answer(stream: ServerHttp2Stream, { status, message }: EgressDenial): void {
  if (stream.destroyed || stream.closed || stream.headersSent) { cutOff(stream); return; }
  stream.setTimeout(ANSWER_MS, () => { cutOff(stream); });
  stream.respond({ ":status": status, "content-type": "text/plain; charset=utf-8" });
  // The answer to HEAD has ended with its headers.
  if (!stream.writableEnded) stream.end(`${message}\n`);
  // Nothing of the request's body is wanted.
  stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
}
