import { cutText } from "@paddock/api/cut";
import type { PodView } from "../sources.ts";
import { leftMs } from "./deadline.ts";
import { terminationOf, waitingOf } from "./pods.ts";

const MAX_DETAIL = 300;

/** Reasons of an ended container that say less than its exit code. */
const UNTELLING: ReadonlySet<string> = new Set(["Error", "Completed"]);

/** Reasons of a waiting container that are no news. */
const ORDINARY: ReadonlySet<string> = new Set(["ContainerCreating", "PodInitializing"]);

/** A container that is being created for so long is told: the kubelet tells why in Events only. */
const SLOW_START_MS = 60_000;

/**
 * Why a pod has ended, for people: its own reason (Evicted …), its container's (OOMKilled …) or exit code. `isTrusted`: the container's
 * last words are shown; a sandbox's are the model's. Pure.
 */
export function describeEnd({ metadata, status }: PodView, isTrusted: boolean): string {
  const pod = `Pod ${metadata.name}`;
  if (status.reason !== undefined) return `${pod} ended: ${withDetail(status.reason, status.message)}`;
  const disruption = disruptionOf({ status });
  if (disruption !== undefined) return `${pod} was taken away: ${withDetail(disruption.reason ?? "DisruptionTarget", disruption.message)}`;
  const terminated = terminationOf({ status });
  if (terminated === undefined) return `${pod} ended (${status.phase ?? "unknown phase"})`;
  const { exitCode, reason = "Error", message } = terminated;
  const why = UNTELLING.has(reason) ? `exit code ${exitCode}` : `${reason}, exit code ${exitCode}`;
  return `${pod} ended: ${withDetail(why, isTrusted ? lastLine(message) : undefined)}`;
}

/** What keeps a pod from running, for people; undefined when nothing unusual does. Pure. */
export function describeWait(pod: PodView, now: Date): string | undefined {
  const { metadata, status } = pod;
  const waiting = waitingOf(pod);
  if (waiting?.reason !== undefined && !ORDINARY.has(waiting.reason)) return `Pod ${metadata.name} is waiting: ${describeWaiting(waiting.reason, waiting.message)}`;
  const unscheduled = status.conditions?.find((condition) => condition.type === "PodScheduled" && condition.status === "False");
  if (unscheduled !== undefined) return `Pod ${metadata.name} is not scheduled: ${withDetail(unscheduled.reason ?? "Unschedulable", unscheduled.message)}`;
  if (slowStartLeftMs(pod, now) !== 0) return undefined;
  return `Pod ${metadata.name} has been on node ${pod.spec.nodeName ?? ""} for ${SLOW_START_MS / 1000} s and its container has not been created: kubectl describe pod ${metadata.name} -n ${metadata.namespace} says why (a node that cannot make user namespaces is cured by another one, or by spec.sandbox.userNamespaces: false in the Environment)`;
}

/** When a pod on a node whose container is still being created is slow, in milliseconds from now; 0 when it is, undefined when that is no question. */
export function slowStartLeftMs(pod: PodView, now: Date): number | undefined {
  if (pod.spec.nodeName === undefined || !ORDINARY.has(waitingOf(pod)?.reason ?? "")) return undefined;
  return Math.max(0, leftMs(startedAt(pod), SLOW_START_MS, now));
}

/** When the node took the pod, in epoch milliseconds. */
export function startedAt({ metadata, status }: PodView): number {
  return Date.parse(status.startTime ?? metadata.creationTimestamp);
}

/** Reasons by which a node ends or refuses pods whatever is in them. */
const NODE_REASONS: ReadonlySet<string> = new Set(["NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting", "Preempted", "NodeAffinity", "UnexpectedAdmissionError", "TopologyAffinityError"]);

/** The kubelet's words for a pod that broke its own storage limits, which it evicts like one that is in the way. */
const OWN_LIMIT = /exceeds the (total )?limit|exceeded its local/;

/**
 * Whether the cluster took the pod away, and not its own container: drained, evicted, preempted, refused by its node, node lost, deleted. A pod that
 * reached its activeDeadlineSeconds counts too, which is a net and no verdict. Pure.
 */
export function isDisrupted({ metadata, status }: PodView): boolean {
  const { reason = "", message = "" } = status;
  if (metadata.deletionTimestamp !== undefined || disruptionOf({ status }) !== undefined) return true;
  if (reason === "Evicted") return !OWN_LIMIT.test(message);
  return NODE_REASONS.has(reason) || reason.startsWith("OutOf") || reason === "DeadlineExceeded";
}

function disruptionOf({ status }: Pick<PodView, "status">) {
  return status.conditions?.find(({ type, status: value }) => type === "DisruptionTarget" && value === "True");
}

/** The kubelet's answer without what it says anew at each try. The swing between ErrImagePull and ImagePullBackOff is told as one, so that status does not swing with it. */
function describeWaiting(reason: string, message: string | undefined): string {
  if (reason !== "ErrImagePull" && reason !== "ImagePullBackOff") return withDetail(reason, message);
  return withDetail("ImagePullBackOff", message?.replace(/^Back-off pulling image "[^"]*"(: ErrImagePull: |: )?/, ""));
}

function withDetail(reason: string, detail: string | undefined): string {
  const text = detail?.trim() ?? "";
  return text === "" ? reason : `${reason}: ${cutText(text, MAX_DETAIL)}`;
}

function lastLine(text: string | undefined): string | undefined {
  return text?.trimEnd().split("\n").at(-1);
}
