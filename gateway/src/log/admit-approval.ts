import { digestOf } from "@paddock/api/log/canonical";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { redactValue } from "@paddock/api/log/redaction";
import type { ApprovalState } from "@paddock/api/log/state";
import { DEFAULT_APPROVAL_SECONDS } from "@paddock/api/environment";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";
import { summarise } from "./summary.ts";

type Resolution = EventDataOf<"approval.resolved">;

/** What asks people about a decided call; undefined when its fingerprint is approved for the session already. Everything in it is as the log holds it. */
export function buildApprovalRequest(decided: EventDataOf<"tool.decided">, { state, bundle, now }: Question): NewEvent | undefined {
  const { call, tool, fingerprint } = decided;
  if (state.approvedFingerprints?.includes(fingerprint) === true) return undefined;
  const args = redactValue(decided.arguments);
  const { timeoutSeconds = DEFAULT_APPROVAL_SECONDS } = bundle.environment.spec.approvals ?? {};
  const expiresAt = new Date(now.getTime() + timeoutSeconds * 1000).toISOString();
  return { type: "approval.requested", data: { call, tool, fingerprint, summary: summarise(tool, args), argumentsDigest: digestOf(args), expiresAt } };
}

/** The first accepted decision stands: people's until the approval expires, the gateway's from then on. The same one again is known. */
export function admitResolved(data: Resolution, question: Question): Admission | undefined {
  const approval = question.state.approvals?.findLast(({ call }) => call === data.call);
  if (approval === undefined) return refuse("unexpected", "final", `no approval is asked for call ${data.call}: it was never asked about, or has its tool.finished`);
  if (approval.fingerprint !== data.fingerprint) {
    return refuse("denied", "final", `the decision is about the fingerprint ${data.fingerprint}, and call ${data.call} has ${approval.fingerprint}: decide about the Approval that shows it`);
  }
  if (approval.resolution !== undefined) return answerDecided(data, approval.resolution);
  return question.who.role === "gateway" ? refuseGateway(data, approval, question) : refusePerson(data, approval, question);
}

function answerDecided({ call, decision, by, scope }: Resolution, earlier: NonNullable<ApprovalState["resolution"]>): Admission {
  if (decision === earlier.decision && by === earlier.by && scope === earlier.scope) return { kind: "known", seq: earlier.seq };
  return refuse("conflict", "final", `call ${call} was decided at event ${earlier.seq}: ${earlier.decision}${earlier.by === undefined ? "" : ` by ${earlier.by}`}; the first decision stands`);
}

function refuseGateway({ call, decision }: Resolution, { expiresAt }: ApprovalState, { now }: Question): Refusal | undefined {
  if (decision !== "Expired") return refuse("denied", "final", "the gateway decides nothing: it only notes that an approval expired");
  if (now.getTime() >= Date.parse(expiresAt)) return undefined;
  return refuse("unexpected", "wait", `the approval of call ${call} can be decided until ${expiresAt}`);
}

function refusePerson({ call, decision, by }: Resolution, { expiresAt }: ApprovalState, { state, bundle, now }: Question): Refusal | undefined {
  if (decision === "Expired") return refuse("denied", "final", "only the gateway notes that an approval expired: decide Approved or Denied");
  if (by === undefined) return refuse("malformed", "final", "a decision names who decided (by)");
  if (now.getTime() >= Date.parse(expiresAt)) {
    return refuse("stopped", "final", `the approval of call ${call} expired at ${expiresAt} and counts as denied: the agent may ask again (environment.spec.approvals.timeoutSeconds sets how long a decision may take)`);
  }
  const isOwn = decision === "Approved" && state.authors?.includes(by) === true && bundle.environment.spec.approvals?.allowRequester !== true;
  if (!isOwn) return undefined;
  return refuse("denied", "final", `${by} wrote a message of the session and may not approve its calls: ask somebody else, or set environment.spec.approvals.allowRequester for later sessions`);
}
