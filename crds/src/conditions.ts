// Condition types and reasons of every kind: the closed unions people and controllers may rely on.

export type ConditionStatus = "True" | "False" | "Unknown";

/** What a decision says about an object; the kernel adds time and generation. */
export interface Claim<Type extends string = string, Reason extends string = string> {
  readonly type: Type;
  readonly status: ConditionStatus;
  readonly reason: Reason;
  readonly message: string;
}

/** Ready: the object can be used. Reconciling and Stalled are abnormal-true: present only while they hold. */
export type AgentCondition = "Ready" | "Reconciling" | "Stalled";
export type AgentReason = "Available";

export type EnvironmentCondition = "Ready" | "Reconciling" | "Stalled";
export type EnvironmentReason =
  | "Available"
  /** The static objects (policies, service account) are being made. */
  | "Progressing"
  /** An object of ours cannot be made because somebody else's stands under its name. */
  | "NameConflict"
  /** A `baseURL` points into the cluster and no `network.inCluster` peer allows it, or it cannot be parsed. */
  | "InvalidReference"
  /** A value that the API server would refuse in a policy or pod, e.g. a request above its limit. */
  | "Invalid"
  /** The API server refused a write of ours. */
  | "Forbidden"
  /** A network policy that is not ours selects Paddock pods and allows something. */
  | "NetworkPolicyConflict"
  /** An admission policy or binding of the release is missing, changed or does not type-check: nothing that relies on it is honoured. */
  | "AdmissionMissing"
  /** A runner reports that a Secret or the key in it is missing. Pods may still be made: the runner waits for it. */
  | "SecretNotFound"
  /** A sandbox reached what it must not: the cluster does not enforce network policies. Sessions are still made: only they can find out when it does. */
  | "NetworkPolicyNotEnforced"
  /** The cluster has no RuntimeClass of the name in spec. */
  | "RuntimeClassNotFound"
  /** The cluster has no PriorityClass of the name in spec. */
  | "PriorityClassNotFound";

/** Reasons for which an Environment is not Ready and pods are made in it all the same, because a runner is what finds out when they end. */
export const ENVIRONMENT_ADVISORY_REASONS: readonly EnvironmentReason[] = ["SecretNotFound", "NetworkPolicyNotEnforced"];

/**
 * Succeeded: Unknown while the session runs, True or False at its end; its reason is the STATUS column.
 * Finished: True in every terminal state. AwaitingInput: the session waits for the next message or for a custom tool's result.
 * AwaitingApproval and Suspended are abnormal-true: present only while they hold.
 * Isolated: what the newest sandbox's probe found.
 * Cancelling is abnormal-true: a cancel is in the log and the runner has a moment to finish.
 */
export type SessionCondition = "Succeeded" | "Finished" | "AwaitingInput" | "AwaitingApproval" | "Suspended" | "Cancelling" | "Isolated";
/** Reasons of Isolated: True when the newest sandbox's probe found nothing open; False when something was; Unknown as long as there was none. */
export type IsolatedReason = "Proven" | "Unverified" | "NotIsolated" | "NotProbed";
export type SessionWaitingReason = "Pending" | "AgentNotFound" | "EnvironmentNotFound" | "EnvironmentNotReady" | "ModelNotFound" | "NoSandbox" | "Forbidden" | "Invalid" | "ConfigMapNotFound" | "Queued" | "Starting" | "Running" | "AwaitingInput" | "AwaitingToolResult" | "AwaitingApproval" | "Suspended" | "PriceUnknown" | "Retrying";
export type SessionOutcome =
  | "Completed"
  | "MaxTurns"
  | "BudgetExceeded"
  | "DeadlineExceeded"
  | "Cancelled"
  | "ModelError"
  | "RunnerFailed"
  | "ImagePullFailed"
  | "NotIsolated"
  | "NameConflict"
  | "LogCorrupt"
  | "LogLost";
export type SessionReason = SessionWaitingReason | SessionOutcome | IsolatedReason;

export const SESSION_OUTCOMES: readonly SessionOutcome[] = [
  "Completed",
  "MaxTurns",
  "BudgetExceeded",
  "DeadlineExceeded",
  "Cancelled",
  "ModelError",
  "RunnerFailed",
  "ImagePullFailed",
  "NotIsolated",
  "NameConflict",
  "LogCorrupt",
  "LogLost",
];

/** Resolved: Unknown while the call waits, True when that is over, by whatever its reason says. */
export type ApprovalCondition = "Resolved";
export type ApprovalReason =
  | "Pending"
  | "Approved"
  | "Denied"
  /** Nobody decided in time, which is a denial. */
  | "Expired"
  /** The decision came after the call was over: cancelled, interrupted or expired. */
  | "TooLate"
  /** The call is over, and nobody decided. */
  | "Withdrawn"
  /** The release's admission policies are missing or changed: decisions are not honoured until they are back. */
  | "AdmissionMissing";

/** LastRunSucceeded stands apart from Ready, so that one failed run does not degrade an application. */
export type ScheduleCondition = "Ready" | "LastRunSucceeded" | "Reconciling" | "Stalled";
export type ScheduleReason =
  | "Available"
  | "Suspended"
  /** The expression, the zone or the template is wrong in a way only people can cure. */
  | "InvalidSchedule"
  | "NeverFires"
  /** Whoever last changed the Schedule may not use its Environment. */
  | "Forbidden"
  /** An object that is not ours has the name of the session to be made. */
  | "NameConflict"
  /** The API server refused the session that the template makes. */
  | "Invalid"
  /** The newest finished run. */
  | "Succeeded"
  | "Failed"
  /** No run has finished yet. */
  | "NoRun";

