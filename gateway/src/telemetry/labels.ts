import { EGRESS_REFUSALS } from "@paddock/api/egress";
import { eventData, MODEL_FAILURES } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";

/** Every value that a label of the gateway's metrics may have. */
export const LABELS = {
  activity: ["Active", "WaitingForInput", "WaitingForApproval", "WaitingForTool", "WaitingForResume", "Finished"],
  outcome: eventData["run.finished"].shape.outcome.options,
  modelResult: ["answered", ...MODEL_FAILURES, "lost"],
  tokenType: ["input", "cached", "output"],
  toolStatus: [...eventData["tool.finished"].shape.status.options, "unfinished"],
  approvalDecision: [...eventData["approval.resolved"].shape.decision.options, "Withdrawn"],
  egressReason: ["Allowed", ...EGRESS_REFUSALS],
  direction: ["sent", "received"],
  isolation: ["closed", "open"],
  audience: ["operator", "runner", "person"],
  reviewed: ["identity", "rejected", "unavailable"],
  spanResult: ["exported", "failed", "dropped"],
} as const;

export type Labels = { readonly [L in keyof typeof LABELS]: (typeof LABELS)[L][number] };
export type Activity = Labels["activity"];

const WAITING = { input: "WaitingForInput", approval: "WaitingForApproval", tool: "WaitingForTool", resume: "WaitingForResume" } as const;

export function activityLabel({ finished, waiting }: Pick<SessionState, "finished" | "waiting">): Activity {
  if (finished !== undefined) return "Finished";
  return waiting === undefined ? "Active" : WAITING[waiting.for];
}
