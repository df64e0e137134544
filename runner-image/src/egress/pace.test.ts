import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createPacer } from "./pace.ts";

test("a burst waits for nothing, what comes on top waits its turn, and quiet makes a new burst", () => {
  const take = createPacer({ burst: 3, everyMs: 10 });
  assert.deepEqual([take(0), take(0), take(0)], [0, 0, 0]);
  assert.deepEqual([take(0), take(0)], [10, 20]);
  assert.equal(take(20), 10);
  assert.deepEqual([take(1000), take(1000), take(1000), take(1000)], [0, 0, 0, 10]);
});

test("however callers come, no more than the pace allows are let through", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40), { minLength: 1, maxLength: 200 }), (gaps) => {
      const take = createPacer({ burst: 5, everyMs: 10 });
      let nowMs = 0;
      const passed = gaps.map((gap) => (nowMs += gap) + take(nowMs)).sort((a, b) => a - b);
      // In any stretch of time: the burst, and one for each turn.
      for (const [place, atMs] of passed.entries()) {
        const later = passed[place + 15];
        assert.ok(later === undefined || later - atMs >= 90, `${atMs} ${String(later)}`);
      }
    }),
  );
});
