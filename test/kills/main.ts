// `npm run test:kills`: the long session with everything killed at every boundary, and at random. Options: `--only runner|sandbox|operator|gateway` (no random
// kills then, unless `--random` is given), `--random N`, `--seed S`, `--quick` a spread of all. Exits with 1 when a promise was broken.
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { describeError } from "../cluster/main.ts";
import { openProgress } from "../progress.ts";
import { describeKill } from "./moments.ts";
import type { Kill, Victim } from "./moments.ts";
import { baselineOf } from "./play.ts";
import { LANES, VICTIMS, describeFaults, describeSummary, planAll, playSeries, summarise } from "./series.ts";
import type { Judged } from "./series.ts";

/** One of so many boundaries, in a quick run. */
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

async function series(name: string, kills: readonly (Kill | undefined)[]): Promise<readonly Judged[]> {
  let done = 0;
  progress(`${name}: ${kills.length} sessions, ${Math.min(LANES, kills.length)} side by side`);
  const onRun = (judged: Judged): void => {
    done += 1;
    if (judged.faults.length > 0) console.log(describeFaults(judged));
    if (done % TELL_EVERY === 0) progress(`${name}: ${done} of ${kills.length}`);
  };
  const all = await playSeries(name, { kills, onRun });
  const missed = all.flatMap(({ run }) => run.kills.filter((_, index) => run.struck[index] !== true));
  if (missed.length > 0) progress(`${name}: nothing was there to kill for ${missed.map(describeKill).join(", ")}`);
  return all;
}

async function main(): Promise<boolean> {
  const options = {
    victims: victims(),
    share: values.quick ? QUICK_SHARE : 1,
    seed: count("seed", randomInt(2 ** 31)),
    random: count("random", values.only !== undefined ? 0 : values.quick ? 16 : 200),
  };
  const [first] = await series("baseline", [undefined]);
  if (first === undefined || first.faults.length > 0) return false;
  const baseline = baselineOf(first.run);
  progress(`baseline: ${baseline.log.length} events in ${(baseline.milliseconds / 1000).toFixed(1)} s; random kills by --seed ${options.seed} --random ${options.random}`);
  const all: Judged[] = [first];
  for (const [name, kills] of planAll(baseline, options)) all.push(...(await series(name, kills)));
  const summary = summarise(all);
  progress(`${baseline.log.length} boundaries · ${describeSummary(summary)}`);
  return Object.values(summary.counts).every((number) => number === 0);
}

process.exitCode = await main().then((isGood) => (isGood ? 0 : 1), (error: unknown) => {
  console.error(describeError(error));
  return 1;
});
