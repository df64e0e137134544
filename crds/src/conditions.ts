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
  | "Forbidden";

/**
 * Succeeded: Unknown while the session runs, True or False at its end; its reason is the STATUS column.
 * Finished: True in every terminal state. Cancelling is abnormal-true: a cancel is in the log and the runner has a moment to finish.
 */
export type SessionCondition = "Succeeded" | "Finished" | "Cancelling";
export type SessionWaitingReason = "Pending" | "AgentNotFound" | "EnvironmentNotFound" | "EnvironmentNotReady" | "ModelNotFound" | "Forbidden" | "Invalid" | "Starting" | "Running" | "Retrying";
export type SessionOutcome =
  | "Completed"
  | "MaxTurns"
  | "DeadlineExceeded"
  | "Cancelled"
  | "ModelError"
  | "RunnerFailed"
  | "NameConflict"
  | "LogLost";
export type SessionReason = SessionWaitingReason | SessionOutcome;

export const SESSION_OUTCOMES: readonly SessionOutcome[] = [
  "Completed",
  "MaxTurns",
  "DeadlineExceeded",
  "Cancelled",
  "ModelError",
  "RunnerFailed",
  "NameConflict",
  "LogLost",
];
