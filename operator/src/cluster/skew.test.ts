import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type SkewRange, nextSkew, serverClock, skewMsOf } from "./skew.ts";

/** What a client whose clock is `skew` ahead sees of an answer that was made at `serverMs`. */
function sampleAt(serverMs: number, skew: number, { before = 5, after = 5 } = {}) {
  return { dateMs: Math.floor(serverMs / 1000) * 1000, sentMs: serverMs + skew - before, receivedMs: serverMs + skew + after, atMs: serverMs };
}

test("clocks that agree give 0, however the seconds fall", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(10_000_000), { minLength: 1 }), (times) => {
      const range = times.toSorted((a, b) => a - b).reduce<SkewRange | undefined>((known, at) => nextSkew(known, sampleAt(at, 0)), undefined);
      assert.equal(skewMsOf(range), 0);
    }),
  );
});

test("the truth stays in the range, and a range is never wider than one answer allows", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(10_000_000), { minLength: 1 }), fc.integer({ min: -100_000, max: 100_000 }), (times, skew) => {
      const range = times.toSorted((a, b) => a - b).reduce<SkewRange | undefined>((known, at) => nextSkew(known, sampleAt(at, skew)), undefined);
      assert.ok(range !== undefined && range.low <= skew && skew <= range.high && range.high - range.low <= 1010);
    }),
  );
});

test("answers at different fractions of a second tell the skew to a few milliseconds", () => {
  const times = Array.from({ length: 100 }, (_, index) => index * 1010);
  const range = times.reduce<SkewRange | undefined>((known, at) => nextSkew(known, sampleAt(at, 7_300)), undefined);
  assert.ok(Math.abs(skewMsOf(range) - 7_300) < 50);
});

test("a clock that was set is believed from the next answer on", () => {
  const agreed = nextSkew(undefined, sampleAt(1_500, 0));
  assert.ok(Math.abs(skewMsOf(nextSkew(agreed, sampleAt(2_500, 60_000))) - 60_000) <= 505);
});

test("small differences leave the clock alone, larger ones are taken off", () => {
  const near = (skew: number): number => serverClock(() => skew)().getTime() - Date.now();
  assert.ok(Math.abs(near(1_900)) < 100);
  assert.ok(Math.abs(near(10_000) + 10_000) < 100);
});
