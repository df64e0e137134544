import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { LABELS } from "@paddock/api/names";
import type { FakeApiServer } from "../fakes/apiserver.ts";
import type { Reviews } from "../fakes/reviews.ts";
import { childEnvironment } from "../config.ts";
import { ROOT } from "../steps.ts";
import type { Question, RunnerOptions } from "./processes/runner.ts";
import type { SandboxOptions } from "./processes/sandbox.ts";

// A node in one process: for each pod at the API server it starts the program that the pod is about, on a loopback address and in a folder of the pod's
// own, tells its status, and ends it when the pod is deleted. What an owner leaves behind is collected, too.

export type Component = "runner" | "sandbox";

/** A pod whose process was started. */
export interface PodProcess {
  readonly name: string;
  readonly uid: string;
  readonly sessionUid: string;
  readonly component: Component;
  readonly folder: string;
  isAlive(): boolean;
  /** SIGKILL to all that runs in the pod. Resolves when its end is in the pod's status. */
  kill(): Promise<void>;
  /** As a node whose cable is pulled: the process goes on, and Kubernetes is told that the pod has failed. */
  cutOff(): void;
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
}

export interface Kubelet {
  /** Every pod that was started, oldest first. */
  readonly pods: readonly PodProcess[];
  /** What a runner asks before and after each append; it goes on when the answer resolves. */
  onQuestion(listener: (pod: PodProcess, question: Question) => Promise<void>): void;
  /** Called for each pod that is made, before its process is started. */
  onMade(listener: (pod: Pick<PodProcess, "name" | "sessionUid">) => void): void;
  /** Whether pods of a session are at the API server, or processes of it alive. */
  hasPods(sessionUid: string): boolean;
  stop(): Promise<void>;
}

interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly [{ readonly env: readonly { readonly name: string; readonly value?: string }[]; readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[] }];
    readonly volumes: readonly { readonly name: string; readonly secret?: { readonly secretName: string; readonly items: readonly { readonly key: string; readonly path: string }[] } }[];
  };
}

export interface KubeletOptions {
  readonly api: FakeApiServer;
  readonly reviews: Reviews;
  readonly folder: string;
}

const PODS = "/api/v1/pods";
const SECRETS = "/api/v1/secrets";
const APPROVALS = "/apis/paddock.dev/v1alpha1/approvals";
const SESSIONS = "/apis/paddock.dev/v1alpha1/sessions";
const SANDBOX_PORT = 18_080;
const LOOK_MS = 4;
const GRACE_MS = { runner: 10_000, sandbox: 2000 } as const;
/** Where credentials are in a pod; here they are in its folder. */
const RUN = "/run/paddock";
const COMPILED = join(ROOT, "node_modules/.cache/node");

// A test file is a process: two of them at once must not give the same addresses.
let addresses = (process.pid % 250) * 65_536 + 2;

/** Arguments and environment of a process of ours. */
export function spawnNode(script: string, options: unknown, { log, env = {} }: { readonly log: string; readonly env?: Readonly<Record<string, string>> }): ChildProcess {
  const { NODE_TEST_CONTEXT: _, ...inherited } = childEnvironment({ NODE_COMPILE_CACHE: COMPILED, ...env });
  const output = openSync(log, "a");
  const args = ["--disable-warning=ExperimentalWarning", join(ROOT, script), ...(options === undefined ? [] : [JSON.stringify(options)])];
  const child = spawn(process.execPath, args, { cwd: dirname(log), env: inherited, stdio: ["ignore", output, output, "ipc"] });
  closeSync(output);
  child.on("error", () => undefined);
  return child;
}

