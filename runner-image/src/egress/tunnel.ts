import { constants } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { MAX_GREETING_BYTES, readGreeting } from "./hello.ts";
import type { Greeting } from "./hello.ts";

/** What came, or why nothing did: no byte in time, or the program ended the connection. */
export type Opening = Greeting | { readonly kind: "Silent" } | { readonly kind: "Gone" };

/** A fatal alert, unrecognized_name, in a record of TLS 1.0, which clients of all versions understand (RFC 6066, 3). */
export const UNRECOGNIZED_NAME = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x70]);

/** Waits for a program's first bytes, and puts them back: whoever reads the stream next gets all of it. Never rejects. */
export function awaitGreeting(duplex: Duplex, ms: number, signal: AbortSignal): Promise<Opening> {
  return new Promise((done) => {
    const pieces: Buffer[] = [];
    let held = 0;
    let wanted = 1;
    const end = (opening: Opening): void => {
      clearTimeout(timer);
      duplex.off("data", read).off("end", gone).off("close", gone).pause();
      signal.removeEventListener("abort", gone);
      // In the listener that took them, so that the stream has not ended yet.
      if (held > 0 && !duplex.readableEnded) duplex.unshift(Buffer.concat(pieces));
      done(opening);
    };
    const gone = (): void => { end({ kind: "Gone" }); };
    const timer = setTimeout(() => { end({ kind: held === 0 ? "Silent" : "Unknown" }); }, ms);
    const read = (chunk: Buffer): void => {
      pieces.push(chunk);
      held += chunk.length;
      if (held < wanted) return;
      const greeting = readGreeting(Buffer.concat(pieces));
      if (greeting.kind !== "Missing") end(greeting);
      else if (held > MAX_GREETING_BYTES) end({ kind: "Unknown" });
      else wanted = greeting.atLeast;
    };
    signal.addEventListener("abort", gone, { once: true });
    if (signal.aborted || duplex.destroyed || duplex.readableEnded) gone();
    else duplex.on("data", read).once("end", gone).once("close", gone);
  });
}

/** Ends a stream so that the other side sees it as broken. close() would end it properly first, as if all had been said. */
export function cutOff(stream: ServerHttp2Stream): void {
  stream.destroy(new Error("cut off"));
}

export interface Carriage {
  /** A tunnel in which no byte moves for so long is ended, in milliseconds. */
  readonly idleMs: number;
  /** Adds bytes that the program sent and received. */
  readonly count: (sent: number, received: number) => void;
  /** Ends both sides at once. */
  readonly signal: AbortSignal;
}

/**
 * Bytes in both directions, each side no faster than the other reads. Each may end its own direction without ending the other's; what breaks
 * breaks both. Resolves when the socket is closed, never rejects.
 */
export async function carryTunnel(stream: ServerHttp2Stream, socket: Socket, { idleMs, count, signal }: Carriage): Promise<void> {
  const cut = (): void => {
    socket.destroy();
    cutOff(stream);
  };
  const idle = setTimeout(cut, idleMs);
  socket.allowHalfOpen = true;
  stream.on("data", (chunk: Buffer) => {
    count(chunk.length, 0);
    idle.refresh();
  });
  socket.on("data", (chunk: Buffer) => {
    count(0, chunk.length);
    idle.refresh();
  });
  stream.once("close", () => {
    // Both directions ended as they should: what the server has not read yet may still reach it.
    if (stream.readableEnded && stream.rstCode === constants.NGHTTP2_NO_ERROR) socket.destroySoon();
    else socket.destroy();
  });
  const closed = new Promise<void>((done) => {
    if (socket.closed) done();
    else socket.once("close", () => { done(); });
  });
  signal.addEventListener("abort", cut, { once: true });
  if (signal.aborted || stream.destroyed || socket.destroyed) cut();
  else {
    stream.pipe(socket);
    socket.pipe(stream);
  }
  await closed;
  clearTimeout(idle);
  signal.removeEventListener("abort", cut);
  // A server that broke off is not one that has said all.
  if (!socket.readableEnded) cutOff(stream);
}
