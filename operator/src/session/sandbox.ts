import type { SessionWaitingReason } from "@paddock/api/conditions";
import { sandboxPodName } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action } from "../kernel/kind.ts";
import { buildSandboxPod } from "../pods/sandbox.ts";
import type { PodView } from "../sources.ts";
import { leftMs } from "./deadline.ts";
import { groundOf } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { describeEnd, describeWait } from "./pod-trouble.ts";
import { deletePods, findPod, hasEnded, isRunning, supersededPods } from "./pods.ts";

/** The sandbox's part of a plan. `trouble`: why it does not come up, for people. */
export interface SandboxPart {
  readonly actions: readonly Action[];
  readonly trouble?: { readonly reason: SessionWaitingReason; readonly message: string };
  readonly requeueAfterMs?: number;
}

const NOTHING: SandboxPart = { actions: [] };
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;

/** The n-th request of the log is answered by the pod `<session>-s<n>`; a bound pod that has ended is reported as lost. Pure. */
export function decideSandbox(world: SessionWorld, record: RecordView, now: Date): SandboxPart {
  const { pending, bound } = record.sandbox;
  if (bound !== undefined) return watchBound(world, record, bound);
  if (!pending) return NOTHING;
  const pod = findPod(world.pods, sandboxPodName(record.name, record.sandbox.requested));
  return pod === undefined ? makeSandbox(world, record, now) : bindSandbox(record, pod);
}

function watchBound({ pods }: SessionWorld, record: RecordView, bound: { readonly podUid: string; readonly podName: string }): SandboxPart {
  const pod = pods.find(({ metadata }) => metadata.uid === bound.podUid);
  if (pod === undefined) return { actions: [appendLost(record, bound.podUid, `Pod ${bound.podName} was deleted`)] };
  return hasEnded(pod) ? { actions: [appendLost(record, bound.podUid, describeEnd(pod, false))] } : NOTHING;
}

function makeSandbox(world: SessionWorld, record: RecordView, now: Date): SandboxPart {
  const n = record.sandbox.requested;
  const names = { name: sandboxPodName(record.name, n), evidence: sandboxPodName(record.name, n - 1) };
  const delay = delayLeftMs(findPod(world.pods, names.evidence), n, now);
  if (delay > 0) return { actions: [], requeueAfterMs: delay };
  const ground = groundOf(world);
  if (!ground.isFirm) return { actions: [], trouble: ground };
  const object = buildSandboxPod({ session: world.self, bundle: record.bundle, settings: world.settings }, n, now);
  return { actions: [...deletePods(supersededPods(world.pods, "sandbox", names)), { verb: "create", object }] };
}

// An image that dies at once would be asked for again and again: each one rests longer than its predecessor lived.
function delayLeftMs(predecessor: PodView | undefined, n: number, now: Date): number {
  if (predecessor === undefined) return 0;
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** Math.min(n - 2, 10), MAX_DELAY_MS);
  return leftMs(Date.parse(predecessor.metadata.creationTimestamp), delayMs, now);
}

function bindSandbox(record: RecordView, pod: PodView): SandboxPart {
  const { uid: podUid, name: podName, deletionTimestamp } = pod.metadata;
  if (hasEnded(pod)) return { actions: [appendLost(record, podUid, describeEnd(pod, false))] };
  const address = pod.status.podIP;
  if (!isRunning(pod) || address === undefined || deletionTimestamp !== undefined) {
    const message = describeWait(pod);
    return { actions: [], ...(message === undefined ? {} : { trouble: { reason: "Starting", message } }) };
  }
  return {
    actions: [
      { verb: "register", podUid, registration: { sessionUid: record.uid, component: "sandbox", podName } },
      { verb: "append", uid: record.uid, events: [{ type: "sandbox.bound", data: { podUid, podName, address } }] },
    ],
  };
}

function appendLost(record: RecordView, podUid: string, reason: string): Action {
  return { verb: "append", uid: record.uid, events: [{ type: "sandbox.lost", data: { podUid, reason: reason.slice(0, 1024) } }] };
}
