// `npm run test:attacks`: everything a hijacked agent, a curious tenant and a lying pod can try, on the cluster that is up (`npm run cluster:up`). One line
// per attack, then the count. Options: `-- --only AREA,…` or a part of a name, `--burst N` sandboxes for the race (200), `--list`. Exits with 1 when one
// succeeded, when a control did not, when the sink saw anybody else, or when a planted secret was found somewhere.
//
// To add an attack, write a value {area, name, attempt, control} into the file of its area in `areas/` and put it into that file's list; `suite.ts` knows
// the lists. `attempt` goes against Paddock as it is; `control` is the same with the one control off that is to refuse it (an ordinary pod, a user with the
// right, no proxy between), and must succeed, or the attack counts as failed. Both tell what they saw in a few words. What runs in a sandbox is a program in
// `programs/` that ends with `RESULT {json}`: `stage.hijack` has an agent run it because a file told it to, `runOrdinary` runs the same in a pod of nobody's,
// `runInside` in a pod that is there. Work that several attacks share goes through `stage.once`. Nothing may be sent to an address that the sink or a pod of
// the tests does not own; loops are bounded; a program is never run on the machine itself.
import { parseArgs } from "node:util";
import { describeError } from "../cluster/main.ts";
import { openProgress } from "../progress.ts";
import { describeJudged, describeSummary, isGood } from "./attack.ts";
import { ATTACKS, FULL_BURST, pick, playAttacks } from "./suite.ts";

const { values } = parseArgs({ options: { only: { type: "string" }, burst: { type: "string" }, list: { type: "boolean", default: false } } });

function burstOf(text: string | undefined): number {
  const number = Number(text ?? FULL_BURST);
  if (!Number.isInteger(number) || number < 1 || number > 1000) throw new Error(`--burst is ${JSON.stringify(text)}: say a whole number from 1 to 1000`);
  return number;
}

async function main(): Promise<boolean> {
  if (values.list) {
    for (const { area, name } of ATTACKS) console.log(`${area.padEnd(12)} ${name}`);
    console.log(`${ATTACKS.length} attacks`);
    return true;
  }
  const [attacks, burst] = [pick(values.only), burstOf(values.burst)];
  const progress = openProgress();
  progress(`${attacks.length} attacks, ${burst} sandboxes in the race`);
  const { all, aftermath } = await playAttacks({ attacks, burst, onJudged: (judged) => console.log(describeJudged(judged)) });
  for (const line of [...(aftermath.strayArrivals ?? []).map((arrival) => `SINK ${arrival}`), ...(aftermath.findings ?? []).map((finding) => `SECRET ${finding}`)]) console.log(line);
  console.log(describeSummary(all, aftermath));
  return isGood(all, aftermath);
}

process.exitCode = await main().then((good) => (good ? 0 : 1), (error: unknown) => {
  console.error(describeError(error));
  return 1;
});
