import type { Claim, SessionCondition, SessionOutcome, SessionReason, SessionWaitingReason } from "@paddock/api/conditions";
import type { Condition } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import type { Fault } from "../kernel/kind.ts";
import type { SessionWorld } from "./observe.ts";

export type SessionClaim = Claim<SessionCondition, SessionReason>;

/** API server's limit for a message is 32768 characters; nobody reads more than this in a table. */
const MAX_MESSAGE = 1024;

/** The session goes on or waits. */
export function claimWaiting(reason: SessionWaitingReason, message: string): readonly SessionClaim[] {
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
  switch (kind) {
    case "forbidden":
      return claimWaiting("Forbidden", message);
    case "invalid":
      return claimWaiting("Invalid", message);
    case "name-conflict":
      // Read back by the next decision, which finishes the session: the pod that is in the way is in no cache of ours.
      return [{ type: "Succeeded", status: "Unknown", reason: "NameConflict", message: cut(message) }, { type: "Finished", status: "False", reason: "NameConflict", message: "" }];
    case "unavailable":
      return conditionOf(self, "Succeeded") === undefined ? claimWaiting("Pending", "Waiting for the API server or the gateway to answer.") : [];
    default:
      return [];
  }
}

function cut(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 1)}…`;
}
