import type { AgentSpec } from "@paddock/api/agent";
import type { EnvironmentSpec } from "@paddock/api/environment";
import { LABELS } from "@paddock/api/names";
import { digestOf } from "@paddock/api/log/canonical";
import type { NewEvent } from "@paddock/api/log/events";
import { decideTool, fingerprintOf } from "@paddock/api/policy/rules";
import type { FakeApiServer } from "../fakes/apiserver.ts";
import { send } from "../fakes/client.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../fakes/session.ts";

// The others of a cluster, as far as the operator meets them.

/**
 * What a runner does once it is registered, one after the other. `wait` ends a Conversation's turn, `ask` is an answer with a call of the tool read that
 * waits for approval, `use` makes that call, `stay` keeps the run going, `die` ends its pod by its own fault, `evict` by its node's.
 */
export type Deed = "answer" | "sandbox" | "finish" | "wait" | "ask" | "use" | "stay" | "die" | "evict";

/** By attempt of a session; the last line counts for all later ones. */
export type Script = readonly (readonly Deed[])[];

export interface Players {
  /** Runners that have begun already go on with the script that they began with. */
  play(script: Script): void;
  /** Deeds done so far, of all runners. */
  deeds(): number;
  stop(): Promise<void>;
}

interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string; readonly labels?: Readonly<Record<string, string>> };
  readonly status?: { readonly phase?: string };
}

const PODS = "/api/v1/pods";
const TURN_MS = 3;

/** Plays until it is stopped: one turn every few milliseconds, never two at once. */
export function startPlayers(api: FakeApiServer, gateway: LocalGateway): Players {
  const runners = createRunners(api, gateway);
  let script: Script = [["answer", "finish"]];
  let isStopped = false;
  const turn = async (): Promise<void> => {
    collectGarbage(api);
    for (const { body } of api.store.list(PODS)) {
      const pod = body as unknown as Pod;
      if (pod.status?.phase === undefined) setStatus(api, pod, { phase: "Running", podIP: "10.0.0.7", ...containerOf({ running: { startedAt: new Date().toISOString() } }) });
      else if (pod.status.phase === "Running" && pod.metadata.labels?.[LABELS.component] === "runner") await runners.act(pod, script, (how) => end(api, pod, how));
    }
  };
  const played = (async () => {
    while (!isStopped) {
      await turn();
      await new Promise((resolve) => setTimeout(resolve, TURN_MS));
    }
  })();
  return {
    play: (next) => {
      script = next;
    },
    deeds: runners.deeds,
    stop: () => {
      isStopped = true;
      return played;
    },
  };
}

/** The kubelet's word about a pod and its one container. */
function setStatus(api: FakeApiServer, { metadata }: Pod, status: unknown): void {
  const key = { collection: PODS, namespace: metadata.namespace, name: metadata.name };
  const found = api.store.list(PODS).find(({ body }) => body.metadata.uid === metadata.uid);
  if (found !== undefined) api.store.update(key, { ...found.body, status }, true);
}

function containerOf(state: unknown): object {
  return { containerStatuses: [{ name: "main", state }] };
}

