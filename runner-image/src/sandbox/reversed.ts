import { performServerHandshake } from "node:http2";
import type { ServerHttp2Session } from "node:http2";
import { Duplex } from "node:stream";

/** How often the other side is asked for a sign of life, and how long it may take to give it, in milliseconds. */
export interface PingTimes {
  readonly everyMs: number;
  readonly answerMs: number;
}

const PING_TIMES: PingTimes = { everyMs: 10_000, answerMs: 10_000 };

/**
 * Speaks HTTP/2 as a server on a connection that this process opened. `head`: bytes of the other side that came with the upgrade.
 * The session is destroyed when a ping is not answered in time (10 s): a peer that was stopped or cut off keeps its socket open.
 */
export function serveReversed(socket: Duplex, head: Buffer, times: PingTimes = PING_TIMES): ServerHttp2Session {
  const session = performServerHandshake(replaying(socket, head), { settings: { maxConcurrentStreams: 128, enablePush: false }, maxSessionMemory: 8 });
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
