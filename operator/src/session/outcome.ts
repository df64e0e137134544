import type { SessionOutcome } from "@paddock/api/conditions";
import { cutText } from "@paddock/api/cut";
import type { NewEvent } from "@paddock/api/log/events";
import type { Session, SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action, Plan } from "../kernel/kind.ts";
import type { PodView } from "../sources.ts";
import { claimFinished } from "./claim.ts";
import { leftMs } from "./deadline.ts";
import type { SessionWorld } from "./observe.ts";
import { deletePods, stopPods } from "./pods.ts";
import { type StatusFields, buildStatus } from "./status.ts";

/** What the log takes as a reason. */
const MAX_REASON = 2048;

/** Outcomes that the operator gives; all others are the runner's. */
export type OperatorOutcome = Extract<SessionOutcome, "Cancelled" | "DeadlineExceeded" | "RunnerFailed" | "ImagePullFailed" | "NotIsolated" | "NameConflict">;

/** The event by which the operator ends a run. */
export function buildRunFinished(record: RecordView, outcome: OperatorOutcome, reason: string): NewEvent {
  return { type: "run.finished", data: { outcome, text: "", reason: cutText(reason, MAX_REASON), through: record.lastSeq } };
}

/** Asks the log to end the run. Status follows when the record shows it. */
export function planFinish(record: RecordView, outcome: OperatorOutcome, reason: string): Plan<SessionStatus> {
  return { actions: [{ verb: "append", uid: record.uid, events: [buildRunFinished(record, outcome, reason)] }], claims: undefined };
}

/** A finished record: terminal status and the end of all pods in one pass; the log keeps the evidence. Pure. */
export function decideOutcome({ self, pods }: SessionWorld, record: RecordView, { outcome, at }: { readonly outcome: SessionOutcome; readonly at: string }): Plan<SessionStatus> {
  const { text = "", truncated = false, message = "" } = record.result ?? {};
  const turns = `${record.turns} ${record.turns === 1 ? "turn" : "turns"}`;
  const status: StatusFields = {
    ...buildStatus(record, self.status),
    completionTime: at,
    result: { outcome, text, truncated: truncated ? true : undefined, message: message === "" ? undefined : message },
  };
  return { actions: deletePods(pods), claims: claimFinished(outcome, message === "" ? `${outcome} after ${turns}.` : message), status };
}

/** An end that no log can tell, because there is none. Pure. */
export function planEnd(
  { self, pods, outcome, message }: { readonly self: Session; readonly pods: readonly PodView[]; readonly outcome: "Cancelled" | "LogLost"; readonly message: string },
  now: Date,
): Plan<SessionStatus> {
  const { conditions: _, observedGeneration: __, ...before } = self.status ?? {};
  const status: StatusFields = { ...before, completionTime: now.toISOString(), result: { outcome, message } };
  return { actions: deletePods(pods), claims: claimFinished(outcome, message), status };
}

/**
 * After the end: pods that are left go, then the record is acknowledged, and last the Session goes when its time to live is over. A record that still
 * runs behind a terminal status is ended, or its runner would work on for nobody. Pure.
 */
export function decideLeftovers({ self, record, pods, approvals, isRecordsSynced }: SessionWorld, now: Date): Plan<SessionStatus> {
  const actions = [...deletePods(pods), ...closeRecord(self, record, approvals.length === 0)];
  if (actions.length > 0 || !isRecordsSynced || record !== undefined) return { actions, claims: undefined };
  return expire(self, now);
}

function expire({ metadata, spec, status }: Session, now: Date): Plan<SessionStatus> {
  const { ttlSecondsAfterFinished: ttl } = spec;
  if (ttl === undefined || status?.completionTime === undefined || metadata.deletionTimestamp !== undefined) return { actions: [], claims: undefined };
  const left = leftMs(Date.parse(status.completionTime), ttl * 1000, now);
  if (left > 0) return { actions: [], claims: undefined, requeueAfterMs: left };
  const { namespace, name, uid } = metadata;
  return { actions: [{ verb: "delete", resource: "Session", key: { namespace, name }, uid }], claims: undefined };
}

/** `isTold`: no Approval has to read in the record how it ended. */
function closeRecord({ metadata }: Session, record: RecordView | undefined, isTold: boolean): readonly Action[] {
  if (record === undefined) return [];
  if (record.activity.kind === "Finished") return isTold ? [{ verb: "acknowledge", uid: record.uid }] : [];
  const reason = `Session ${metadata.namespace}/${metadata.name} has finished already, as its status says.`;
  return [{ verb: "append", uid: record.uid, events: [buildRunFinished(record, "Cancelled", reason)] }];
}

/** A Session on its way out, held by somebody's finalizer or foreground deletion: nothing new, and what runs is stopped. Pure. */
export function decideDeleted({ record, pods }: SessionWorld): Plan<SessionStatus> {
  const actions = stopPods(pods);
  if (record === undefined || record.activity.kind === "Finished") return { actions, claims: undefined };
  const reason = "The Session is being deleted.";
  const events: readonly NewEvent[] = [{ type: "session.cancelled", data: { reason } }, buildRunFinished(record, "Cancelled", reason)];
  // The pods first: nobody waits for a gateway that is away.
  return { actions: [...actions, { verb: "append", uid: record.uid, events }], claims: undefined };
}
