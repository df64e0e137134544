import { Transform } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";

/** So much may come out of however little. */
const FREE_BYTES = 16 * 1_048_576;
/** Beyond that, so many bytes for each that came in: text seldom shrinks more. */
const MOST_PER_BYTE = 200;

const DECODERS = new Map([
  ["gzip", () => createGunzip()],
  ["x-gzip", () => createGunzip()],
  ["deflate", () => createInflate()],
  ["br", () => createBrotliDecompress()],
  ["zstd", () => createZstdDecompress()],
]);

/**
 * Streams that make a body plain: none when it is, undefined when nobody here knows how. They end in an error when the body is broken or grows
 * beyond all reason.
 */
export function decodeStreams(encoding: string | undefined): readonly Transform[] | undefined {
  const name = (encoding ?? "").trim().toLowerCase();
  if (name === "" || name === "identity") return [];
  const make = DECODERS.get(name);
  if (make === undefined) return undefined;
  const decoder = make();
  return [decoder, boundStream(() => decoder.bytesWritten)];
}

function boundStream(taken: () => number): Transform {
  let given = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      given += chunk.length;
      if (given > FREE_BYTES && given > taken() * MOST_PER_BYTE) done(new Error("the decoded body grows beyond all reason"));
      else done(null, chunk);
    },
  });
}
