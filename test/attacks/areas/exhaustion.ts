import type { LogEventOf } from "@paddock/api/log/events";
import { get } from "../../e2e/kubectl.ts";
import type { Pod } from "../../e2e/lab.ts";
import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runOrdinary } from "../program.ts";
import type { Played, Stage } from "../stage.ts";
import { held } from "./network.ts";

// Too much of something. Each amount is bounded by the program itself and harmless to the machine: a few hundred mebibytes, a few hundred processes.

interface Excess {
  readonly name: string;
  readonly kind: "memory" | "disk" | "processes" | "output" | "time";
  /** Mebibytes, processes, seconds. */
  readonly amount: number;
  readonly path?: string;
  readonly wait?: number;
  readonly prompt?: "obeyQuickly";
}

const EXCESSES: readonly Excess[] = [
  { name: "more memory than the limit", kind: "memory", amount: 400 },
  { name: "more in the workspace than its size", kind: "disk", amount: 150, path: "/workspace", wait: 90 },
  { name: "more in /tmp than its size", kind: "disk", amount: 400, path: "/tmp", wait: 90 },
  { name: "all processes that the pod may have, kept", kind: "processes", amount: 700, wait: 20 },
  { name: "a flood of output", kind: "output", amount: 24 },
  { name: "a command that does not end", kind: "time", amount: 25, prompt: "obeyQuickly" },
];

const slug = ({ kind, path = "" }: Excess): string => `exhaust-${kind}${path.replace("/", "-")}`;
const MOST_CONTENT = 64 * 1024;

/** Whether the neighbour on the node is what it was. */
async function neighbour(stage: Stage): Promise<string | undefined> {
  const pods = await held(stage, "standard");
  const now = await Promise.all([pods.runner, pods.sandbox].map(({ metadata }) => get<Pod>("pod", metadata.name, stage.namespace)));
  const gone = now.find((pod, index) => pod?.status.phase !== "Running" || pod.metadata.uid !== [pods.runner, pods.sandbox][index]?.metadata.uid);
  return now.every((pod) => pod?.status.phase === "Running") && gone === undefined ? undefined : "the pods of another session were hit";
}

function lossOf({ events }: Played): string | undefined {
  return events.find((event): event is LogEventOf<"sandbox.lost"> => event.type === "sandbox.lost")?.data.reason;
}

function describeEnd(excess: Excess, played: Played): Outcome {
  if (excess.kind === "output") return { succeeded: played.text.length > MOST_CONTENT, how: `a result of ${played.text.length} characters` };
  const loss = lossOf(played);
  if (loss !== undefined) return { succeeded: false, how: `sandbox.lost: ${loss}` };
  const last = played.events.findLast((event): event is LogEventOf<"tool.finished"> => event.type === "tool.finished")?.data;
  return { succeeded: played.result?.got === excess.amount, how: `the call ended as ${last?.status ?? "nothing"}: ${played.text.slice(-160)}` };
}

function exhaust(excess: Excess): Attack {
  const { name, kind, amount, path, wait, prompt } = excess;
  const program = (within: string | undefined) => loadProgram("exhaust.py", { kind, amount, wait, path: within });
  return {
    area: "exhaustion", name,
    attempt: async (stage) => {
      await held(stage, "standard");
      const played = await stage.hijack({ name: slug(excess), environment: "narrow", program: program(path), ...(prompt === undefined ? {} : { prompt }) });
      const hit = await neighbour(stage);
      return hit === undefined ? describeEnd(excess, played) : { succeeded: true, how: hit };
    },
    control: async (stage) => {
      const volumes = path === undefined ? [] : [{ name: "much", emptyDir: {} }];
      const mounts = path === undefined ? [] : [{ name: "much", mountPath: "/much" }];
      const { result, text } = await runOrdinary(stage, { name: `${slug(excess)}-control`, program: loadProgram("exhaust.py", { kind, amount, wait: Math.min(wait ?? 0, 4), path: "/much" }), mounts, volumes });
      const all = result.got === amount && (kind !== "output" || text.length > MOST_CONTENT);
      return { succeeded: all, how: `got ${String(result.got)} where nothing limits it` };
    },
  };
}

export const exhaustionAttacks: readonly Attack[] = EXCESSES.map(exhaust);
