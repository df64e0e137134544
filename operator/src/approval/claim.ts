import type { Approval } from "@paddock/api/approval";
import type { ApprovalCondition, ApprovalReason, Claim } from "@paddock/api/conditions";
import type { ApprovalView } from "@paddock/api/wire/records";

export type ApprovalClaim = Claim<ApprovalCondition, ApprovalReason>;

type Decision = NonNullable<NonNullable<Approval["status"]>["decision"]>;
type Resolution = Pick<NonNullable<ApprovalView["resolution"]>, "decision" | "by" | "scope">;

/** The call still waits. */
export function claimOpen(reason: Extract<ApprovalReason, "Pending" | "AdmissionMissing">, message: string): readonly ApprovalClaim[] {
  return [{ type: "Resolved", status: "Unknown", reason, message }];
}

/** As the log says; a decision that the log does not have came too late. Pure. */
export function claimResolved({ decision, by, scope }: Resolution, made: Decision | undefined): readonly ApprovalClaim[] {
  if (decision === "Expired") return made === undefined ? claimOver("Expired", "Nobody decided in time, which is a denial.") : claimTooLate(made, "the call had expired");
  const who = by === undefined ? "" : ` by ${by}`;
  const extent = decision === "Approved" && scope === "Session" ? ", for every equal call of the session" : "";
  return claimOver(decision, `${decision}${who}${extent}.`);
}

/** The call is over and the log does not know that anybody decided on it. Pure. */
export function claimForgotten(made: Decision | undefined): readonly ApprovalClaim[] {
  return made === undefined ? claimOver("Withdrawn", "The call was over before anybody decided: cancelled, interrupted, or its session has ended.") : claimTooLate(made, "the call was over");
}

function claimTooLate({ decision, decidedBy }: Decision, fact: string): readonly ApprovalClaim[] {
  return claimOver("TooLate", `${decision} by ${decidedBy} when ${fact}: it changed nothing.`);
}

function claimOver(reason: Exclude<ApprovalReason, "Pending" | "AdmissionMissing">, message: string): readonly ApprovalClaim[] {
  return [{ type: "Resolved", status: "True", reason, message }];
}
