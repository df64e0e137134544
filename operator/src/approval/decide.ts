import { type Approval, type ApprovalStatus, isGenuine, isResolved } from "@paddock/api/approval";
import type { NewEvent } from "@paddock/api/log/events";
import type { ApprovalView, RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import { type ApprovalClaim, claimForgotten, claimOpen, claimResolved } from "./claim.ts";
import type { ApprovalWorld } from "./observe.ts";

type Decision = NonNullable<ApprovalStatus["decision"]>;

/*
 *   Pending ──a person decides──▶ appended ──the log has it──▶ Approved, Denied
 *      ├──expiresAt, by the gateway──▶ Expired ──decided after all──▶ TooLate
 *      └──the call or its session is over──▶ Withdrawn ──decided after all──▶ TooLate
 */

/** What to do about an Approval: the log alone says whether a call was decided, status follows it. Pure. */
export function decideApproval(world: ApprovalWorld): Plan<ApprovalStatus> {
  const { self, record, isRecordsSynced } = world;
  if (!isGenuine(self)) return say(undefined);
  if (isResolved(self)) return say(claimLateDecision(self));
  return isRecordsSynced ? followLog(world, record) : say(undefined);
}

function followLog(world: ApprovalWorld, record: RecordView | undefined): Plan<ApprovalStatus> {
  const { self } = world;
  const decision = self.status?.decision;
  const asked = findAsked(self, record);
  if (asked?.resolution !== undefined) return say(claimResolved(asked.resolution, decision));
  if (asked === undefined || record === undefined || record.activity.kind === "Finished") return say(claimForgotten(decision));
  return decision === undefined ? say(claimPending(self)) : decideAsked(world, record, { asked, decision });
}

function say(claims: readonly ApprovalClaim[] | undefined): Plan<ApprovalStatus> {
  return { actions: [], claims };
}

/** An Approval is about one call and its fingerprint: what else the log has under that call is another question. */
function findAsked({ spec }: Approval, record: RecordView | undefined): ApprovalView | undefined {
  return record?.approvals.find(({ call, fingerprint, argumentsDigest }) => call === spec.call && fingerprint === spec.fingerprint && argumentsDigest === spec.argumentsDigest);
}

/** Somebody has decided on what was over undecided: only that is told anew. */
function claimLateDecision({ status }: Approval): readonly ApprovalClaim[] | undefined {
  const reason = status?.conditions?.find(({ type }) => type === "Resolved")?.reason;
  if (status?.decision === undefined) return undefined;
  if (reason === "Withdrawn") return claimForgotten(status.decision);
  return reason === "Expired" ? claimResolved({ decision: "Expired", scope: "Once" }, status.decision) : undefined;
}

interface Decided {
  readonly asked: ApprovalView;
  readonly decision: Decision;
}

/** Admission has checked who may decide, and the API server has told it who it is. Only while it did so does a decision count. */
function decideAsked(world: ApprovalWorld, record: RecordView, { asked, decision }: Decided): Plan<ApprovalStatus> {
  const { self, admission } = world;
  if (admission?.trusted !== true) return say(claimOpen("AdmissionMissing", `The decision of ${decision.decidedBy} is not honoured before the release's admission policies can be relied on: ${admission?.problems[0] ?? "they have not been looked at yet"}`));
  const fault = findFault(world, record, decision);
  if (fault !== undefined) return say(claimOpen("Pending", `The decision of ${decision.decidedBy} is not honoured: ${fault}. Nothing else can be decided here: the call is denied at ${self.spec.expiresAt}, or ends when its session is interrupted or cancelled.`));
  return { actions: [{ verb: "append", uid: record.uid, events: [buildResolution(asked, decision)] }], claims: undefined };
}

function buildResolution({ call, fingerprint }: ApprovalView, { decision, decidedBy, reason, scope }: Decision): NewEvent {
  const because = reason === undefined || reason === "" ? {} : { reason };
  return { type: "approval.resolved", data: { call, fingerprint, decision, by: decidedBy, ...because, scope: decision === "Approved" ? (scope ?? "Once") : "Once" } };
}

/** Why a decision does not count though it was admitted, e.g. while a policy was missing. What holds is the record's, not what this object says of itself. Pure. */
function findFault({ self, creator }: ApprovalWorld, { bundle, authors }: RecordView, { decidedBy, argumentsDigest }: Decision): string | undefined {
  const rules = bundle.environment.spec.approvals;
  const requesters = [...self.spec.requesters, ...authors, creator];
  if (argumentsDigest !== undefined && argumentsDigest !== self.spec.argumentsDigest) return "it is about other arguments than those that wait";
  if (rules?.allowRequester !== true && requesters.includes(decidedBy)) return "who asked for the work may not decide on it (spec.approvals.allowRequester of the Environment)";
  if (rules?.allowServiceAccounts !== true && decidedBy.startsWith("system:serviceaccount:")) return "service accounts may not decide here (spec.approvals.allowServiceAccounts of the Environment)";
  return undefined;
}

function claimPending({ metadata, spec }: Approval): readonly ApprovalClaim[] {
  const decision = { status: { decision: { decision: "Approved", decidedBy: "YOUR-USER-NAME" } } };
  const command = `kubectl patch approval ${metadata.name} -n ${metadata.namespace} --subresource=status --type=merge -p '${JSON.stringify(decision)}'`;
  return claimOpen("Pending", `Waits for a decision until ${spec.expiresAt}, which then is a denial: ${command} (or Denied, with a reason; your user name is shown by kubectl auth whoami)`);
}
