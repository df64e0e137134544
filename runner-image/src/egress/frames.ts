import { Transform } from "node:stream";
import type { MaskTable, Masker } from "./mask.ts";

/** Of a WebSocket frame's head, without a mask: two bytes, and eight more for the longest lengths. */
const MOST_HEAD = 14;

/** The size of a frame's head and of its payload in bytes, or undefined until the head is whole. Pure. */
export function parseFrameHead(bytes: Uint8Array): { readonly head: number; readonly payload: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 2) return undefined;
  const second = view.getUint8(1);
  const key = (second & 0x80) === 0 ? 0 : 4;
  const short = second & 0x7f;
  const extended = short === 127 ? 8 : short === 126 ? 2 : 0;
  if (bytes.length < 2 + extended) return undefined;
  const payload = extended === 8 ? Number(view.getBigUint64(2)) : extended === 2 ? view.getUint16(2) : short;
  return { head: 2 + extended + key, payload };
}

/**
 * Masks values in the frames that a WebSocket's server sends. A frame is given on whole when it has come: what its end might be the start of
 * a value is not kept back until the server speaks again, which may be never.
 */
export function maskFrames(table: MaskTable): Transform {
  let waiting = Buffer.alloc(0);
  let left = 0;
  let masker: Masker = table.start();

  /** What can be said of the bytes at hand; what belongs to a head that is not whole waits. */
  function* take(): Generator<Buffer> {
    while (waiting.length > 0) {
      if (left === 0) {
        const frame = parseFrameHead(waiting.subarray(0, MOST_HEAD));
        if (frame === undefined || waiting.length < frame.head) return;
        yield waiting.subarray(0, frame.head);
        waiting = waiting.subarray(frame.head);
        left = frame.payload;
        continue;
      }
      const piece = waiting.subarray(0, left);
      waiting = waiting.subarray(piece.length);
      left -= piece.length;
      yield masker.write(piece);
      if (left > 0) return;
      yield masker.end();
      masker = table.start();
    }
  }
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      waiting = Buffer.concat([waiting, chunk]);
      for (const sure of take()) if (sure.length > 0) this.push(sure);
      done();
    },
    flush(done) {
      const rest = Buffer.concat([masker.end(), waiting]);
      done(null, rest.length === 0 ? undefined : rest);
    },
  });
}
