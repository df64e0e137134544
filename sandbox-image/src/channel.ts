import { connect, constants } from "node:http2";
import type { ClientHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { Log } from "./log.ts";

/**
 * The way out: a socket that the runner opened, on which the sandbox speaks HTTP/2 as the client. At most one.
 *
 *   none → (open) → open → (open: the newer replaces it | close | its end | no answer to a ping) → none or open
 */
export interface EgressChannel {
  /** Takes the socket over, and ends an earlier channel with all its streams. */
  open(socket: Socket): void;
  close(): void;
  session(): ClientHttp2Session | undefined;
}

export interface ChannelTimes {
  /** Between two pings. */
  readonly pingEveryMs: number;
  /** A peer that is stopped or unplugged keeps its socket open: what does not answer a ping for so long is gone. */
  readonly pingDeadlineMs: number;
}

const DEFAULT_TIMES: ChannelTimes = { pingEveryMs: 10_000, pingDeadlineMs: 10_000 };
/** What a stream may send ahead of a program that does not read, 64 MiB with all 256 streams. */
const STREAM_WINDOW_BYTES = 256 * 1024;
const SESSION_MEMORY_MB = 128;

export function createEgressChannel(log: Log, { pingEveryMs, pingDeadlineMs }: ChannelTimes = DEFAULT_TIMES): EgressChannel {
  let current: ClientHttp2Session | undefined;

  function close(): void {
    if (current !== undefined) cut(current, "it was replaced, or its runner is gone");
    current = undefined;
  }

  function open(socket: Socket): void {
    close();
    const session = connect("http://runner", {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
      maxSessionMemory: SESSION_MEMORY_MB,
    });
    current = session;
    log("info", "egress channel open");
    // A server's sockets stay half open: a runner that ends its side will answer nothing more.
    socket.once("end", () => { cut(session, "the runner closed it"); });
    const stopPings = startPings(session, socket);
    session.on("error", (error: Error) => { log("warn", "egress channel failed", { error: error.message }); });
    // Nothing new is sent after a GOAWAY; what runs may end.
    session.on("goaway", () => { forget(session); });
    session.once("close", () => {
      stopPings();
      socket.destroy();
      forget(session);
      log("info", "egress channel closed");
    });
  }

  function forget(session: ClientHttp2Session): void {
    if (current === session) current = undefined;
  }

  /** Gives back how to stop. */
  function startPings(session: ClientHttp2Session, socket: Socket): () => void {
    let deadline: NodeJS.Timeout | undefined;
    const every = setInterval(() => {
      if (deadline !== undefined || session.closed || session.destroyed) return;
      deadline = setTimeout(() => {
        log("warn", "egress channel: the runner does not answer");
        cut(session, "no answer to a ping");
        socket.destroy();
      }, pingDeadlineMs);
      session.ping(() => {
        clearTimeout(deadline);
        deadline = undefined;
      });
    }, pingEveryMs);
    return () => {
      clearInterval(every);
      clearTimeout(deadline);
    };
  }

  return {
    open,
    close,
    session: () => (current === undefined || current.closed || current.destroyed ? undefined : current),
  };
}

/** With an error, for without one its streams come to an end as if they were whole. */
function cut(session: ClientHttp2Session, why: string): void {
  session.destroy(new Error(why), constants.NGHTTP2_CANCEL);
}
