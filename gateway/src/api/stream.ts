import { once } from "node:events";
import type { ServerResponse } from "node:http";

export interface StreamMessage {
  readonly event: string;
  readonly id?: string;
  readonly data: unknown;
}

/** A response as server-sent events. */
export interface EventStream {
  /** Aborts when the reader is gone, was cut or is to go. */
  readonly signal: AbortSignal;
  /** Resolves when the message is handed on; a reader that takes nothing for the write time-out is cut. Never rejects. */
  send(message: StreamMessage): Promise<void>;
  /** A comment, to keep the connection alive. */
  comment(text: string): Promise<void>;
  /** Aborts `signal`; what was sent before still arrives. */
  stop(): void;
  end(): void;
}

export interface StreamLimits {
  readonly writeTimeoutMs: number;
  /** Aborts when the server stops. */
  readonly shutdown: AbortSignal;
}

/** Answers 200 and opens the stream. What waits for a slow reader is one message and the socket's own buffer. */
export function openEventStream(outgoing: ServerResponse, { writeTimeoutMs, shutdown }: StreamLimits): EventStream {
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, shutdown]);
  const gone = new AbortController();
  outgoing.on("close", () => {
    gone.abort();
    stopped.abort();
  });
  // A reader that went away in the middle of a write: "close" follows.
  outgoing.on("error", () => stopped.abort());
  outgoing.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no" });
  outgoing.flushHeaders();

  const write = async (text: string): Promise<void> => {
    if (gone.signal.aborted || outgoing.writableEnded || outgoing.write(text)) return;
    const patience = AbortSignal.any([gone.signal, shutdown, AbortSignal.timeout(writeTimeoutMs)]);
    await once(outgoing, "drain", { signal: patience }).catch(() => outgoing.destroy());
  };
  return {
    signal,
    send: ({ event, id, data }) => write(`event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`),
    comment: (text) => write(`: ${text}\n\n`),
    stop: () => stopped.abort(),
    end: () => {
      if (!outgoing.destroyed) outgoing.end();
    },
  };
}
