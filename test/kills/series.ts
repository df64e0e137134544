import { inLanes } from "../steps.ts";
import { openHouse } from "./house.ts";
import { describeKill } from "./moments.ts";
import type { Kill } from "./moments.ts";
import { openStage } from "./play.ts";
import type { Run, Stage } from "./play.ts";
import { furnish, script } from "./story.ts";
import { judge } from "./verdict.ts";
import type { Fault } from "./verdict.ts";

export interface Judged {
  readonly run: Run;
  readonly faults: readonly Fault[];
}

/** Plays in a house of its own; `work` gets the stage. */
export async function withStage<T>(work: (stage: Stage) => Promise<T>): Promise<T> {
  const house = await openHouse(script);
  try {
    furnish(house);
    return await work(openStage(house));
  } finally {
    await house.close();
  }
}

export interface SeriesOptions {
  /** Kills of one session each. */
  readonly plan: readonly (readonly Kill[])[];
  /** Sessions side by side; each suffers what befalls operator and gateway for the others' sake, too. */
  readonly lanes: number;
  /** Called as each session ends. */
  onRun(judged: Judged): void;
}

/** Plays the session once for each member of the plan, in one house. */
export async function playSeries(prefix: string, { plan, lanes, onRun }: SeriesOptions): Promise<readonly Judged[]> {
  const all: Judged[] = [];
  await withStage(async (stage) => {
    await inLanes([...plan.entries()], lanes, async ([index, kills]) => {
      const run = await stage.play(`${prefix}${index + 1}`, kills);
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
