import { LABELS } from "@paddock/api/names";
import type { NewEvent } from "@paddock/api/log/events";
import type { FakeApiServer } from "../fakes/apiserver.ts";
import { send } from "../fakes/client.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent } from "../fakes/session.ts";

// The others of a cluster, as far as the operator meets them.

/** What a runner does once it is registered, one after the other. `stay` keeps it running, `die` ends its pod. */
export type Deed = "answer" | "sandbox" | "finish" | "stay" | "die";

export interface Players {
  play(script: readonly (readonly Deed[])[]): void;
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
  const runners = createRunners(gateway);
  let script: readonly (readonly Deed[])[] = [["answer", "finish"]];
  let isStopped = false;
  const turn = async (): Promise<void> => {
    collectGarbage(api);
    for (const { body } of api.store.list(PODS)) {
      const pod = body as unknown as Pod;
      if (pod.status?.phase === undefined) setPhase(api, pod, "Running");
      else if (pod.status.phase === "Running" && pod.metadata.labels?.[LABELS.component] === "runner") await runners.act(pod, script, () => setPhase(api, pod, "Failed"));
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

/** The kubelet's word about a pod's one container. */
function setPhase(api: FakeApiServer, { metadata }: Pod, phase: "Running" | "Failed"): void {
  const key = { collection: PODS, namespace: metadata.namespace, name: metadata.name };
  const at = new Date().toISOString();
  const state = phase === "Running" ? { running: { startedAt: at } } : { terminated: { exitCode: 1, reason: "Error", finishedAt: at } };
  const found = api.store.list(PODS).find(({ body }) => body.metadata.uid === metadata.uid);
  if (found === undefined) return;
  api.store.update(key, { ...found.body, status: { phase, podIP: "10.0.0.7", containerStatuses: [{ name: "main", state }] } }, true);
}

/** Deletes what has owners of which none exists any more. */
function collectGarbage(api: FakeApiServer): void {
  const collections = new Set([PODS, "/apis/paddock.dev/v1alpha1/sessions", "/apis/networking.k8s.io/v1/networkpolicies"]);
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

interface Progress {
  done: number;
  batch: number;
  epoch: number;
}

/** Runners that append what their script says, each event asked for at the real gateway with the pod's own token. */
function createRunners(gateway: LocalGateway) {
  const pods = new Map<string, Progress>();
  let deeds = 0;
  const sessions = new Map<string, { epoch: number; turn: number; seq: number; attempts: number }>();

  const append = async (pod: Pod, progress: Progress, events: readonly NewEvent[]): Promise<boolean> => {
    const { namespace, uid, name } = pod.metadata;
    const token = gateway.reviews.runnerToken({ namespace, podUid: uid, podName: name });
    const body = { epoch: progress.epoch, batch: progress.batch + 1, events };
    const reply = await send(gateway, { method: "POST", path: "/v1/runner/events", token, body }).catch(() => undefined);
    if (reply?.status !== 200) return false;
    progress.batch += 1;
    const session = sessionOf(pod);
    session.seq = Math.max(session.seq, ...(reply.body as { events: { seq: number }[] }).events.map(({ seq }) => seq));
    return true;
  };
  const sessionOf = ({ metadata }: Pod) => {
    const uid = metadata.labels?.[LABELS.sessionUid] ?? "";
    const known = sessions.get(uid) ?? { epoch: 0, turn: 0, seq: 2, attempts: 0 };
    sessions.set(uid, known);
    return known;
  };

  const begin = async (pod: Pod): Promise<Progress | undefined> => {
    const session = sessionOf(pod);
    const progress = { done: 0, batch: 0, epoch: session.epoch + 1 };
    if (!(await append(pod, progress, [startedEvent(pod.metadata.uid, progress.epoch)]))) return undefined;
    session.epoch = progress.epoch;
    session.attempts += 1;
    pods.set(pod.metadata.uid, progress);
    return progress;
  };

  const eventsOf = (pod: Pod, deed: "answer" | "sandbox" | "finish"): readonly NewEvent[] => {
    const session = sessionOf(pod);
    switch (deed) {
      case "answer":
        return [requestedEvent(session.turn + 1, 1, session.seq), respondedEvent(session.turn + 1, 1)];
      case "sandbox":
        return [event("sandbox.requested", { reason: "a tool needs it" })];
      case "finish":
        return [runFinishedEvent({ through: session.seq })];
    }
  };

  return {
    act: async (pod: Pod, script: readonly (readonly Deed[])[], die: () => void): Promise<void> => {
      const progress = pods.get(pod.metadata.uid) ?? (await begin(pod));
      if (progress === undefined) return;
      const session = sessionOf(pod);
      const deed = script[Math.min(session.attempts, script.length) - 1]?.[progress.done];
      if (deed === undefined || deed === "stay") return;
      if (deed === "die") die();
      else if (!(await append(pod, progress, eventsOf(pod, deed)))) return;
      if (deed === "answer") session.turn += 1;
      progress.done += 1;
      deeds += 1;
    },
    deeds: () => deeds,
  };
}
