import type { SessionOutcome } from "@paddock/api/conditions";
import type { NewEvent } from "@paddock/api/log/events";
import type { SessionStatus } from "@paddock/api/session";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action, Plan } from "../kernel/kind.ts";
import type { PodView } from "../sources.ts";
import { claimFinished } from "./claim.ts";
import type { SessionWorld } from "./observe.ts";
import { deletePods } from "./pods.ts";
import { type StatusFields, buildStatus } from "./status.ts";

/** Outcomes that the operator gives; all others are the runner's. */
export type OperatorOutcome = Extract<SessionOutcome, "Cancelled" | "DeadlineExceeded" | "RunnerFailed" | "NameConflict">;

/** The event by which the operator ends a run. */
export function buildRunFinished(record: RecordView, outcome: OperatorOutcome, reason: string): NewEvent {
  return { type: "run.finished", data: { outcome, text: "", reason: reason.slice(0, 2048), through: record.lastSeq } };
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
 * After the end: pods that are left go, then the record is acknowledged. A record that still runs behind a terminal status is ended, or its
 * runner would work on for nobody. Pure.
 */
export function decideLeftovers({ self, record, pods }: SessionWorld): Plan<SessionStatus> {
  return { actions: [...deletePods(pods), ...closeRecord(self, record)], claims: undefined };
}

function closeRecord({ metadata }: Session, record: RecordView | undefined): readonly Action[] {
  if (record === undefined) return [];
  if (record.activity.kind === "Finished") return [{ verb: "acknowledge", uid: record.uid }];
  const reason = `Session ${metadata.namespace}/${metadata.name} has finished already, as its status says.`;
  return [{ verb: "append", uid: record.uid, events: [buildRunFinished(record, "Cancelled", reason)] }];
}

/** A Session on its way out, held by somebody's finalizer or foreground deletion: nothing new, and what runs is stopped. Pure. */
export function decideDeleted({ record, pods }: SessionWorld): Plan<SessionStatus> {
  const actions = deletePods(pods);
  if (record?.activity.kind !== "Active") return { actions, claims: undefined };
  const reason = "The Session is being deleted.";
  const events: readonly NewEvent[] = [{ type: "session.cancelled", data: { reason } }, buildRunFinished(record, "Cancelled", reason)];
  return { actions: [{ verb: "append", uid: record.uid, events }, ...actions], claims: undefined };
}