export function startKubelet({ api, reviews, folder }: KubeletOptions): Kubelet {
  const pods: PodProcess[] = [];
  const ends = new Map<string, () => Promise<void>>();
  let answer: (pod: PodProcess, question: Question) => Promise<void> = async () => undefined;
  let made: (pod: Pick<PodProcess, "name" | "sessionUid">) => void = () => undefined;
  let seen = 0;

  const tell = ({ metadata }: Pod, status: unknown): void => {
    const found = api.store.list(PODS).find(({ body }) => body.metadata.uid === metadata.uid);
    if (found !== undefined) api.store.update({ collection: PODS, namespace: metadata.namespace, name: metadata.name }, { ...found.body, status }, true);
  };

  const begin = (pod: Pod): void => {
    const { metadata } = pod;
    const { component, sessionUid } = kindOf(pod);
    // Pods of one name are different pods.
    const own = join(folder, `${metadata.name}-${metadata.uid.slice(0, 8)}`);
    mkdirSync(own, { recursive: true });
    const address = `127.${10 + ((addresses >> 16) % 240)}.${(addresses >> 8) & 255}.${addresses & 255}`;
    addresses += addresses % 256 === 254 ? 4 : 1;
    const child = component === "runner" ? startRunner(pod, own) : startSandbox({ address, port: SANDBOX_PORT, folder: own });
    const startedAt = new Date().toISOString();
    const exited = once(child, "exit");
    let isCutOff = false;
    const killAll = async (): Promise<void> => {
      child.kill("SIGKILL");
      await exited;
      if (component === "sandbox") killLeft(join(own, "home"));
    };
    const process: PodProcess = {
      name: metadata.name, uid: metadata.uid, sessionUid, component, folder: own,
      isAlive: () => child.exitCode === null && child.signalCode === null,
      kill: killAll,
      freeze: () => void child.kill("SIGSTOP"),
      thaw: () => void child.kill("SIGCONT"),
      cutOff: () => {
        isCutOff = true;
        tell(pod, statusOf({ phase: "Failed", address, startedAt, state: { terminated: { exitCode: 137, reason: "NodeLost", startedAt, finishedAt: new Date().toISOString() } } }));
      },
    };
    pods.push(process);
    child.on("message", (question: Question) => {
      void answer(process, question).then(() => {
        if (child.connected) child.send({ id: question.id }, () => undefined);
      });
    });
    tell(pod, statusOf({ phase: "Running", address, startedAt, state: { running: { startedAt } } }));
    void exited.then(() => {
      if (component === "sandbox") killLeft(join(own, "home"));
      if (isCutOff) return;
      const exitCode = child.exitCode ?? 137;
      const terminated = { exitCode, reason: exitCode === 0 ? "Completed" : "Error", startedAt, finishedAt: new Date().toISOString() };
      tell(pod, statusOf({ phase: exitCode === 0 ? "Succeeded" : "Failed", address, startedAt, state: { terminated } }));
    });
    ends.set(metadata.uid, async () => {
      if (isCutOff || !process.isAlive()) return;
      child.kill("SIGTERM");
      const timer = setTimeout(() => void killAll(), GRACE_MS[component]);
      await exited;
      clearTimeout(timer);
    });
  };

  const secretOf = (namespace: string, secretName: string): Readonly<Record<string, string>> => {
    const found = api.store.list(SECRETS).find(({ body: { metadata } }) => metadata.name === secretName && metadata.namespace === namespace);
    return (found?.body as { readonly data?: Readonly<Record<string, string>> } | undefined)?.data ?? {};
  };

  /** The files that the pod's volumes name, below its folder instead of below RUN. */
  const mountSecrets = ({ metadata, spec }: Pod, own: string): void => {
    for (const { name, secret } of spec.volumes) {
      if (secret === undefined) continue;
      const mountPath = spec.containers[0].volumeMounts.find((candidate) => candidate.name === name)?.mountPath ?? RUN;
      const data = secretOf(metadata.namespace, secret.secretName);
      const folderOf = join(own, mountPath.replace(RUN, ""));
      mkdirSync(folderOf, { recursive: true });
      for (const { key, path } of secret.items) writeFileSync(join(folderOf, path), Buffer.from(data[key] ?? "", "base64"));
    }
  };

  const startRunner = (pod: Pod, own: string): ChildProcess => {
    const { metadata, spec } = pod;
    const [container] = spec.containers;
    writeFileSync(join(own, "token"), reviews.runnerToken({ namespace: metadata.namespace, podUid: metadata.uid, podName: metadata.name }));
    mountSecrets(pod, own);
    const variable = (name: string): string => container.env.find((candidate) => candidate.name === name)?.value ?? "";
    const options: RunnerOptions = { gatewayUrl: variable("PADDOCK_GATEWAY_URL"), gatewayCa: variable("PADDOCK_GATEWAY_CA"), podName: metadata.name, podUid: metadata.uid, folder: own, sandboxPort: SANDBOX_PORT };
    return spawnNode("test/kills/processes/runner.ts", options, { log: join(own, "log") });
  };
  const startSandbox = (options: SandboxOptions): ChildProcess => spawnNode("test/kills/processes/sandbox.ts", options, { log: join(options.folder, "log") });

  const look = (): void => {
    collectGarbage(api);
    const journal = api.store.journal();
    for (; seen < journal.length; seen += 1) {
      const { type, object } = journal[seen] ?? {};
      if (object?.collection !== PODS) continue;
      const pod = object.body as unknown as Pod;
      if (type === "ADDED") {
        made({ name: pod.metadata.name, sessionUid: kindOf(pod).sessionUid });
        begin(pod);
      }
      if (type === "DELETED") void ends.get(pod.metadata.uid)?.();
    }
  };
  const timer = setInterval(look, LOOK_MS);
  return {
    pods,
    onQuestion: (listener) => {
      answer = listener;
    },
    onMade: (listener) => {
      made = listener;
    },
    hasPods: (sessionUid) =>
      api.store.list(PODS).some(({ body }) => body.metadata.labels?.[LABELS.sessionUid] === sessionUid) || pods.some((pod) => pod.sessionUid === sessionUid && pod.isAlive()),
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pods.map((pod) => pod.kill()));
    },
  };
}

function kindOf({ metadata: { labels = {} } }: Pod): Pick<PodProcess, "component" | "sessionUid"> {
  return { component: labels[LABELS.component] === "runner" ? "runner" : "sandbox", sessionUid: labels[LABELS.sessionUid] ?? "" };
}

function statusOf({ phase, address, startedAt, state }: { readonly phase: string; readonly address: string; readonly startedAt: string; readonly state: unknown }): unknown {
  return { phase, podIP: address, startTime: startedAt, containerStatuses: [{ name: "main", state }] };
}

/** A container takes every command with it: those of this pod are known by their HOME. */
function killLeft(home: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`HOME=${home}`)) process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Deletes what has owners of which none exists any more. */
function collectGarbage(api: FakeApiServer): void {
  const living = new Set(["sessions", "environments"].flatMap((plural) => api.store.list(`/apis/paddock.dev/v1alpha1/${plural}`).map(({ body }) => body.metadata.uid)));
  for (const collection of [PODS, APPROVALS, SESSIONS]) {
    for (const { body } of api.store.list(collection)) {
      const references = (body.metadata["ownerReferences"] ?? []) as readonly { readonly uid: string }[];
      if (references.length === 0 || references.some(({ uid }) => living.has(uid))) continue;
      api.store.delete({ collection, namespace: body.metadata.namespace ?? "", name: body.metadata.name }, undefined);
    }
  }
}
