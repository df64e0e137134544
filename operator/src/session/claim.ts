import type { Claim, SessionCondition, SessionOutcome, SessionReason, SessionWaitingReason } from "@paddock/api/conditions";
import { cutText } from "@paddock/api/cut";
import type { Condition } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import type { Fault } from "../kernel/kind.ts";
import type { SessionWorld } from "./observe.ts";

/** API server's limit for a condition's message is 32768 characters; nobody reads more than this in a table. */
export const MAX_MESSAGE = 1024;

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

/** A Conversation's claims are completed by whether it waits for its next message. */
export function completeClaims({ spec }: Session, claims: readonly Claim[]): readonly Claim[] {
  const succeeded = claims.find(({ type }) => type === "Succeeded");
  if (spec.mode !== "Conversation" || succeeded === undefined) return claims;
  return [...claims, { type: "AwaitingInput", status: succeeded.reason === "AwaitingInput" ? "True" : "False", reason: succeeded.reason, message: "" }];
}

export function conditionOf({ status }: Session, type: SessionCondition): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
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

function cut(message: string): string {
  return cutText(message, MAX_MESSAGE);
}
