import type { SessionWaitingReason } from "@paddock/api/conditions";
import { cutText } from "@paddock/api/cut";
import { sandboxPodName } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action } from "../kernel/kind.ts";
import { buildSandboxPod } from "../pods/sandbox.ts";
import type { PodView } from "../sources.ts";
import { leftMs, requeueAt } from "./deadline.ts";
import { groundOf } from "./ground.ts";
import { describeImageFailure, imageTroubleOf } from "./image-trouble.ts";
import { MAX_MESSAGE } from "./claim.ts";
import type { SessionWorld } from "./observe.ts";
import { describeWait, slowStartLeftMs } from "./pod-trouble.ts";
import { describeSandboxLoss, unansweredLeftMs } from "./sandbox-loss.ts";
import { isReleased } from "./slots.ts";
import { decideWorkspace, workspaceTroubleOf } from "./workspace.ts";
import { deletePods, findPod, isRunning, supersededPods } from "./pods.ts";

/** The sandbox's part of a plan. `trouble`: why it does not come up, for people. */
export interface SandboxPart {
  readonly actions: readonly Action[];
  readonly trouble?: { readonly reason: SessionWaitingReason; readonly message: string };
  /** It will never come up: why, for people. */
  readonly imageFailure?: string;
  readonly requeueAfterMs?: number;
}

/** What the API server refuses for a reason that people cure elsewhere (a RuntimeClass, a quota) is tried again so often. */
export const CREATE_RETRY_MS = 30_000;

const NOTHING: SandboxPart = { actions: [] };
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;

/** The n-th request of the log is answered by the pod `<session>-s<n>`; a bound pod that has ended is reported as lost. Pure. */
export function decideSandbox(world: SessionWorld, record: RecordView, now: Date): SandboxPart {
  // A session that was woken has no pods before it has a runner again.
  if (isReleased(world.self.status)) return NOTHING;
  const { pending, bound } = record.sandbox;
  if (bound !== undefined) return watchBound(world, record, { bound, now });
  if (!pending) return NOTHING;
  const pod = findPod(world.pods, sandboxPodName(record.name, record.sandbox.requested));
  return pod === undefined ? makeSandbox(world, record, now) : bindSandbox(world, record, { pod, now });
}

type Bound = NonNullable<RecordView["sandbox"]["bound"]>;

function watchBound({ pods }: SessionWorld, record: RecordView, { bound, now }: { readonly bound: Bound; readonly now: Date }): SandboxPart {
  const pod = pods.find(({ metadata }) => metadata.uid === bound.podUid);
  if (pod === undefined) return { actions: [appendLost(record, bound.podUid, `Pod ${bound.podName} was deleted`)] };
  const loss = describeSandboxLoss(pod, record, now);
  return loss === undefined ? { actions: [], ...requeueAt(unansweredLeftMs(pod, now)) } : { actions: [appendLost(record, bound.podUid, loss)] };
}

function makeSandbox(world: SessionWorld, record: RecordView, now: Date): SandboxPart {
  const n = record.sandbox.requested;
  const names = { name: sandboxPodName(record.name, n), evidence: sandboxPodName(record.name, n - 1) };
  const delay = delayLeftMs(findPod(world.pods, names.evidence), n, now);
  if (delay > 0) return { actions: [], requeueAfterMs: delay };
  const ground = groundOf(world);
  if (!ground.isFirm) return { actions: [], trouble: ground };
  const { actions, leaving } = decideWorkspace(world, record);
  if (leaving !== undefined) return { actions: [], trouble: { reason: "Starting", message: leaving.message }, requeueAfterMs: leaving.retryMs };
  const object = buildSandboxPod({ session: world.self, bundle: record.bundle, deadline: record.deadline, settings: world.settings }, n, now);
  return { actions: [...deletePods(supersededPods(world.pods, "sandbox", names)), ...actions, { verb: "create", object }], requeueAfterMs: CREATE_RETRY_MS };
}

// An image that dies at once would be asked for again and again: each one rests longer than its predecessor lived.
function delayLeftMs(predecessor: PodView | undefined, n: number, now: Date): number {
  if (predecessor === undefined) return 0;
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** Math.min(n - 2, 10), MAX_DELAY_MS);
  return leftMs(Date.parse(predecessor.metadata.creationTimestamp), delayMs, now);
}

function bindSandbox(world: SessionWorld, record: RecordView, { pod, now }: { readonly pod: PodView; readonly now: Date }): SandboxPart {
  const { uid: podUid, name: podName, deletionTimestamp } = pod.metadata;
  const loss = describeSandboxLoss(pod, record, now);
  if (loss !== undefined) return { actions: [appendLost(record, podUid, loss)] };
  const address = pod.status.podIP;
  if (!isRunning(pod) || address === undefined || deletionTimestamp !== undefined) return awaitPod(world, record, { pod, now });
  return {
    actions: [
      { verb: "register", podUid, registration: { sessionUid: record.uid, component: "sandbox", podName } },
      { verb: "append", uid: record.uid, events: [{ type: "sandbox.bound", data: { podUid, podName, address } }] },
    ],
  };
}

function awaitPod(world: SessionWorld, record: RecordView, { pod, now }: { readonly pod: PodView; readonly now: Date }): SandboxPart {
  const { self, settings } = world;
  const image = imageTroubleOf(self, pod, now);
  if (image?.kind === "Failed") {
    const { name, spec } = record.bundle.environment;
    const fix = `Correct spec.sandbox.image or spec.imagePullSecrets of Environment ${name}`;
    return { actions: [], imageFailure: describeImageFailure(image.wait, spec.sandbox?.image ?? settings.sandboxImage, fix) };
  }
  // The scheduler says of a volume that is on its way the same as of one that will never come.
  const workspace = workspaceTroubleOf(world, record, { pod, now });
  const message = workspace === undefined ? describeWait(pod, now) : workspace.message;
  const slow = slowStartLeftMs(pod, now);
  return {
    actions: decideWorkspace(world, record).actions,
    ...(message === undefined ? {} : { trouble: { reason: "Starting", message } }),
    ...requeueAt(image?.leftMs, slow === 0 ? undefined : slow, workspace?.leftMs, unansweredLeftMs(pod, now)),
  };
}

function appendLost(record: RecordView, podUid: string, reason: string): Action {
  return { verb: "append", uid: record.uid, events: [{ type: "sandbox.lost", data: { podUid, reason: cutText(reason, MAX_MESSAGE) } }] };
}
