import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { decodeStreams } from "./decode.ts";

async function decode(encoding: string, body: Buffer): Promise<Buffer> {
  const steps = decodeStreams(encoding);
  assert.ok(steps !== undefined);
  const pieces: Buffer[] = [];
  const sink = new Writable({
    write(piece: Buffer, _encoding, next) {
      pieces.push(piece);
      next();
    },
  });
  await pipeline([Readable.from([body]), ...steps, sink]);
  return Buffer.concat(pieces);
}

test("the usual encodings are undone", async () => {
  const text = Buffer.from("plain text ".repeat(1_000));
  for (const [encoding, body] of Object.entries({ gzip: gzipSync(text), "X-GZIP": gzipSync(text), deflate: deflateSync(text), br: brotliCompressSync(text), zstd: zstdCompressSync(text) })) {
    assert.deepEqual(await decode(encoding, body), text, encoding);
  }
});

test("what is plain stays, and what nobody knows is said to be unknown", () => {
  assert.deepEqual([decodeStreams(undefined), decodeStreams("identity"), decodeStreams("")], [[], [], []]);
  assert.deepEqual([decodeStreams("compress"), decodeStreams("gzip, br"), decodeStreams("constructor")], [undefined, undefined, undefined]);
});

test("a broken body ends in an error", async () => {
  await assert.rejects(decode("gzip", gzipSync(randomBytes(10_000)).subarray(0, 5_000)));
  await assert.rejects(decode("br", Buffer.from("this is not brotli")));
});

test("a small body that becomes endless ends in an error, a large one that is large does not", async () => {
  const zeros = Buffer.alloc(24 * 1_048_576);
  for (const [encoding, body] of Object.entries({ gzip: gzipSync(zeros), br: brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }), zstd: zstdCompressSync(zeros) })) {
    await assert.rejects(decode(encoding, body), /grows beyond all reason/, encoding);
  }
  const varied = Buffer.concat(Array.from({ length: 5 }, () => Buffer.concat([randomBytes(65_536), Buffer.alloc(4 * 1_048_576)])));
  assert.equal((await decode("gzip", gzipSync(varied))).length, varied.length);
});
