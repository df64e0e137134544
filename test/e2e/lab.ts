import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "@paddock/api/session";
import { API_VERSION } from "@paddock/api/group";
import { LABELS } from "@paddock/api/names";
import { get, kubectl, list, must } from "./kubectl.ts";

/** A pod as the tests look at it. */
export interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string; readonly labels?: Record<string, string>; readonly deletionTimestamp?: string };
  readonly spec: PodSpec;
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly hostIP?: string;
    readonly containerStatuses?: readonly { readonly name: string; readonly restartCount: number; readonly containerID?: string; readonly state?: { readonly running?: object } }[];
  };
}

interface PodSpec {
  readonly volumes?: readonly Record<string, unknown>[];
  readonly containers: readonly { readonly name: string; readonly env?: readonly { readonly name: string; readonly value?: string }[] }[];
  readonly automountServiceAccountToken?: boolean;
}

/**
 * Asks again until `probe` gives something, every 100 ms. Throws after `seconds` with what was waited for and what was last seen:
 * a bound against hanging, not an expectation of speed.
 */
export async function eventually<T>(what: string, probe: () => Promise<T | undefined | false>, seconds = 90): Promise<T> {
  const giveUpAt = Date.now() + seconds * 1000;
  let last: unknown;
  while (Date.now() < giveUpAt) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`waited ${seconds} s for ${what}; last: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
}

/** Applies objects, each in the namespace unless it names its own. */
export async function apply(namespace: string, ...objects: readonly object[]): Promise<void> {
  await must(["apply", "-n", namespace, "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }) });
}

export function buildAgent(name: string, spec: object = {}): object {
  return {
    apiVersion: API_VERSION,
    kind: "Agent",
    metadata: { name },
    spec: { model: { name: "default" }, instructions: "You are a test.", tools: [{ name: "bash" }, { name: "write" }, { name: "read" }], ...spec },
  };
}

/** An Environment whose one model is the scripted server of the same namespace. */
export function buildEnvironment(name: string, change: { readonly model?: object; readonly spec?: object } = {}): object {
  return {
    apiVersion: API_VERSION,
    kind: "Environment",
    metadata: { name },
    spec: {
      models: [
        {
          name: "default",
          model: "scripted",
          baseURL: "http://scripted-model:8080/v1",
          pricing: { inputPerMillion: "1.25", outputPerMillion: "10" },
          ...change.model,
        },
      ],
      network: { inCluster: [{ podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] }] },
      ...change.spec,
    },
  };
}

export function buildSession(name: string, prompt: string, change: { readonly agent?: string; readonly environment?: string; readonly spec?: object } = {}): object {
  return {
    apiVersion: API_VERSION,
    kind: "Session",
    metadata: { name },
    spec: { agentRef: { name: change.agent ?? "agent" }, environmentRef: { name: change.environment ?? "environment" }, prompt, ...change.spec },
  };
}

/** The Session once it is in a terminal state. */
export async function finished(namespace: string, name: string, seconds = 120): Promise<Session> {
  const { code, stderr } = await kubectl(["wait", `--for=condition=Finished`, `session/${name}`, "-n", namespace, `--timeout=${seconds}s`]);
  const session = await get<Session>("session", name, namespace);
  if (code === 0 && session !== undefined) return session;
  throw new Error(`session ${namespace}/${name} did not finish: ${stderr.trim()}\n${JSON.stringify(session?.status, null, 1)}\n${await podsInWords(namespace)}`);
}

async function podsInWords(namespace: string): Promise<string> {
  return (await kubectl(["get", "pods", "-n", namespace, "-o", "wide"])).stdout;
}

/** The reason of the condition `Succeeded`: what the STATUS column shows. */
export function reasonOf(session: Session): string | undefined {
  return session.status?.conditions?.find(({ type }) => type === "Succeeded")?.reason;
}

/** Running pods of a session, by component. */
export async function podsOf(namespace: string, session: string, component: "runner" | "sandbox"): Promise<Pod[]> {
  return list<Pod>("pods", namespace, `${LABELS.session}=${session},${LABELS.component}=${component}`);
}

/** The session's newest pod of a component once its container runs. */
export async function runningPod(namespace: string, session: string, component: "runner" | "sandbox"): Promise<Pod> {
  return eventually(`a running ${component} pod of ${session}`, async () =>
    (await podsOf(namespace, session, component)).find(({ metadata, status }) => status.phase === "Running" && metadata.deletionTimestamp === undefined),
  );
}
