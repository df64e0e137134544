import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EventType, LogEvent, LogEventOf } from "@paddock/api/log/events";
import { approvalName } from "@paddock/api/names";
import type { Reply } from "../fakes/client.ts";
import { NAMESPACE, until } from "./house.ts";
import type { House } from "./house.ts";
import type { Component, PodProcess } from "./kubelet.ts";
import type { Asked, ScriptedAnswer } from "./model.ts";
import type { Question } from "./processes/runner.ts";

// Short sessions whose model says what their prompts tell it to, for races that are set up by hand.

/** The model of such sessions: the prompt holds its answers, and after the last one it is done. */
export function scriptOfPrompt(step: number, prompt: string): ScriptedAnswer {
  const { steps } = JSON.parse(prompt) as { readonly steps: readonly ScriptedAnswer[] };
  return steps[step] ?? { text: DONE };
}

export const DONE = "Done.";

export interface Scene {
  readonly house: House;
  readonly name: string;
  readonly uid: string;
  log(): Promise<readonly LogEvent[]>;
  of<T extends EventType>(type: T): Promise<readonly LogEventOf<T>[]>;
  /** Resolves with the first event that fits; looks again and again. */
  seen<T extends EventType>(type: T, fits?: (event: LogEventOf<T>) => boolean): Promise<LogEventOf<T>>;
  /** How often the mark was left. */
  marks(mark: string): number;
  /** Ends the command that has left this mark and is held. */
  release(mark: string): void;
  say(type: "input.received" | "turn.interrupted" | "tool.finished", data: object, key?: string): Promise<Reply | undefined>;
  /** A decision as the API server keeps it. Resolves once the Approval is there. */
  decide(call: string, decision: "Approved" | "Denied"): Promise<void>;
  edit(spec: object): void;
  /** The newest living pod. */
  pod(component: Component): PodProcess | undefined;
  /** All pods that were ever made, by their suffix. */
  podNames(): readonly string[];
  /** The outcome in status; undefined before its end. */
  outcome(): string | undefined;
  /** Resolves with the outcome once nothing of the session runs any more. */
  ended(): Promise<string>;
  /** No pod is there and no process of one runs. */
  resting(): Promise<void>;
}

/** What the harness does at such a moment; the runner or the model waits until it resolves. */
export interface Hooks {
  question?(pod: PodProcess, question: Question): Promise<void>;
  asked?(asked: Asked): Promise<void>;
}

export interface SceneOptions {
  readonly environment?: string;
  /** Marks whose commands go on until they are released. */
  readonly held?: readonly string[];
  readonly spec?: object;
  readonly hooks?: Hooks;
}

/** Makes sessions in one house. `steps` gets how a shell command is written that leaves a mark, and then goes on while the mark is held. */
export function createScenes(house: House): { make(name: string, steps: (bash: (mark: string) => object) => readonly ScriptedAnswer[], options?: SceneOptions): Scene } {
  const hooks = new Map<string, Hooks>();
  const uids = new Map<string, string>();
  house.kubelet.onQuestion(async (pod, question) => {
    await hooks.get(pod.sessionUid)?.question?.(pod, question);
  });
  house.model.onAsked(async (asked) => {
    await hooks.get(uids.get(asked.prompt) ?? "")?.asked?.(asked);
  });
  let scenes = 0;
  return {
    make: (name, steps, { environment = "lab", held = [], spec = {}, hooks: own = {} } = {}) => {
      // Sessions of the same name are different sessions.
      scenes += 1;
      const folder = join(house.folder, "scenes", `${name}-${scenes}`);
      mkdirSync(folder, { recursive: true });
      for (const mark of held) writeFileSync(join(folder, `hold-${mark}`), "");
      const bash = (mark: string): object => ({ command: `echo ${mark} >> '${join(folder, mark)}'; while [ -e '${join(folder, `hold-${mark}`)}' ]; do sleep 0.02; done; echo said ${mark}` });
      const prompt = JSON.stringify({ folder, steps: steps(bash) });
      const uid = house.make("Session", name, { agentRef: { name: "worker" }, environmentRef: { name: environment }, prompt, idleTimeoutSeconds: 0, ...spec });
      hooks.set(uid, own);
      uids.set(prompt, uid);
      return openScene(house, { name, uid, folder });
    },
  };
}

