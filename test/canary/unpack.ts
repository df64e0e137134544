import { brotliDecompressSync, constants, inflateRawSync, inflateSync, zstdDecompressSync } from "node:zlib";

/** Data found inside other data. */
export interface Unpacked {
  readonly encoding: string;
  /** Where it begins, in bytes. */
  readonly offset: number;
  readonly bytes: Buffer;
}

/** A block unpacks to at most this much, and so do all blocks of one text: a bomb is looked into, not followed. */
const MOST_BYTES = 32 * 2 ** 20;
const MOST_BLOCKS = 2000;

// Blocks end where they end: what follows belongs to somebody else, and a cut one shows what it still has.
const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MOST_BYTES };

interface Format {
  readonly encoding: string;
  readonly magic: RegExp;
  unpack(bytes: Buffer): Buffer;
}

const FORMATS: readonly Format[] = [
  { encoding: "gzip", magic: /\x1f\x8b\x08/g, unpack: unpackGzip },
  { encoding: "zlib", magic: /\x78[\x01\x5e\x9c\xda]/g, unpack: (bytes) => inflateSync(bytes, options) },
  { encoding: "zstd", magic: /\x28\xb5\x2f\xfd/g, unpack: unpackZstd },
];

// Without its header: what is behind a gzip block is taken for another block, and an error.
function unpackGzip(bytes: Buffer): Buffer {
  const flags = bytes[3] ?? 0;
  let at = 10;
  if ((flags & 4) !== 0) at += 2 + bytes.readUInt16LE(at);
  for (const flag of [8, 16]) if ((flags & flag) !== 0) at = bytes.indexOf(0, at) + 1;
  if ((flags & 2) !== 0) at += 2;
  return inflateRawSync(bytes.subarray(at), options);
}

function unpackZstd(bytes: Buffer): Buffer {
  return zstdDecompressSync(bytes, { finishFlush: constants.ZSTD_e_continue, maxOutputLength: MOST_BYTES });
}

function tried(unpack: () => Buffer): Buffer | undefined {
  try {
    return unpack();
  } catch {
    return undefined; // it only looked like one
  }
}

/** Compressed blocks anywhere in the data, by their first bytes; brotli has none and is tried as a whole. Never throws. */
export function findCompressed(bytes: Buffer): readonly Unpacked[] {
  const text = bytes.toString("latin1");
  const found: Unpacked[] = [];
  let left = MOST_BYTES;
  for (const { encoding, magic, unpack } of FORMATS) {
    for (const { index } of text.matchAll(magic)) {
      if (found.length >= MOST_BLOCKS || left <= 0) break;
      const inside = tried(() => unpack(bytes.subarray(index)));
      if (inside === undefined || inside.length === 0) continue;
      left -= inside.length;
      found.push({ encoding, offset: index, bytes: inside });
    }
  }
  const whole = tried(() => brotliDecompressSync(bytes, { maxOutputLength: MOST_BYTES }));
  return whole === undefined || whole.length === 0 ? found : [...found, { encoding: "brotli", offset: 0, bytes: whole }];
}

/** Runs of base64 or base64url long enough to hold something, decoded: each for itself, and folded lines as one. `text` is Latin-1. */
export function findBase64(text: string): readonly Unpacked[] {
  const found: Unpacked[] = [];
  for (const { 0: run, index } of text.matchAll(/[A-Za-z0-9+/_\-\r\n]{24,}/g)) {
    const lines = /[\r\n]/.test(run) ? run.split(/[\r\n]+/).filter((line) => line.length >= 24) : [];
    for (const one of [run, ...lines]) found.push({ encoding: "base64", offset: index, bytes: Buffer.from(one.replace(/[\r\n]/g, ""), "base64") });
    if (found.length >= MOST_BLOCKS) break;
  }
  return found;
}
