import { type Component, LABELS } from "@paddock/api/names";
import type { Action } from "../kernel/kind.ts";
import type { ContainerStatusView, PodView } from "../sources.ts";

type Deletion = Extract<Action, { verb: "delete" }>;

/** Deletes every pod that is not being deleted already. */
export function deletePods(pods: readonly PodView[]): readonly Deletion[] {
  return pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(deletePod);
}

/** Of a runner that has to go now: with the moment before it, pods of a stopped session are gone within ten seconds, whoever answers. */
const STOP_GRACE_SECONDS = 5;

/** Deletes the pods of a session that was stopped. A sandbox's own grace is shorter than what a stopped runner gets. */
export function stopPods(pods: readonly PodView[]): readonly Deletion[] {
  return pods.flatMap((pod) => deletePods([pod]).map((deletion) => (isSandbox(pod) ? deletion : { ...deletion, graceSeconds: STOP_GRACE_SECONDS })));
}

function deletePod({ metadata: { namespace, name, uid } }: PodView): Deletion {
  return { verb: "delete", resource: "Pod", key: { namespace, name }, uid };
}

export function isSandbox({ metadata }: PodView): boolean {
  return metadata.labels?.[LABELS.component] === "sandbox";
}

export function findPod(pods: readonly PodView[], name: string): PodView | undefined {
  return pods.find(({ metadata }) => metadata.name === name);
}

/** Pods of one component that a newer one takes over from: all but `name`, and but for `evidence`, kept when it has ended, for its logs. */
export function supersededPods(pods: readonly PodView[], component: Component, { name, evidence }: { readonly name: string; readonly evidence: string }): readonly PodView[] {
  return pods.filter((pod) => {
    if (pod.metadata.labels?.[LABELS.component] !== component || pod.metadata.name === name) return false;
    return pod.metadata.name !== evidence || !hasEnded(pod);
  });
}

/** The pod's one container will not run again. */
export function hasEnded({ status }: PodView): boolean {
  return status.phase === "Failed" || status.phase === "Succeeded" || terminationOf({ status }) !== undefined;
}

/** The container runs; undefined or the time since when, as the kubelet tells it. */
export function runningSince({ status }: PodView): string | undefined {
  return status.containerStatuses?.find(({ state }) => state?.running !== undefined)?.state?.running?.startedAt;
}

export function isRunning({ status }: PodView): boolean {
  return (status.containerStatuses ?? []).some(({ state }) => state?.running !== undefined);
}

/** What the pod's one container waits for; undefined when it does not wait. */
export function waitingOf({ status }: PodView): { readonly reason?: string; readonly message?: string } | undefined {
  return status.containerStatuses?.find(({ state }) => state?.waiting !== undefined)?.state?.waiting;
}

type Termination = NonNullable<NonNullable<ContainerStatusView["state"]>["terminated"]>;

/** How the pod's one container ended; undefined when it has not, or when its node could not tell. */
export function terminationOf({ status }: Pick<PodView, "status">): Termination | undefined {
  return status.containerStatuses?.find(({ state }) => state?.terminated !== undefined)?.state?.terminated;
}

/** When the container ended, in epoch milliseconds; undefined when nothing tells. */
export function endedAt(pod: PodView): number | undefined {
  const text = terminationOf(pod)?.finishedAt;
  return text === undefined || Number.isNaN(Date.parse(text)) ? undefined : Date.parse(text);
}
