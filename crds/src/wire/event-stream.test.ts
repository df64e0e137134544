import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createEventParser } from "./event-stream.ts";

const STREAM = ': hello\n\nevent: assignment\ndata: {"a":1}\n\nevent: log\nid: 4\ndata: {"text":"ä: b"}\n\n:\n\ndata:one\ndata: two\r\n\r\nevent: nothing\n\ndata: last\n\n';
const EVENTS = [
  { event: "assignment", data: '{"a":1}', id: "" },
  { event: "log", data: '{"text":"ä: b"}', id: "4" },
  { event: "message", data: "one\ntwo", id: "4" },
  { event: "message", data: "last", id: "4" },
];

test("events are the same however the stream is cut into pieces", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(STREAM.length), { maxLength: 20 }), (cuts) => {
      const parse = createEventParser();
      const ends = [...cuts, STREAM.length].sort((a, b) => a - b);
      const pieces = ends.map((end, index) => STREAM.slice(index === 0 ? 0 : ends[index - 1], end));
      assert.deepEqual(pieces.flatMap((piece) => parse(piece)), EVENTS);
    }),
  );
});

for (const [what, end] of [["a line", ""], ["an event of short lines", "\n"]] as const) {
  test(`${what} without end is refused`, () => {
    const parse = createEventParser();
    const piece = `data: ${"x".repeat(1024 * 1024)}${end}`;
    assert.throws(() => {
      for (let n = 0; n < 16; n += 1) parse(piece);
    }, RangeError);
  });
}

test("many events of which each is short enough go on for ever", () => {
  const parse = createEventParser();
  const piece = `data: ${"x".repeat(1024 * 1024)}\n\n`;
  for (let n = 0; n < 16; n += 1) assert.equal(parse(piece).length, 1);
});
