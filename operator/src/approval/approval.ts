import type { ApprovalStatus } from "@paddock/api/approval";
import type { Kind } from "../kernel/kind.ts";
import { decideApproval } from "./decide.ts";
import { type ApprovalWorld, observeApproval } from "./observe.ts";

/** An Approval: what a person decides on it goes into the session's log, and what the log says of it into its condition. */
export function approvalKind(): Kind<ApprovalWorld, ApprovalStatus> {
  return { name: "Approval", observe: observeApproval, decide: decideApproval };
}
