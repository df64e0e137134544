import type { ApprovalSpec } from "@paddock/api/approval";
import { API_VERSION } from "@paddock/api/group";
import { ANNOTATIONS, LABELS, MANAGED_BY, approvalName, ownerReference, shorten } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { ApprovalView, RecordView } from "@paddock/api/wire/records";
import type { Action, Manifest } from "../kernel/kind.ts";
import type { SessionWorld } from "./observe.ts";

/** Calls that wait for somebody's decision, oldest first. */
function pendingApprovals({ activity, approvals }: RecordView): readonly ApprovalView[] {
  return activity.kind === "Finished" ? [] : approvals.filter(({ resolution }) => resolution === undefined);
}

/** An Approval for each call that waits and has none yet. Pure. */
export function askPeople({ self, approvals }: SessionWorld, record: RecordView): readonly Action[] {
  const asked = new Set(approvals.map(({ metadata }) => metadata.name));
  return pendingApprovals(record)
    .map((approval) => buildApproval(self, record, approval))
    .filter(({ metadata }) => !asked.has(metadata.name))
    .map((object) => ({ verb: "create", object }));
}

interface ApprovalManifest extends Manifest {
  readonly spec: ApprovalSpec;
}

/** What people are asked about one call, whole: who may decide is the frozen Environment's say, and who may not are those who asked for the work. Pure. */
export function buildApproval(self: Session, { bundle, authors }: RecordView, approval: ApprovalView): ApprovalManifest {
  const { name, namespace, uid, annotations } = self.metadata;
  const { allowRequester = false, allowServiceAccounts = false } = bundle.environment.spec.approvals ?? {};
  const creator = annotations?.[ANNOTATIONS.createdBy];
  return {
    apiVersion: API_VERSION,
    kind: "Approval",
    metadata: {
      name: approvalName(name, approval.call),
      namespace,
      labels: {
        [LABELS.managedBy]: MANAGED_BY,
        [LABELS.session]: shorten(name),
        [LABELS.sessionUid]: uid,
        [LABELS.agent]: shorten(self.spec.agentRef.name),
        [LABELS.environment]: shorten(bundle.environment.name),
      },
      ownerReferences: [ownerReference(self)],
    },
    spec: {
      sessionRef: { name, uid },
      agentName: self.spec.agentRef.name,
      call: approval.call,
      tool: approval.tool,
      fingerprint: approval.fingerprint,
      argumentsSummary: approval.summary,
      argumentsDigest: approval.argumentsDigest,
      requesters: [...new Set([...(creator === undefined || creator === "" ? [] : [creator]), ...authors])],
      allowRequester,
      allowServiceAccounts,
      requestedAt: approval.requestedAt,
      expiresAt: approval.expiresAt,
      traceID: bundle.traceId,
    },
  };
}

/** What waits, and how people decide on it. Pure. */
export function describeApprovals(record: RecordView): string {
  const [first, ...others] = pendingApprovals(record);
  if (first === undefined) return "";
  const { namespace } = record;
  const name = approvalName(record.name, first.call);
  const decision = JSON.stringify({ status: { decision: { decision: "Approved", decidedBy: "YOUR-USER-NAME" } } });
  const names = others.slice(0, MAX_NAMED).map((other) => `${approvalName(record.name, other.call)} (${other.tool})`);
  const rest = others.length - names.length;
  const all = [`${name} (${first.tool})`, ...names, ...(rest === 0 ? [] : [`${rest} more`])].join(", ");
  return `Waiting for a decision on Approval ${all}: kubectl get approvals -n ${namespace} shows what is asked; kubectl patch approval ${name} -n ${namespace} --subresource=status --type=merge -p '${decision}' decides (or Denied; your user name is shown by kubectl auth whoami)`;
}

const MAX_NAMED = 4;
