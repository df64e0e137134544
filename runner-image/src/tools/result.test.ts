import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseNewEvent } from "@paddock/api/log/events";
import { cutText, finishedEvent, RESULT_BYTES } from "./result.ts";

test("a cut text fits, keeps start and end, and has only whole characters", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 400 }), fc.integer({ min: 80, max: 300 }), (text, most) => {
      const cut = cutText(text, most);
      assert.ok(Buffer.byteLength(cut.text) <= most);
      assert.equal(cut.truncated, Buffer.byteLength(text) > most);
      assert.ok(!cut.text.includes("\uFFFD") || text.includes("\uFFFD"));
      if (!cut.truncated) assert.equal(cut.text, text);
      else assert.match(cut.text, new RegExp(`cut here: ${Buffer.byteLength(text)} bytes in all`));
    }),
  );
});

test("a result of any size becomes an event the log takes", () => {
  const event = finishedEvent("root/1/0", { status: "ok", content: "ü".repeat(100_000), bytes: 900_000, seconds: 1.5 });
  assert.ok("event" in parseNewEvent(event));
  assert.ok(event.type === "tool.finished");
  assert.ok(Buffer.byteLength(event.data.content) <= RESULT_BYTES);
  assert.deepEqual([event.data.bytes, event.data.truncated], [900_000, true]);
});
