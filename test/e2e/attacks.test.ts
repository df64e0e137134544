import assert from "node:assert/strict";
import { test } from "node:test";
import { describeJudged, describeSummary } from "../attacks/attack.ts";
import { ATTACKS, playAttacks } from "../attacks/suite.ts";

// The attack suite with a short race; `npm run test:attacks` has the long one.

const BURST = 20;

test("every attack is refused and its control succeeds, the sink sees nobody else, and no planted secret is found", async (t) => {
  const { all, aftermath } = await playAttacks({ attacks: ATTACKS, burst: BURST });
  for (const judged of all) t.diagnostic(describeJudged(judged));
  t.diagnostic(describeSummary(all, aftermath));
  assert.deepEqual(all.filter(({ verdict }) => verdict !== "refused" && verdict !== "skipped").map(describeJudged), []);
  assert.deepEqual(aftermath.strayArrivals ?? [], []);
  assert.deepEqual(aftermath.findings, []);
});
