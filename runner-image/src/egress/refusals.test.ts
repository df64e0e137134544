import assert from "node:assert/strict";
import { test } from "node:test";
import { createRefusals } from "./refusals.ts";

test("who listens hears each sentence once, from then until it is asked", () => {
  const refusals = createRefusals();
  refusals.add("Paddock refused a:443.");
  const first = refusals.listen();
  const second = refusals.listen();
  for (const host of ["b", "b", "c"]) refusals.add(`Paddock refused ${host}:443.`);
  assert.equal(first(), "Paddock refused b:443.\nPaddock refused c:443.");
  refusals.add("Paddock refused d:443.");
  assert.equal(second(), "Paddock refused b:443.\nPaddock refused c:443.\nPaddock refused d:443.");
  assert.equal(refusals.listen()(), undefined);
});

test("a flood of refusals fits into a note", () => {
  const refusals = createRefusals();
  const heard = refusals.listen();
  for (let index = 0; index < 1000; index += 1) refusals.add(`Paddock refused ${index}.${"x".repeat(5000)}`);
  const note = heard() ?? "";
  assert.match(note, /997 more connections and requests were refused\.$/);
  assert.ok(note.length < 1600, `${note.length}`);
});
