import { performServerHandshake } from "node:http2";
import type { ServerHttp2Session, ServerSessionOptions } from "node:http2";
import { Duplex } from "node:stream";

/** How often the other side is asked for a sign of life, and how long it may take to give it, in milliseconds. */
export interface PingTimes {
  readonly everyMs: number;
  readonly answerMs: number;
}

const PING_TIMES: PingTimes = { everyMs: 10_000, answerMs: 10_000 };

/** Connections of programs at the same time, as many as the forwarder takes. */
const MOST_STREAMS = 256;

/**
 * What a hostile sandbox may make this side keep or do before its session is ended: buffers, headers, streams that are opened against the limit
 * or reset as fast as they are opened, frames that break the protocol. What waits to be sent to a peer that does not read counts as memory; floods
 * of pings and settings end at the bounds that nghttp2 has itself.
 */
const BOUNDS: ServerSessionOptions = {
  settings: { maxConcurrentStreams: MOST_STREAMS, enablePush: false, maxHeaderListSize: 32 * 1024 },
  maxSessionMemory: 64,
  maxHeaderListPairs: 128,
  maxSettings: 16,
  maxOutstandingPings: 4,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  // A program may open and give up a hundred connections at once, and ten a second for ever.
  streamResetBurst: 1000,
  streamResetRate: 33,
};

/**
 * Speaks HTTP/2 as a server on a connection that this process opened. `head`: bytes of the other side that came with the upgrade.
 * The session is destroyed when a ping is not answered in time (10 s): a peer that was stopped or cut off keeps its socket open.
 */
export function serveReversed(socket: Duplex, head: Buffer, times: PingTimes = PING_TIMES): ServerHttp2Session {
  const session = performServerHandshake(replaying(socket, head), BOUNDS);
  session.on("error", () => undefined);
  const timer = setInterval(() => pingOnce(session, times.answerMs), times.everyMs).unref();
  session.once("close", () => {
    clearInterval(timer);
    socket.destroy();
  });
  return session;
}

function pingOnce(session: ServerHttp2Session, answerMs: number): void {
  if (session.closed || session.destroyed) return;
  const late = setTimeout(() => session.destroy(), answerMs).unref();
  const sent = session.ping((error) => {
    clearTimeout(late);
    if (error !== null) session.destroy();
  });
  if (!sent) clearTimeout(late);
}

/**
 * The connection with `head` in front of what it still receives. HTTP/2 reads a plain socket below JavaScript and would miss bytes that
 * were read already, and these hold the start of the other side's preface.
 */
function replaying(socket: Duplex, head: Buffer): Duplex {
  const joined = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      if (socket.write(chunk)) done();
      else socket.once("drain", done);
    },
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  if (head.length > 0) joined.push(head);
  socket.on("data", (chunk: Buffer) => {
    if (!joined.push(chunk)) socket.pause();
  });
  socket.once("end", () => joined.push(null));
  socket.once("close", () => joined.destroy());
  socket.on("error", (error) => joined.destroy(error));
  joined.on("error", () => undefined);
  return joined;
}
