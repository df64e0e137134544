import type { PodView } from "../sources.ts";
import { terminationOf } from "./pods.ts";

const MAX_DETAIL = 300;

/** Reasons of an ended container that say less than its exit code. */
const UNTELLING: ReadonlySet<string> = new Set(["Error", "Completed"]);

/** Reasons of a waiting container that are no news. */
const ORDINARY: ReadonlySet<string> = new Set(["ContainerCreating", "PodInitializing"]);

/**
 * Why a pod has ended, for people: its own reason (Evicted …), its container's (OOMKilled …) or exit code. `isTrusted`: the container's
 * last words are shown; a sandbox's are the model's. Pure.
 */
export function describeEnd({ metadata, status }: PodView, isTrusted: boolean): string {
  const pod = `Pod ${metadata.name}`;
  if (status.reason !== undefined) return `${pod} ended: ${withDetail(status.reason, status.message)}`;
  const terminated = terminationOf({ status });
  if (terminated === undefined) return `${pod} ended (${status.phase ?? "unknown phase"})`;
  const { exitCode, reason = "Error", message } = terminated;
  const why = UNTELLING.has(reason) ? `exit code ${exitCode}` : `${reason}, exit code ${exitCode}`;
  return `${pod} ended: ${withDetail(why, isTrusted ? lastLine(message) : undefined)}`;
}

/** What keeps a pod from running, for people; undefined when nothing unusual does. Pure. */
export function describeWait({ metadata, status }: PodView): string | undefined {
  const waiting = status.containerStatuses?.find(({ state }) => state?.waiting !== undefined)?.state?.waiting;
  if (waiting?.reason !== undefined && !ORDINARY.has(waiting.reason)) return `Pod ${metadata.name} is waiting: ${describeWaiting(waiting.reason, waiting.message)}`;
  const unscheduled = status.conditions?.find((condition) => condition.type === "PodScheduled" && condition.status === "False");
  if (unscheduled === undefined) return undefined;
  return `Pod ${metadata.name} is not scheduled: ${withDetail(unscheduled.reason ?? "Unschedulable", unscheduled.message)}`;
}

// The kubelet swings between ErrImagePull and ImagePullBackOff: told as one, so that status does not swing with it.
function describeWaiting(reason: string, message: string | undefined): string {
  if (reason !== "ErrImagePull" && reason !== "ImagePullBackOff") return withDetail(reason, message);
  return withDetail("ImagePullBackOff", message?.replace(/^Back-off pulling image "[^"]*"(: ErrImagePull: |: )?/, ""));
}

function withDetail(reason: string, detail: string | undefined): string {
  const text = detail?.trim() ?? "";
  if (text === "") return reason;
  return `${reason}: ${text.length <= MAX_DETAIL ? text : `${text.slice(0, MAX_DETAIL - 1)}…`}`;
}

function lastLine(text: string | undefined): string | undefined {
  return text?.trimEnd().split("\n").at(-1);
}
