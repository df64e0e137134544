import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { attachPayload, detachPayload, payloadRef } from "./blobs.ts";
import { canonicalJson, sha256 } from "./canonical.ts";
import type { LogEvent, NewEvent } from "./events.ts";
import { parseNewEvent } from "./events.ts";
import { BLOB_LIMITS, LOG_LIMITS } from "./limits.ts";
import { ALL_TYPES, sample } from "./testdata/samples.ts";

const long = (bytes: number): string => "x".repeat(bytes);
const asStored = (event: NewEvent): LogEvent => event as unknown as LogEvent;

/** Texts around the border, of characters of one to four bytes, whole and broken. */
const text = fc.tuple(fc.constantFrom("x", "ö", "√", "🦔", "\ud83e", "\n", '"'), fc.constantFrom(0, 1, 4096, 8192, 16_384, 16_385, 40_000)).map(([character, count]) => character.repeat(count).toWellFormed());
const large: fc.Arbitrary<NewEvent> = fc.oneof(
  text.map((content) => sample("input.received", { content })),
  text.map((content) => sample("tool.finished", { content })),
  text.map((summary) => sample("context.compacted", { summary })),
  text.map((answer) => sample("run.finished", { text: answer })),
  text.map((command) => sample("tool.decided", { arguments: { command, nested: { list: [1, null, command.slice(0, 10)] } } })),
  fc.tuple(text, text).map(([said, args]) => sample("model.responded", { message: { text: said, toolCalls: [{ id: "c", name: "bash", arguments: args }], extra: { reasoning: said } } })),
);

describe("a payload beside its event", () => {
  it("comes back as it was sent, and its event fits", () => {
    fc.assert(fc.property(large, (event) => {
      const { event: stored, blob } = detachPayload(event);
      assert.ok("event" in parseNewEvent(stored), "what is stored is an event");
      assert.ok(Buffer.byteLength(canonicalJson(stored.data)) < LOG_LIMITS.eventBytes);
      if (blob === undefined) {
        assert.deepEqual(stored, event);
        return;
      }
      assert.deepEqual(payloadRef(asStored(stored)), blob.ref);
      assert.deepEqual([blob.ref.sha256, blob.ref.bytes], [sha256(blob.text), Buffer.byteLength(blob.text)]);
      const { blob: _, ...data } = attachPayload(asStored(stored), blob.text).data as { blob?: unknown };
      assert.deepEqual(data, event.data);
    }), { numRuns: 200 });
  });

  it("is taken out from one byte over the limit", () => {
    assert.equal(detachPayload(sample("tool.finished", { content: long(BLOB_LIMITS.inlineBytes) })).blob, undefined);
    const { event, blob } = detachPayload(sample("tool.finished", { content: long(BLOB_LIMITS.inlineBytes + 1) }));
    assert.equal(blob?.ref.bytes, BLOB_LIMITS.inlineBytes + 1);
    assert.equal((event.data as { content: string }).content, long(BLOB_LIMITS.startBytes));
  });

  it("leaves an event that fits when a binary file was printed: a NUL takes six bytes of JSON", () => {
    const content = "\0".repeat(BLOB_LIMITS.inlineBytes);
    const { event, blob } = detachPayload(sample("tool.finished", { content, note: "\u0001".repeat(2048) }));
    assert.ok(Buffer.byteLength(canonicalJson(event.data)) < LOG_LIMITS.eventBytes);
    assert.equal(blob?.text, content);
  });

  it("leaves an event that fits when an answer has the most calls, of the longest names and ids", () => {
    for (const character of ["x", "\"", "\u0001", "√"]) {
      const toolCalls = Array.from({ length: 128 }, () => ({ id: character.repeat(512), name: character.repeat(256), arguments: "{}" }));
      const message = { text: "\0".repeat(20_000), toolCalls };
      const sent = sample("model.responded", { message });
      const { event, blob } = detachPayload(sent);
      assert.ok(Buffer.byteLength(canonicalJson(event.data)) < LOG_LIMITS.eventBytes, JSON.stringify(character));
      assert.deepEqual((attachPayload(asStored(event), blob?.text ?? "").data as { message?: unknown }).message, message);
    }
  });

  it("leaves the names of an answer's calls, and no half of a character", () => {
    const message = { text: "🦔".repeat(9000), toolCalls: [{ id: "c", name: "bash", arguments: long(30) }] };
    const { event, blob } = detachPayload(sample("model.responded", { message }));
    assert.deepEqual((event.data as { message: unknown }).message, { text: "🦔".repeat(512), toolCalls: [{ id: "c", name: "bash", arguments: "" }] });
    assert.equal(blob?.ref.mediaType, "application/json");
  });

  it("is nobody's to claim: a reference that an appender sends is dropped", () => {
    const blob = { sha256: sha256("of another session"), bytes: 18, mediaType: "text/plain" } as const;
    assert.deepEqual(detachPayload(sample("tool.finished", { blob })), { event: sample("tool.finished") });
  });

  it("is known for no type whose event is small", () => {
    for (const type of ALL_TYPES) assert.deepEqual(detachPayload(sample(type)), { event: sample(type) }, type);
    assert.equal(payloadRef(asStored(sample("tool.started"))), undefined);
    const plain = asStored(sample("tool.finished"));
    assert.equal(attachPayload(plain, "other"), plain);
  });
});