function end(api: FakeApiServer, pod: Pod, how: "die" | "evict"): void {
  if (how === "die") return setStatus(api, pod, { phase: "Failed", ...containerOf({ terminated: { exitCode: 1, reason: "Error", finishedAt: new Date().toISOString() } }) });
  // It stood on the node for a while: no rest is left before the next attempt.
  const finishedAt = new Date(Date.now() - 60_000).toISOString();
  setStatus(api, pod, { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory.", ...containerOf({ terminated: { exitCode: 137, reason: "Error", finishedAt } }) });
}

/** Deletes what has owners of which none exists any more. */
function collectGarbage(api: FakeApiServer): void {
  const collections = new Set([PODS, "/apis/paddock.dev/v1alpha1/sessions", "/apis/paddock.dev/v1alpha1/approvals", "/apis/networking.k8s.io/v1/networkpolicies"]);
  const owners = ["sessions", "schedules", "environments"].flatMap((plural) => api.store.list(`/apis/paddock.dev/v1alpha1/${plural}`).map(({ body }) => body.metadata.uid));
  const living = new Set(owners);
  for (const collection of collections) {
    for (const { body } of api.store.list(collection)) {
      const references = (body.metadata.ownerReferences ?? []) as readonly { readonly uid: string }[];
      if (references.length === 0 || references.some(({ uid }) => living.has(uid))) continue;
      api.store.delete({ collection, namespace: body.metadata.namespace ?? "", name: body.metadata.name }, undefined);
    }
  }
}

const ARGUMENTS = { path: "notes.md" };

/** What a runner decides on a call of the tool read, by the Agent and the Environment that a session was bound with. */
function decidedByPolicy(api: FakeApiServer, call: string): NewEvent {
  const specOf = (plural: string): unknown => api.store.list(`/apis/paddock.dev/v1alpha1/${plural}`)[0]?.body.spec;
  const agent = specOf("agents") as AgentSpec;
  const input = { agent: { digest: digestOf(agent), spec: agent }, environment: { spec: specOf("environments") as EnvironmentSpec } };
  return event("tool.decided", { call, tool: "read", fingerprint: fingerprintOf(input, "read", ARGUMENTS), arguments: ARGUMENTS, ...decideTool(input, "read") });
}

interface Progress {
  readonly deeds: readonly Deed[];
  readonly epoch: number;
  done: number;
  batch: number;
  /** Sent, and nobody knows whether it arrived: the same again is the same batch. */
  pending?: readonly NewEvent[];
}

interface Told {
  epoch: number;
  turn: number;
  /** What its newest answer has seen. */
  seq: number;
  attempts: number;
}

/** Runners that append what their script says, each event asked for at the real gateway with the pod's own token. */
function createRunners(api: FakeApiServer, gateway: LocalGateway) {
  const pods = new Map<string, Progress>();
  const sessions = new Map<string, Told>();
  let deeds = 0;

  const append = async (pod: Pod, progress: Progress, events: readonly NewEvent[]): Promise<boolean> => {
    const { namespace, uid, name } = pod.metadata;
    const token = gateway.reviews.runnerToken({ namespace, podUid: uid, podName: name });
    progress.pending = events;
    const body = { epoch: progress.epoch, batch: progress.batch + 1, events };
    const reply = await send(gateway, { method: "POST", path: "/v1/runner/events", token, body }).catch(() => undefined);
    if (reply !== undefined && reply.status < 500) delete progress.pending;
    if (reply?.status !== 200) return false;
    progress.batch += 1;
    const session = sessionOf(pod);
    session.seq = Math.max(session.seq, ...(reply.body as { events: { seq: number }[] }).events.map(({ seq }) => seq));
    return true;
  };
  const sessionOf = ({ metadata }: Pod): Told => {
    const uid = metadata.labels?.[LABELS.sessionUid] ?? "";
    const known = sessions.get(uid) ?? { epoch: 0, turn: 0, seq: 2, attempts: 0 };
    sessions.set(uid, known);
    return known;
  };

  const begin = async (pod: Pod, script: Script): Promise<Progress | undefined> => {
    const session = sessionOf(pod);
    const line = script[Math.min(session.attempts + 1, script.length) - 1] ?? [];
    const progress: Progress = { deeds: line, done: 0, batch: 0, epoch: session.epoch + 1 };
    if (!(await append(pod, progress, [startedEvent(pod.metadata.uid, progress.epoch)]))) return undefined;
    session.epoch = progress.epoch;
    session.attempts += 1;
    pods.set(pod.metadata.uid, progress);
    return progress;
  };

  /** Of the sandbox beside a runner; refused by the gateway, and so asked for again, until it is there and bound. */
  const sandboxUidOf = ({ metadata }: Pod): string => {
    const isBeside = ({ labels }: Pod["metadata"]): boolean => labels?.[LABELS.component] === "sandbox" && labels[LABELS.sessionUid] === metadata.labels?.[LABELS.sessionUid];
    return api.store.list(PODS).find(({ body }) => isBeside(body.metadata as Pod["metadata"]))?.body.metadata.uid ?? "";
  };
  const eventsOf = (pod: Pod, deed: Exclude<Deed, "stay" | "die" | "evict">): readonly NewEvent[] => {
    const session = sessionOf(pod);
    switch (deed) {
      case "answer":
        return [requestedEvent(session.turn + 1, 1, session.seq), respondedEvent(session.turn + 1, 1)];
      case "ask":
        return [
          requestedEvent(session.turn + 1, 1, session.seq),
          respondedEvent(session.turn + 1, 1, [{ name: "read", arguments: JSON.stringify(ARGUMENTS) }]),
          decidedByPolicy(api, `root/${session.turn + 1}/0`),
          event("run.waiting", { for: "approval", text: "", through: session.seq }),
        ];
      case "use":
        return [event("isolation.reported", { podUid: sandboxUidOf(pod), probed: ["canary"], open: [] }), toolStartedEvent(`root/${session.turn}/0`, 1), toolFinishedEvent(`root/${session.turn}/0`)];
      case "sandbox":
        return [event("sandbox.requested", { reason: "a tool needs it" })];
      case "finish":
        return [runFinishedEvent({ through: session.seq })];
      case "wait":
        return [event("run.waiting", { for: "input", text: "Done.", through: session.seq })];
    }
  };

  const note = (pod: Pod, progress: Progress, deed: Deed): void => {
    if (deed === "answer" || deed === "ask") sessionOf(pod).turn += 1;
    progress.done += 1;
    deeds += 1;
  };

  return {
    act: async (pod: Pod, script: Script, stop: (how: "die" | "evict") => void): Promise<void> => {
      const progress = pods.get(pod.metadata.uid) ?? (await begin(pod, script));
      const deed = progress?.deeds[progress.done];
      if (progress === undefined || deed === undefined || deed === "stay") return;
      if (deed === "die" || deed === "evict") stop(deed);
      else if (!(await append(pod, progress, progress.pending ?? eventsOf(pod, deed)))) return;
      note(pod, progress, deed);
    },
    deeds: () => deeds,
  };
}
