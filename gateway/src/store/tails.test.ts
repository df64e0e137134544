import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogEvent } from "@paddock/api/log/events";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { event, startedEvent } from "../../../test/fakes/session.ts";
import { write } from "./testdata/cases-scene.ts";
import { createTails } from "./tails.ts";

function makeEvents(count: number): readonly LogEvent[] {
  const made = Array.from({ length: count }, (_, n) => (n % 2 === 0 ? startedEvent("p", n + 1) : event("session.cancelled", { reason: "" })));
  return write(EMPTY_STATE, made).events;
}

const seqs = (events: readonly LogEvent[] | undefined): readonly number[] | undefined => events?.map(({ seq }) => seq);

test("answers only what it holds whole", () => {
  const tails = createTails();
  const events = makeEvents(6);
  assert.equal(tails.read("a", { after: 0, limit: 10 }), undefined);
  tails.add("a", events.slice(2, 4), 100);
  tails.add("a", events.slice(4), 100);
  assert.equal(tails.read("a", { after: 1, limit: 10 }), undefined, "event 2 is not kept");
  assert.deepEqual(seqs(tails.read("a", { after: 2, limit: 10 })), [3, 4, 5, 6]);
  assert.deepEqual(seqs(tails.read("a", { after: 3, limit: 2 })), [4, 5]);
  assert.deepEqual(seqs(tails.read("a", { after: 2, limit: 10, types: ["session.cancelled"] })), [4, 6]);
  assert.deepEqual(seqs(tails.read("a", { after: 6, limit: 10 })), []);
  tails.delete("a");
  assert.equal(tails.read("a", { after: 6, limit: 10 }), undefined);
});

test("never holds a gap when it lets go of events", () => {
  const tails = createTails();
  const events = makeEvents(200);
  for (const [index, one] of events.entries()) {
    tails.add("a", [one], 10_000);
    const newest = index + 1;
    for (let after = 0; after <= newest; after += 1) {
      const read = seqs(tails.read("a", { after, limit: 1000 }));
      if (read !== undefined) assert.deepEqual(read, Array.from({ length: newest - after }, (_, n) => after + n + 1));
    }
    assert.deepEqual(seqs(tails.read("a", { after: index, limit: 1000 })), [newest]);
  }
});

test("what is too large to keep leaves nothing older behind", () => {
  const tails = createTails();
  const [first, second] = makeEvents(2);
  assert.ok(first !== undefined && second !== undefined);
  tails.add("a", [first], 10);
  tails.add("a", [second], 10_000_000);
  assert.equal(tails.read("a", { after: 0, limit: 10 }), undefined);
});
