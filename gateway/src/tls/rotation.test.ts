import assert from "node:assert/strict";
import { test } from "node:test";
import { OVERLAP_MS, RENEWED_BEFORE_MS, decideBundle, decideSigner, isSuccessorDue } from "./rotation.ts";
import type { Generation } from "./rotation.ts";

const DAY_MS = 86_400_000;
const END = Date.parse("2036-01-01T00:00:00Z");
const at = (ms: number): Date => new Date(ms);
const first: Generation = { expiresAt: END, publishedAt: undefined };
const second = (publishedAt: number | undefined): Generation => ({ expiresAt: END + 3000 * DAY_MS, publishedAt });

test("a successor is made half a year before the end, and not earlier", () => {
  assert.equal(isSuccessorDue(first, at(END - RENEWED_BEFORE_MS - 1)), false);
  assert.equal(isSuccessorDue(first, at(END - RENEWED_BEFORE_MS)), true);
  assert.equal(isSuccessorDue(first, at(END + DAY_MS)), true);
  // What a serving certificate of the old one, made right before the new one signs, still needs.
  assert.ok(RENEWED_BEFORE_MS > OVERLAP_MS + 90 * DAY_MS);
});

test("the overlap is longer than any pod lives", () => {
  assert.ok(OVERLAP_MS > (604_800 + 60) * 1000);
});

test("the old one signs until the new one was published for longer than any pod lives", () => {
  const published = END - 170 * DAY_MS;
  assert.equal(decideSigner([first], at(0)), 0);
  assert.equal(decideSigner([first, second(undefined)], at(END - DAY_MS)), 0, "never published: nobody could trust it");
  assert.equal(decideSigner([first, second(published)], at(published + OVERLAP_MS - 1)), 0);
  assert.equal(decideSigner([first, second(published)], at(published + OVERLAP_MS)), 1);
});

test("an expired one never signs, even when the new one is not trusted everywhere yet", () => {
  assert.equal(decideSigner([first, second(undefined)], at(END)), 1);
  assert.equal(decideSigner([first, second(END - DAY_MS)], at(END)), 1);
  assert.equal(decideSigner([first], at(END)), -1);
});

test("both are published from the moment there are two until the old one has expired", () => {
  const both = [first, second(undefined)];
  assert.deepEqual(decideBundle(both, at(END - 1)), both);
  assert.deepEqual(decideBundle(both, at(END)), [both[1]]);
});
