import { runnerPodName } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { PodView } from "../sources.ts";
import { leftMs } from "./deadline.ts";
import type { SessionWorld } from "./observe.ts";
import { describeEnd, isDisrupted } from "./pod-trouble.ts";
import { endedAt, findPod, hasEnded, isRunning, runningSince } from "./pods.ts";

/** A runner that has been away from the gateway for so long is replaced, even if Kubernetes still shows its pod. */
const DISCONNECTED_MS = 60_000;

/*
 *            count            create             register
 *   New ───────────▶ Counted ─────────▶ Alive ◀──────────┐
 *    ▲                  ▲                 │ ended, gone, disconnected
 *    │ waited too long  │ count           ▼
 *    └── (Alive)        └───────────────  Lost ──▶ run.finished RunnerFailed (three in a row)
 */
export type RunnerState =
  /** No attempt is counted, or a session that waited has given up its pods. `attempt` is the next. */
  | { readonly kind: "New"; readonly attempt: number }
  /** The attempt is counted and its pod does not exist yet. */
  | { readonly kind: "Counted"; readonly attempt: number }
  /** `lostInMs`: when it will be taken for lost unless it connects; undefined while it is connected or starting. */
  | { readonly kind: "Alive"; readonly attempt: number; readonly pod: PodView; readonly lostInMs?: number }
  /**
   * `at`: when it happened, in epoch milliseconds; undefined when nothing tells or enough time has passed. `isDisruption`: the cluster took the
   * pod away, the runner is not to blame.
   */
  | { readonly kind: "Lost"; readonly attempt: number; readonly reason: string; readonly isDisruption: boolean; readonly pod?: PodView; readonly at?: number };

/** Where the newest attempt stands. Pure. */
export function runnerStateOf({ self, pods }: SessionWorld, record: RecordView, now: Date): RunnerState {
  const { attempts: attempt = 0, podName, replacesPodUID } = self.status?.runner ?? {};
  if (podName === undefined) return { kind: "New", attempt: attempt + 1 };
  const name = runnerPodName(self.metadata.name, attempt);
  const pod = findPod(pods, name);
  if (pod === undefined) {
    if (!wasRegistered(record, replacesPodUID)) return { kind: "Counted", attempt };
    return { kind: "Lost", attempt, reason: `Pod ${name} was deleted`, isDisruption: true, ...atOf(disconnectedAt(record)) };
  }
  if (hasEnded(pod)) return { kind: "Lost", attempt, reason: describeEnd(pod, true), isDisruption: isDisrupted(pod), pod, at: lostAt(pod) };
  const lostInMs = leftUntilLost(record, pod, now);
  if (lostInMs === undefined) return { kind: "Alive", attempt, pod };
  if (lostInMs > 0) return { kind: "Alive", attempt, pod, lostInMs };
  return { kind: "Lost", attempt, reason: describeLoss(pod), isDisruption: isDisrupted(pod), pod };
}

function describeLoss({ metadata: { name, deletionTimestamp }, spec }: PodView): string {
  if (deletionTimestamp === undefined) return `Pod ${name} has not been connected to the gateway for ${DISCONNECTED_MS / 1000} s`;
  return `Pod ${name} should be gone since ${deletionTimestamp} and is not: node ${spec.nodeName ?? "unknown"} does not answer`;
}

// A pod that its node turned away or evicted does not tell its end: counted from its beginning, or all attempts would meet the same full node at once.
function lostAt(pod: PodView): number {
  return endedAt(pod) ?? Date.parse(pod.metadata.creationTimestamp);
}

/** The gateway knows a pod that the newest attempt does not replace: it is that attempt's own. */
function wasRegistered({ runner }: RecordView, replacesPodUID: string | undefined): boolean {
  return runner.podUid !== undefined && runner.podUid !== replacesPodUID;
}

function leftUntilLost(record: RecordView, pod: PodView, now: Date): number | undefined {
  const isOurs = record.runner.podUid === pod.metadata.uid;
  if (isOurs && record.runner.connected) return undefined;
  // On a node that does not answer a pod stays "being deleted" for ever, whether it ran or not.
  if (pod.metadata.deletionTimestamp !== undefined) return leftMs(Date.parse(pod.metadata.deletionTimestamp), DISCONNECTED_MS, now);
  const at = disconnectedAt(record);
  // A pod that cannot connect yet, because it does not run or is not registered, is not disconnected.
  if (at === undefined || !isOurs || !isRunning(pod)) return undefined;
  const runningAt = Date.parse(runningSince(pod) ?? pod.metadata.creationTimestamp);
  return leftMs(Math.max(at, runningAt), DISCONNECTED_MS, now);
}

function disconnectedAt({ runner }: RecordView): number | undefined {
  return runner.connected ? undefined : Date.parse(runner.since);
}

function atOf(at: number | undefined): { readonly at?: number } {
  return at === undefined ? {} : { at };
}
