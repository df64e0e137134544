import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createTail, cutMiddle, firstBytes, MIDDLE_BYTES, TAIL_BYTES, TAIL_LINES } from "./output.ts";

function tailOf(...chunks: readonly (string | Buffer)[]) {
  const tail = createTail();
  for (const chunk of chunks) tail.push(Buffer.from(chunk));
  return tail.cut();
}

test("short output is left as it is", () => {
  assert.deepEqual(tailOf("a\n", "", "ü"), { content: "a\nü", bytes: 4, truncated: false });
  assert.deepEqual(tailOf(), { content: "", bytes: 0, truncated: false });
  assert.deepEqual(tailOf("\n"), { content: "\n", bytes: 1, truncated: false });
});

test("2,000 lines are whole, 2,001 are not", () => {
  const lines = Array.from({ length: TAIL_LINES + 1 }, (_, index) => `${index}\n`);
  assert.equal(tailOf(lines.slice(1).join("")).truncated, false);
  const cut = tailOf(lines.join(""));
  assert.equal(cut.truncated, true);
  assert.equal(cut.content, `[the output has ${cut.bytes} bytes in 2001 lines; this is its end]\n${lines.slice(1).join("")}`);
});

test("any chunks: within the limit, the real size, the output's own end", () => {
  const piece = fc.oneof(fc.string({ unit: "grapheme", maxLength: 300 }), fc.constant("line\n"), fc.constant("€".repeat(20_000)), fc.constant("x".repeat(60_000)));
  fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
    const whole = pieces.join("");
    const { content, bytes, truncated } = tailOf(...pieces);
    assert.equal(bytes, Buffer.byteLength(whole));
    assert.ok(Buffer.byteLength(content) <= TAIL_BYTES);
    if (!truncated) assert.equal(content, whole);
    else assert.ok(whole.endsWith(content.slice(content.indexOf("\n") + 1)));
  }), { numRuns: 200 });
});

test("bytes that are no text stay within the limit", () => {
  const { content, bytes, truncated } = tailOf(Buffer.alloc(TAIL_BYTES, 0xff));
  assert.deepEqual([bytes, truncated], [TAIL_BYTES, true]);
  assert.ok(Buffer.byteLength(content) <= TAIL_BYTES);
});

test("a long text keeps head and tail on characters' boundaries", () => {
  const text = `start${"€".repeat(MIDDLE_BYTES)}end`;
  const { content, bytes, truncated } = cutMiddle(text);
  assert.deepEqual([bytes, truncated], [Buffer.byteLength(text), true]);
  assert.ok(Buffer.byteLength(content) <= MIDDLE_BYTES);
  assert.match(content, /^start€+\n\[… 98312 bytes in all; their middle is left out …\]\n€+end$/);
  assert.deepEqual(cutMiddle("€"), { content: "€", bytes: 3, truncated: false });
});

test("the first bytes end on a boundary", () => {
  assert.equal(firstBytes(Buffer.from("a€b"), 3), "a");
  assert.equal(firstBytes(Buffer.from("a€b"), 4), "a€");
  assert.equal(firstBytes(Buffer.from("a"), 4), "a");
});
