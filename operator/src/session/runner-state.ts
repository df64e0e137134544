import { runnerPodName } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { PodView } from "../sources.ts";
import { leftMs } from "./deadline.ts";
import type { SessionWorld } from "./observe.ts";
import { describeEnd } from "./pod-trouble.ts";
import { endedAt, findPod, hasEnded, isRunning, runningSince } from "./pods.ts";

/** A runner that has been away from the gateway for so long is replaced, even if Kubernetes still shows its pod. */
const DISCONNECTED_MS = 60_000;

/*
 *            count            create             register
 *   New ───────────▶ Counted ─────────▶ Alive ◀──────────┐
 *                       ▲                 │ ended, gone, disconnected
 *                       │ count           ▼
 *                       └───────────────  Lost ──▶ run.finished RunnerFailed (three in a row)
 */
export type RunnerState =
  /** No attempt is counted. */
  | { readonly kind: "New" }
  /** The attempt is counted and its pod does not exist yet. */
  | { readonly kind: "Counted"; readonly attempt: number }
  /** `disconnectedLeftMs`: when it will be taken for lost unless it connects; undefined while it is connected or starting. */
  | { readonly kind: "Alive"; readonly attempt: number; readonly pod: PodView; readonly disconnectedLeftMs?: number }
  /** `at`: when it happened, in epoch milliseconds; undefined when nothing tells or enough time has passed. */
  | { readonly kind: "Lost"; readonly attempt: number; readonly reason: string; readonly pod?: PodView; readonly at?: number };

/** Where the newest attempt stands. Pure. */
export function runnerStateOf({ self, pods }: SessionWorld, record: RecordView, now: Date): RunnerState {
  const { attempts: attempt = 0, replacesPodUID } = self.status?.runner ?? {};
  if (attempt === 0) return { kind: "New" };
  const name = runnerPodName(self.metadata.name, attempt);
  const pod = findPod(pods, name);
  if (pod === undefined) {
    if (!wasRegistered(record, replacesPodUID)) return { kind: "Counted", attempt };
    return { kind: "Lost", attempt, reason: `Pod ${name} was deleted`, ...atOf(disconnectedAt(record)) };
  }
  if (hasEnded(pod)) return { kind: "Lost", attempt, reason: describeEnd(pod, true), pod, at: lostAt(pod) };
  const disconnectedLeftMs = disconnectedLeft(record, pod, now);
  if (disconnectedLeftMs === undefined) return { kind: "Alive", attempt, pod };
  if (disconnectedLeftMs > 0) return { kind: "Alive", attempt, pod, disconnectedLeftMs };
  return { kind: "Lost", attempt, reason: `Pod ${name} has not been connected to the gateway for ${DISCONNECTED_MS / 1000} s`, pod };
}

// A pod that its node turned away or evicted does not tell its end: counted from its beginning, or all attempts would meet the same full node at once.
function lostAt(pod: PodView): number {
  return endedAt(pod) ?? Date.parse(pod.metadata.creationTimestamp);
}

/** The gateway knows a pod that the newest attempt does not replace: it is that attempt's own. */
function wasRegistered({ runner }: RecordView, replacesPodUID: string | undefined): boolean {
  return runner.podUid !== undefined && runner.podUid !== replacesPodUID;
}

/** A pod that cannot connect yet, because it does not run or is not registered, is not disconnected. */
function disconnectedLeft(record: RecordView, pod: PodView, now: Date): number | undefined {
  const at = disconnectedAt(record);
  if (at === undefined || record.runner.podUid !== pod.metadata.uid || !isRunning(pod)) return undefined;
  const runningAt = Date.parse(runningSince(pod) ?? pod.metadata.creationTimestamp);
  return leftMs(Math.max(at, runningAt), DISCONNECTED_MS, now);
}

function disconnectedAt({ runner }: RecordView): number | undefined {
  return runner.connected ? undefined : Date.parse(runner.since);
}

function atOf(at: number | undefined): { readonly at?: number } {
  return at === undefined ? {} : { at };
}
