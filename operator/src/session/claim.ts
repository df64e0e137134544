import type { Claim, SessionCondition, SessionOutcome, SessionReason, SessionWaitingReason } from "@paddock/api/conditions";
import { cutText } from "@paddock/api/cut";
import type { WaitingFor } from "@paddock/api/log/state";
import type { Condition } from "@paddock/api/object";
import type { Session, SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Announcement, Fault } from "../kernel/kind.ts";
import { announceProblems } from "../kernel/announce.ts";
import { describeApprovals } from "./approvals.ts";
import type { SessionWorld } from "./observe.ts";

/** API server's limit for a condition's message is 32768 characters; nobody reads more than this in a table. */
export const MAX_MESSAGE = 1024;

/** A Session as old as this that has heard nothing is told why. */
export const SILENT_MS = 5_000;

export type SessionClaim = Claim<SessionCondition, SessionReason>;

/** The session goes on or waits. */
export function claimWaiting(reason: SessionWaitingReason, message: string): readonly SessionClaim[] {
  return claimSo(reason, message);
}

function claimSo(reason: SessionReason, message: string): readonly SessionClaim[] {
  return [
    { type: "Succeeded", status: "Unknown", reason, message: cut(message) },
    { type: "Finished", status: "False", reason, message: "" },
  ];
}

/** The session has come to its end. */
export function claimFinished(outcome: SessionOutcome, message: string): readonly SessionClaim[] {
  return [
    { type: "Succeeded", status: outcome === "Completed" ? "True" : "False", reason: outcome, message: cut(message) },
    { type: "Finished", status: "True", reason: outcome, message: "" },
  ];
}

/** What status says already, with Cancelling added: its transition time is when the cancel was first seen in the log. */
export function claimCancelling(self: Session): readonly SessionClaim[] {
  const succeeded = conditionOf(self, "Succeeded");
  const claims: readonly SessionClaim[] = succeeded === undefined ? claimWaiting("Starting", "") : claimWaiting(succeeded.reason as SessionWaitingReason, succeeded.message);
  return [...claims, { type: "Cancelling", status: "True", reason: "Cancelled", message: "The runner has a moment to record what is known." }];
}

/** What a session waits for stands beside how it is: facts, which hold whatever its reason says. Pure. */
export function completeClaims({ self, record }: Pick<SessionWorld, "self" | "record">, claims: readonly Claim[]): readonly Claim[] {
  const succeeded = claims.find(({ type }) => type === "Succeeded");
  if (succeeded === undefined) return claims;
  const isOver = claims.some(({ type, status }) => type === "Finished" && status === "True");
  return [...claims, ...claimInput(self, isOver ? undefined : record, succeeded), ...(isOver ? [] : claimHeld(self, record))];
}

/** Whether somebody outside has to say something: always told of a Conversation, of a Task while it is so. */
function claimInput({ spec }: Session, record: RecordView | undefined, { reason }: Claim): readonly Claim[] {
  const wanted = record?.activity.kind === "Waiting" ? INPUTS[record.activity.for] : undefined;
  if (wanted !== undefined) return [{ type: "AwaitingInput", status: "True", reason: wanted, message: "" }];
  return spec.mode === "Conversation" ? [{ type: "AwaitingInput", status: "False", reason, message: "" }] : [];
}

const INPUTS: Readonly<Partial<Record<WaitingFor, SessionReason>>> = { input: "AwaitingInput", tool: "AwaitingToolResult" };

function claimHeld({ spec }: Session, record: RecordView | undefined): readonly SessionClaim[] {
  const asked = record === undefined ? "" : describeApprovals(record);
  const isSuspended = record === undefined ? spec.suspend === true : record.suspended;
  return [
    ...(asked === "" ? [] : [{ type: "AwaitingApproval", status: "True", reason: "AwaitingApproval", message: cut(asked) } as const]),
    ...(isSuspended ? [{ type: "Suspended", status: "True", reason: "Suspended", message: "spec.suspend is true: nothing new begins." } as const] : []),
  ];
}

export function conditionOf({ status }: Session, type: SessionCondition): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** Problems, and, once, that a call has begun to wait for somebody. Pure. */
export function announceSession(before: SessionStatus | undefined, after: SessionStatus): readonly Announcement[] {
  const asks = (status: SessionStatus | undefined): Condition | undefined => status?.conditions?.find(({ type }) => type === "AwaitingApproval");
  const asked = asks(before) === undefined ? asks(after) : undefined;
  return [...announceProblems(before, after), ...(asked === undefined ? [] : [{ type: "Normal", reason: "ApprovalNeeded", message: asked.message } as const])];
}

export function isFinished(self: Session): boolean {
  return conditionOf(self, "Finished")?.status === "True";
}

/** What a failed action says to the Session's readers: what people can cure, and a gateway that is away while nothing else is known. */
export function explainFault({ self, record }: SessionWorld, { kind, message }: Fault): readonly SessionClaim[] {
  // The end is told whatever keeps its pods from being deleted: people wait for it.
  if (isFinished(self) || record?.activity.kind === "Finished") return [];
  if (kind === "unavailable") return conditionOf(self, "Succeeded") === undefined ? claimWaiting("Pending", "Waiting for the API server or the gateway to answer.") : [];
  // Read back by the next decision, which finishes the session: the pod that is in the way is in no cache of ours.
  if (kind === "name-conflict") return claimSo("NameConflict", message);
  const reason = CURABLE.get(kind);
  return reason === undefined ? [] : claimWaiting(reason, message);
}

/** Faults that people can cure, and as what they are told. */
const CURABLE: ReadonlyMap<Fault["kind"], SessionWaitingReason> = new Map([
  ["forbidden", "Forbidden"],
  ["access-denied", "Forbidden"],
  ["invalid", "Invalid"],
  ["missing-reference", "ConfigMapNotFound"],
]);

/** What a condition's message may hold. */
export function cut(message: string): string {
  return cutText(message, MAX_MESSAGE);
}
