import { describeFound, placeOfLog, scanCluster } from "../canary/places.ts";
import { list } from "../e2e/kubectl.ts";
import { readLog, userToken } from "../e2e/people.ts";
import { inLanes } from "../steps.ts";
import { AREAS, judge, judgeError } from "./attack.ts";
import type { Aftermath, Attack, Judged } from "./attack.ts";
import { approvalAttacks } from "./areas/approvals.ts";
import { credentialAttacks } from "./areas/credentials.ts";
import { deputyAttacks } from "./areas/deputy.ts";
import { escapeAttacks } from "./areas/escape.ts";
import { exhaustionAttacks } from "./areas/exhaustion.ts";
import { gatewayAttacks } from "./areas/gateway.ts";
import { harnessAttacks } from "./areas/harness.ts";
import { networkAttacks } from "./areas/network.ts";
import { proxyAttacks } from "./areas/proxy.ts";
import { raceAttacks } from "./areas/races.ts";
import { toolServerAttacks } from "./areas/tool-server.ts";
import { textAttacks } from "./areas/text.ts";
import { openStage } from "./stage.ts";
import type { Stage } from "./stage.ts";

/** In the order in which they are played. Races are last: while they run, nobody else may send a packet to the sink. */
export const ATTACKS: readonly Attack[] = [
  ...networkAttacks, ...toolServerAttacks, ...escapeAttacks, ...credentialAttacks, ...proxyAttacks, ...deputyAttacks, ...approvalAttacks, ...gatewayAttacks, ...textAttacks, ...harnessAttacks, ...exhaustionAttacks, ...raceAttacks,
];

/** Sandboxes of the full burst. */
export const FULL_BURST = 200;
/** Several attacks wait for the same session, so many of them are cheap. */
const LANES = 8;

/** Attacks of areas ("proxy", "gateway,text"), or whose name holds the text; throws when there is none. Pure. */
export function pick(only: string | undefined): readonly Attack[] {
  if (only === undefined) return ATTACKS;
  const areas = only.split(",");
  const areAreas = areas.every((one) => AREAS.some((area) => area === one));
  const picked = ATTACKS.filter(({ area, name }) => (areAreas ? areas.includes(area) : name.includes(only)));
  if (picked.length === 0) throw new Error(`--only is ${JSON.stringify(only)}: say one of ${AREAS.join(", ")}, or a part of an attack's name (--list shows them)`);
  return picked;
}

async function play(stage: Stage, attack: Attack): Promise<Judged> {
  if (attack.needs !== undefined && stage.sink === undefined) return { attack, verdict: "skipped", attempt: `this cluster lacks ${attack.needs}`, control: "", controlled: false };
  try {
    // The attempt first: what a control leaves behind must not help it.
    const attempt = await attack.attempt(stage);
    return judge(attack, attempt, await attack.control(stage));
  } catch (error) {
    return judgeError(attack, error);
  }
}

export interface Played {
  readonly all: readonly Judged[];
  readonly aftermath: Aftermath;
}

interface Options {
  readonly attacks: readonly Attack[];
  readonly burst: number;
  /** Called as each attack is judged. */
  onJudged?(judged: Judged): void;
}

/** Plays the attacks in namespaces of their own on the cluster that is up, then asks the sink who came, and looks for the planted secrets everywhere. */
export async function playAttacks({ attacks, burst, onJudged = () => undefined }: Options): Promise<Played> {
  const stage = await openStage({ burst });
  try {
    const all: Judged[] = [];
    const run = async (attack: Attack): Promise<void> => {
      const judged = await play(stage, attack);
      all.push(judged);
      onJudged(judged);
    };
    await inLanes(attacks.filter(({ area }) => area !== "races"), LANES, run);
    await inLanes(attacks.filter(({ area }) => area === "races"), 1, run);
    return { all, aftermath: await lookAfter(stage) };
  } finally {
    await stage.close();
  }
}

async function lookAfter(stage: Stage): Promise<Aftermath> {
  const { namespace, other, canaries, sink, controls, gateway } = stage;
  const strayArrivals = sink?.seen().filter(({ from }) => !controls.has(from)).map(({ protocol, from, at }) => `${protocol} from ${from} ${at === "" ? "" : `to ${at}`}`);
  const reader = await userToken(namespace, "reader");
  const sessions = await list<{ metadata: { name: string }; status?: { startTime?: string } }>("sessions", namespace);
  // One that never started has no log.
  const logs = await Promise.all(sessions.filter(({ status }) => status?.startTime !== undefined).map(async ({ metadata: { name } }) => placeOfLog(name, await readLog(gateway, namespace, name, reader))));
  const { found } = await scanCluster({ canaries, namespaces: [namespace, other], more: logs });
  return { strayArrivals, findings: found.map(describeFound) };
}
