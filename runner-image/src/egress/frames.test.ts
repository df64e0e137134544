import assert from "node:assert/strict";
import { test } from "node:test";
import { maskFrames } from "./frames.ts";
import { createMaskTable } from "./mask.ts";

const SECRET = "ghp_0123456789abcdef";

/** A server's text frame. */
function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  if (payload.length < 126) return Buffer.concat([Buffer.from([0x81, payload.length]), payload]);
  const head = Buffer.alloc(payload.length < 65_536 ? 4 : 10);
  head[0] = 0x81;
  head[1] = payload.length < 65_536 ? 126 : 127;
  if (payload.length < 65_536) head.writeUInt16BE(payload.length, 2);
  else head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

/** What has come out after each piece, and nothing more after it. */
function pass(pieces: readonly Buffer[]): Buffer[] {
  const stream = maskFrames(createMaskTable([SECRET]));
  return pieces.map((piece) => {
    stream.write(piece);
    return (stream.read() as Buffer | null) ?? Buffer.alloc(0);
  });
}

test("a message that ends with a value, or with the start of one, is not kept back until the next", () => {
  for (const text of [`Bearer ${SECRET}`, "the word ends with g", "ghp_0"]) {
    const [out] = pass([frame(text)]);
    assert.deepEqual(out, frame(text.replace(SECRET, "*".repeat(SECRET.length))), text);
  }
});

test("frames of every size are masked, however their bytes are cut", () => {
  const texts = ["", SECRET, `${"x".repeat(200)}${SECRET}`, `${SECRET}${"y".repeat(70_000)}${SECRET}z`];
  const bytes = Buffer.concat(texts.map(frame));
  const masked = Buffer.concat(texts.map((text) => frame(text.replaceAll(SECRET, "*".repeat(SECRET.length)))));
  for (const size of [1, 3, 1000, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
    assert.ok(Buffer.concat(pass(pieces)).equals(masked), `pieces of ${size}`);
  }
});

test("a length in a head is not taken for a value's bytes", () => {
  const text = "g".repeat(0x67);
  assert.deepEqual(pass([frame(text)])[0], frame(text));
});
