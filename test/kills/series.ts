import { inLanes } from "../steps.ts";
import { openHouse } from "./house.ts";
import { describeKill, planKills, planRandom } from "./moments.ts";
import type { Baseline, Kill, Victim } from "./moments.ts";
import { openStage } from "./play.ts";
import type { Run, Stage } from "./play.ts";
import { furnish, script } from "./story.ts";
import { judge } from "./verdict.ts";
import type { Fault } from "./verdict.ts";

/** Every boundary for these victims, one of `share` of them, then random kills; a plan for each series, by its name. Pure. */
export function planAll(baseline: Baseline, { victims, share, random, seed }: { readonly victims: readonly Victim[]; readonly share: number; readonly random: number; readonly seed: number }): readonly (readonly [name: string, kills: readonly Kill[]])[] {
  const boundaries = victims.map((victim) => [victim, planKills(baseline, victim).filter((_, index) => index % share === 0)] as const);
  return random === 0 ? boundaries : [...boundaries, ["random", planRandom(baseline, { count: random, seed })]];
}

export const VICTIMS: readonly Victim[] = ["runner", "sandbox", "operator", "gateway"];

/** Sessions side by side, on two cores. */
export const LANES = 4;

export interface Judged {
  readonly run: Run;
  readonly faults: readonly Fault[];
}

/** Plays in a house of its own; `work` gets the stage. */
async function withStage<T>(work: (stage: Stage) => Promise<T>): Promise<T> {
  const house = await openHouse(script);
  try {
    furnish(house);
    return await work(openStage(house));
  } finally {
    await house.close();
  }
}

interface SeriesOptions {
  /** A session with each of these kills; undefined is one without. */
  readonly kills: readonly (Kill | undefined)[];
  /** Called as each session ends. */
  onRun?(judged: Judged): void;
}

/** Plays the session once for each kill, in one house and several side by side: each suffers what befalls operator and gateway for the others' sake, too. */
export async function playSeries(name: string, { kills, onRun = () => undefined }: SeriesOptions): Promise<readonly Judged[]> {
  const all: Judged[] = [];
  await withStage(async (stage) => {
    await inLanes([...kills.entries()], LANES, async ([index, kill]) => {
      const run = await stage.play(`${name}${index + 1}`, kill === undefined ? [] : [kill]);
      const judged = { run, faults: judge(run) };
      all.push(judged);
      onRun(judged);
    });
  });
  return all;
}

export interface Summary {
  readonly sessions: number;
  readonly kills: number;
  /** Kills whose moment or victim did not come up in their session: others had changed its course. */
  readonly missed: number;
  readonly indeterminate: number;
  readonly counts: Readonly<Record<Fault["kind"], number>>;
}

export function summarise(all: readonly Judged[]): Summary {
  const counts = { "ran again": 0, "Once twice": 0, lost: 0, stuck: 0, money: 0, chain: 0, answer: 0 };
  for (const { faults } of all) for (const { kind } of faults) counts[kind] += 1;
  const struck = all.flatMap(({ run }) => run.struck);
  const indeterminate = all.flatMap(({ run }) => run.log).filter((event) => event.type === "tool.finished" && event.data.status === "indeterminate").length;
  return { sessions: all.length, kills: struck.filter(Boolean).length, missed: struck.filter((one) => !one).length, indeterminate, counts };
}

/** The closing line. */
export function describeSummary({ sessions, kills, missed, indeterminate, counts }: Summary): string {
  const wrong = counts.money + counts.chain + counts.answer;
  return `${sessions} sessions · ${kills} kills (${missed} found nothing to kill) · recorded calls run again ${counts["ran again"]} · Once effects twice ${counts["Once twice"]} · events lost ${counts.lost} · sessions stuck ${counts.stuck} · other faults ${wrong} · results not known ${indeterminate}`;
}

export function describeFaults({ run, faults }: Judged): string {
  const kills = run.kills.map((kill, index) => `${describeKill(kill)}${run.struck[index] === true ? "" : " (not struck)"}`).join(", ");
  return [`FAULT in ${run.name}, ${kills === "" ? "undisturbed" : kills}:`, ...faults.map(({ kind, text }) => `  ${kind}: ${text}`)].join("\n");
}
