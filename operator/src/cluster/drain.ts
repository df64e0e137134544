import type { ClientHttp2Stream } from "node:http2";
import { createLineCutter } from "./lines.ts";

/** A watch on which nothing came, not even a bookmark, for longer than a server leaves one. */
export class SilenceError extends Error {}

/**
 * Calls `take` for each whole line until the stream ends. The socket comes first: lines are cut and parsed in a later turn of the event
 * loop, because the API server closes a watch whose reader is slow. A throw of `take` ends the stream and is thrown here. `silenceMs` is asked
 * again and again: how long nothing may come as things stand.
 */
export function drain(stream: ClientHttp2Stream, silenceMs: () => number, take: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const cutter = createLineCutter();
    let chunks: Buffer[] = [];
    let scheduled: NodeJS.Immediate | undefined;
    let heardAt = performance.now();
    let fault: Error | undefined;
    const fail = (error: unknown): void => {
      fault ??= error instanceof Error ? error : new Error(String(error));
      stream.destroy();
    };
    const work = (): void => {
      scheduled = undefined;
      const batch = chunks;
      chunks = [];
      try {
        if (fault === undefined) for (const line of batch.flatMap((chunk) => cutter.push(chunk))) take(line);
      } catch (error) {
        fail(error);
      }
    };
    const silence = setInterval(() => {
      if (performance.now() - heardAt < silenceMs()) return;
      fail(new SilenceError(`nothing heard for ${silenceMs() / 1000} s`));
    }, silenceMs() / 4);
    stream.on("data", (chunk: Buffer) => {
      heardAt = performance.now();
      chunks.push(chunk);
      scheduled ??= setImmediate(work);
    });
    stream.on("error", fail);
    const finish = (): void => {
      clearInterval(silence);
      if (scheduled !== undefined) clearImmediate(scheduled);
      work();
      if (fault === undefined) resolve();
      else reject(fault);
    };
    if (stream.closed || stream.destroyed) finish();
    else stream.once("close", finish);
  });
}