function openScene(house: House, { name, uid, folder }: { readonly name: string; readonly uid: string; readonly folder: string }): Scene {
  const person = house.person(`ann-${uid}`);
  const log = (): Promise<readonly LogEvent[]> => person.log(name, uid).catch(() => []);
  const of = async <T extends EventType>(type: T): Promise<readonly LogEventOf<T>[]> => (await log()).filter((event): event is LogEventOf<T> => event.type === type);
  const outcome = (): string | undefined => {
    const found = house.find("Session", name);
    return found?.metadata.uid === uid ? (found.status as { readonly result?: { readonly outcome?: string } } | undefined)?.result?.outcome : undefined;
  };
  const resting = async (): Promise<void> => void (await until(() => !house.kubelet.hasPods(uid)));
  return {
    house, name, uid, log, of, outcome, resting,
    seen: (type, fits = () => true) => looking(async () => (await of(type)).find(fits)),
    marks: (mark) => linesIn(join(folder, mark)),
    release: (mark) => rmSync(join(folder, `hold-${mark}`), { force: true }),
    say: (type, data, key) => {
      const headers = key === undefined ? {} : { "idempotency-key": key };
      return person.send({ method: "POST", path: `/v1/namespaces/${NAMESPACE}/sessions/${name}/events?uid=${uid}`, headers, body: { type, data } });
    },
    decide: async (call, decision) => {
      const object = approvalName(name, call);
      // One of an earlier session of the name may still be there.
      await until(() => (house.find("Approval", object)?.spec as { readonly sessionRef?: { readonly uid: string } } | undefined)?.sessionRef?.uid === uid);
      house.edit("Approval", object, ({ status }) => ({ status: { ...(status as object | undefined), decision: { decision, decidedBy: "boss", at: new Date().toISOString() } } }));
    },
    edit: (change) => house.edit("Session", name, ({ spec }) => ({ spec: { ...(spec as object), ...change } })),
    pod: (component) => house.kubelet.pods.findLast((pod) => pod.sessionUid === uid && pod.component === component && pod.isAlive()),
    podNames: () => house.kubelet.pods.filter((pod) => pod.sessionUid === uid).map((pod) => pod.name.slice(name.length + 1)),
    ended: async () => {
      const how = await until(outcome);
      await resting();
      return how;
    },
  };
}

/** A reader that asks as often as one may. */
async function looking<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

function linesIn(file: string): number {
  try {
    return readFileSync(file, "utf8").split("\n").length - 1;
  } catch {
    return 0;
  }
}

/** Makes what scenes refer to: `lab`, and `hasty` where nobody has long to decide. */
export function furnishScenes({ make, model }: House): void {
  make("Agent", "worker", {
    model: { name: "main" },
    instructions: "Work.",
    tools: [{ name: "bash" }, { name: "read" }, { name: "write" }, { name: "edit", permission: "Ask" }, { name: "glob", permission: "Ask" }],
    customTools: [{ name: "post_note", description: "Posts a note.", inputSchema: { type: "object", properties: { text: { type: "string" } } } }],
  });
  const models = [{ name: "main", model: "scripted", baseURL: model.baseURL, apiKey: { secretKeyRef: { name: "model", key: "key" } }, maxOutputTokens: 4096, pricing: { inputPerMillion: "1", outputPerMillion: "2" } }];
  make("Environment", "lab", { models });
  make("Environment", "hasty", { models, approvals: { timeoutSeconds: 4 } });
}
