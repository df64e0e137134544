import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { boundEvents, requestedEvent, respondedEvent, startedEvent } from "../../test/fakes/session.ts";
import { BUNDLE, stored, viewOf } from "./testdata/view.ts";
import { createTranscript } from "./transcript.ts";

const EVENTS = [startedEvent("p1", 1), requestedEvent(1, 1, 3), respondedEvent(1, 1)];
const LOG = stored([...boundEvents(BUNDLE), ...EVENTS]);

test("stream and replies may overlap and come in any order: the view is the log", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...LOG, ...LOG], { minLength: LOG.length * 2 }), (mixed) => {
      const transcript = createTranscript(BUNDLE, () => undefined);
      for (const event of mixed) transcript.take([event]);
      assert.deepEqual(transcript.view(), viewOf(EVENTS));
    }),
  );
});

test("whoever waits for an event is told when everything before it is there too", async () => {
  let changes = 0;
  const transcript = createTranscript(BUNDLE, () => (changes += 1));
  const order: string[] = [];
  const reached = transcript.reached(3).then(() => order.push("reached"));
  transcript.take(LOG.slice(2, 3));
  await Promise.resolve();
  order.push("taken");
  transcript.take(LOG.slice(0, 2));
  await reached;
  assert.deepEqual(order, ["taken", "reached"]);
  assert.equal(changes, 1);
});
