import type { Approval } from "@paddock/api/approval";
import { approvalName } from "@paddock/api/names";
import { get, list, must } from "../../e2e/kubectl.ts";
import { apply, buildSession, eventually } from "../../e2e/lab.ts";
import type { Pod } from "../../e2e/lab.ts";
import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runOrdinary } from "../program.ts";
import { NASTY, PROMPTS } from "../stage.ts";
import type { Stage } from "../stage.ts";
import { held } from "./network.ts";

// Text of a hijacked agent where people and their terminals read it: colours, text that runs backwards, forged lines, letters that nobody sees.

/** What no terminal may be sent by a stranger: controls but tab and line end, and what turns or hides text. */
const ACTIVE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/;
/** A line of its own that a log's reader would take for one. */
const FORGED = /^\{"level":50,"msg":"forged line"\}/m;

/** `isLog`: a line is an entry. An answer of several lines is one in status too, and kubectl prints it so. */
function outcomeOf(text: string, isLog: boolean): Outcome {
  const found = ACTIVE.exec(text)?.[0];
  if (found !== undefined) return { succeeded: true, how: `U+${(found.codePointAt(0) ?? 0).toString(16).padStart(4, "0")} as it is` };
  return isLog && FORGED.test(text) ? { succeeded: true, how: "a forged line" } : { succeeded: false, how: "escaped" };
}

/** Output that speaks, then status and tables of it. */
async function spoken(stage: Stage): Promise<string> {
  return stage.once("spoken", async () => {
    const { session } = await stage.hijack({ name: "speak", program: loadProgram("speak.py", { text: NASTY }) });
    return session;
  });
}

async function asked(stage: Stage): Promise<string> {
  return stage.once("sneaky approval", async () => {
    await apply(stage.namespace, buildSession("sneak", PROMPTS.sneak, { agent: "asks", environment: "standard", spec: { idleTimeoutSeconds: 0 } }));
    const name = approvalName("sneak", "root/1/0");
    await eventually("the sneaky Approval", () => get<Approval>("approval", name, stage.namespace));
    return name;
  });
}

interface Reading {
  readonly name: string;
  readonly isLog?: true;
  read(stage: Stage): Promise<string>;
}

async function logsOf(namespace: string, pods: (pod: Pod) => boolean): Promise<string> {
  const names = (await list<Pod>("pods", namespace)).filter((pod) => pod.status.phase !== "Pending" && pods(pod)).map(({ metadata }) => metadata.name);
  if (names.length === 0) throw new Error(`no pod of ${namespace} has a log to read`);
  return (await Promise.all(names.map((name) => must(["logs", name, "-n", namespace])))).join("\n");
}

const READINGS: readonly Reading[] = [
  { name: "kubectl get session", read: async (stage) => must(["get", "session", await spoken(stage), "-n", stage.namespace, "-o", "wide"]) },
  { name: "kubectl get approval", read: async (stage) => must(["get", "approval", await asked(stage), "-n", stage.namespace, "-o", "wide"]) },
  { name: "the line that approvers read", read: async (stage) => must(["get", "approval", await asked(stage), "-n", stage.namespace, "-o", "jsonpath={.spec.argumentsSummary}"]) },
  { name: "kubectl describe session", read: async (stage) => must(["describe", "session", await spoken(stage), "-n", stage.namespace]) },
  { name: "kubectl get events", read: async (stage) => { await asked(stage); return must(["get", "events", "-n", stage.namespace]); } },
  { name: "the operator's log", isLog: true, read: async (stage) => { await spoken(stage); return logsOf("paddock-system", ({ metadata }) => metadata.name.startsWith("paddock-operator")); } },
  { name: "the gateway's log", isLog: true, read: async (stage) => { await spoken(stage); return logsOf("paddock-system", ({ metadata }) => metadata.name.startsWith("paddock-gateway")); } },
  { name: "the sandboxes' own logs", isLog: true, read: async (stage) => { await spoken(stage); const { sandbox } = await held(stage, "standard"); return must(["logs", sandbox.metadata.name, "-n", stage.namespace]); } },
];

export const textAttacks: readonly Attack[] = READINGS.map(({ name, isLog = false, read }) => ({
  area: "text", name: `active text in ${name}`,
  attempt: async (stage) => outcomeOf(await read(stage), isLog),
  // A program of anybody's that prints the same: the terminal gets all of it.
  control: async (stage) => outcomeOf(await stage.once("spoken by a pod", async () => (await runOrdinary(stage, { name: "speak-ordinary", program: loadProgram("speak.py", { text: NASTY }) })).text), isLog),
}));
