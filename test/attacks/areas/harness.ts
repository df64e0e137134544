import type { LogEventOf } from "@paddock/api/log/events";
import { apply, buildEnvironment, buildSession, finished } from "../../e2e/lab.ts";
import { get } from "../../e2e/kubectl.ts";
import { readLog, userToken } from "../../e2e/people.ts";
import type { Pod } from "../../e2e/lab.ts";
import type { Session } from "@paddock/api/session";
import type { Attack, Outcome } from "../attack.ts";
import { ensureAttackImage } from "../image.ts";
import { PROMPTS } from "../stage.ts";
import type { Stage } from "../stage.ts";
import { held } from "./network.ts";

// A tool server in the attacker's hands: what it sends must end that call, and neither the runner nor anybody else.

type Answer = "garbage" | "huge" | "wrong" | "cut" | "honest";

interface Served {
  readonly session: Session;
  readonly status: string;
  readonly content: string;
}

async function serve(stage: Stage, answer: Answer): Promise<Served> {
  return stage.once(`hostile ${answer}`, async () => {
    await stage.once("hostile environment", async () => {
      const image = await ensureAttackImage("hostile", []);
      await apply(stage.namespace, buildEnvironment("hostile", { model: { apiKey: { secretKeyRef: { name: "scripted-model-key", key: "value" } } }, spec: { sandbox: { image } } }));
    });
    const name = `hostile-${answer}`;
    await apply(stage.namespace, buildSession(name, PROMPTS[answer], { environment: "hostile" }));
    const session = await finished(stage.namespace, name, 180);
    const events = await readLog(stage.gateway, stage.namespace, name, await userToken(stage.namespace, "reader"));
    const result = events.findLast((event): event is LogEventOf<"tool.finished"> => event.type === "tool.finished")?.data;
    return { session, status: result?.status ?? "none", content: result?.content ?? "" };
  });
}

const MOST_CONTENT = 64 * 1024;

/** It succeeded when the runner took it, died of it, or somebody else did. */
async function outcomeOf(stage: Stage, { session, status, content }: Served): Promise<Outcome> {
  const attempts = session.status?.runner?.attempts ?? 0;
  if (attempts !== 1) return { succeeded: true, how: `the runner had ${attempts} attempts` };
  const { runner } = await held(stage, "standard");
  if ((await get<Pod>("pod", runner.metadata.name, stage.namespace))?.status.phase !== "Running") return { succeeded: true, how: "the runner of another session is gone" };
  const isTaken = status === "ok" && (content.length > MOST_CONTENT || content.includes("polluted") || content === "");
  return { succeeded: isTaken, how: `the call ended as ${status}: ${content.slice(0, 120)}` };
}

const NAMES: Readonly<Record<Exclude<Answer, "honest">, string>> = {
  garbage: "bytes that are no answer", huge: "an answer of 192 MiB", wrong: "an answer with members that are none", cut: "an answer that breaks off",
};

export const harnessAttacks: readonly Attack[] = Object.entries(NAMES).map(([answer, name]) => ({
  area: "harness", name: `${name}, from a tool server in the attacker's hands`, needs: "the node",
  attempt: async (stage) => {
    await held(stage, "standard");
    return outcomeOf(stage, await serve(stage, answer as Answer));
  },
  // The same server with an answer in order: it is served and taken.
  control: async (stage) => {
    const { status, content } = await serve(stage, "honest");
    return { succeeded: status === "ok" && content.includes("honest"), how: `an answer in order is taken as ${status}` };
  },
}));
