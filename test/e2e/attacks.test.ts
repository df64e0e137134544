import assert from "node:assert/strict";
import { test } from "node:test";
import { describeJudged, describeSummary } from "../attacks/attack.ts";
import { ATTACKS, playAttacks } from "../attacks/suite.ts";

// What the sandbox's network refuses, with a short race; `npm run test:attacks` has the whole suite and the long race.

const BURST = 20;
const AREAS: readonly string[] = ["network", "races"];

test("every attack is refused and its control succeeds, the sink sees nobody else, and no planted secret is found", async (t) => {
  const { all, aftermath } = await playAttacks({ attacks: ATTACKS.filter(({ area }) => AREAS.includes(area)), burst: BURST });
  for (const judged of all) t.diagnostic(describeJudged(judged));
  t.diagnostic(describeSummary(all, aftermath));
  assert.deepEqual(all.filter(({ verdict }) => verdict !== "refused" && verdict !== "skipped").map(describeJudged), []);
  assert.deepEqual(aftermath.strayArrivals ?? [], []);
  assert.deepEqual(aftermath.findings, []);
});
