// `npm run test:kills`: the long session with everything killed at every boundary, and at random. Options: `--only runner|sandbox|operator|gateway` (no random
// kills then, unless `--random` is given), `--random N`, `--seed S`, `--quick` a spread of all. Exits with 1 when a promise was broken.
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { describeError } from "../cluster/main.ts";
import { openProgress } from "../progress.ts";
import { planKills, planRandom } from "./moments.ts";
import type { Baseline, Kill, Victim } from "./moments.ts";
import { baselineOf } from "./play.ts";
import { describeFaults, describeSummary, playSeries, summarise } from "./series.ts";
import type { Judged } from "./series.ts";

const VICTIMS: readonly Victim[] = ["runner", "sandbox", "operator", "gateway"];
const LANES = 4;
/** Of all boundaries, in a quick run. */
const QUICK_SHARE = 8;
const TELL_EVERY = 20;

const { values } = parseArgs({ options: { only: { type: "string" }, random: { type: "string" }, seed: { type: "string" }, quick: { type: "boolean", default: false } } });
const progress = openProgress();

function victims(): readonly Victim[] {
  const { only } = values;
  if (only === undefined) return VICTIMS;
  const victim = VICTIMS.find((known) => known === only);
  if (victim === undefined) throw new Error(`--only is ${JSON.stringify(only)}: say ${VICTIMS.join(", ")}`);
  return [victim];
}

function count(name: "random" | "seed", fallback: number): number {
  const number = Number(values[name] ?? fallback);
  if (!Number.isInteger(number) || number < 0) throw new Error(`--${name} is ${JSON.stringify(values[name])}: say a whole number`);
  return number;
}

async function series(name: string, plan: readonly (readonly Kill[])[]): Promise<readonly Judged[]> {
  let done = 0;
  progress(`${name}: ${plan.length} sessions, ${LANES} side by side`);
  return playSeries(name.slice(0, 2), {
    plan, lanes: LANES,
    onRun: (judged) => {
      done += 1;
      if (judged.faults.length > 0) console.log(describeFaults(judged));
      if (done % TELL_EVERY === 0) progress(`${name}: ${done} of ${plan.length}`);
    },
  });
}

async function main(): Promise<boolean> {
  const chosen = victims();
  const seed = count("seed", randomInt(2 ** 31));
  const random = count("random", values.only !== undefined ? 0 : values.quick ? 16 : 200);
  const [first] = await series("baseline", [[]]);
  if (first === undefined || first.faults.length > 0) return false;
  const baseline: Baseline = baselineOf(first.run);
  progress(`baseline: ${baseline.log.length} events in ${(baseline.milliseconds / 1000).toFixed(1)} s`);
  const all: Judged[] = [first];
  for (const victim of chosen) {
    const kills = planKills(baseline, victim).filter((_, index) => !values.quick || index % QUICK_SHARE === 0);
    all.push(...(await series(victim, kills.map((kill) => [kill]))));
  }
  if (random > 0) progress(`random kills by --seed ${seed} --random ${random}`);
  all.push(...(await series("random", planRandom(baseline, { count: random, seed }).map((kill) => [kill]))));
  const summary = summarise(all);
  progress(`${baseline.log.length} boundaries · ${describeSummary(summary)}`);
  return Object.values(summary.counts).every((number) => number === 0);
}

process.exitCode = await main().then((isGood) => (isGood ? 0 : 1), (error: unknown) => {
  console.error(describeError(error));
  return 1;
});
