import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { before, test } from "node:test";
import { baselineOf } from "../kills/play.ts";
import { VICTIMS, describeFaults, describeSummary, planAll, playSeries, summarise } from "../kills/series.ts";
import type { Baseline, Kill } from "../kills/moments.ts";
import type { Judged } from "../kills/series.ts";

// The long session with a spread of its boundaries struck; all of them are `npm run test:kills`.

/** One of so many boundaries. */
const SHARE = 12;
const RANDOM = 8;
const seed = randomInt(2 ** 31);

let baseline: Baseline;
before(async () => {
  const played = await playSeries("baseline", { kills: [undefined] });
  assertGood(played);
  baseline = baselineOf((played[0] as Judged).run);
});

function assertGood(played: readonly Judged[]): void {
  const faulty = played.filter(({ faults }) => faults.length > 0);
  assert.equal(faulty.map(describeFaults).join("\n"), "", describeSummary(summarise(played)));
}

function killsOf(name: string): readonly Kill[] {
  const plans = new Map(planAll(baseline, { victims: VICTIMS, share: SHARE, random: RANDOM, seed }));
  const kills = plans.get(name) ?? [];
  assert.ok(kills.length > 1, `${kills.length} kills`);
  return kills;
}

for (const victim of VICTIMS) {
  test(`the ${victim} is killed at boundaries of the long session: nothing runs twice, nothing is lost, nobody is stuck`, async () => {
    const played = await playSeries(victim, { kills: killsOf(victim) });
    assertGood(played);
    assert.ok(summarise(played).kills > 0);
  });
}

test(`anything is killed at any time by seed ${seed}: nothing runs twice, nothing is lost, nobody is stuck`, async () => {
  assertGood(await playSeries("random", { kills: killsOf("random") }));
});
