import type { Claim, EnvironmentCondition, EnvironmentReason } from "@paddock/api/conditions";

export type EnvironmentClaim = Claim<EnvironmentCondition, EnvironmentReason>;

/** Why an Environment is not Ready. */
export interface Obstacle {
  readonly reason: Exclude<EnvironmentReason, "Available">;
  /** Object, value and fix. */
  readonly message: string;
  /** When to look again though nothing wakes us. */
  readonly retryAfterMs?: number;
}

// Stalled: people must change this Environment, or delete or change an object of its namespace. Reconciling: we try again by ourselves, and what is
// missing may come with the same rollout. Neither: the Environment is as it should be, what it needs from others is not.
const ABNORMAL: Readonly<Record<Obstacle["reason"], "Stalled" | "Reconciling" | undefined>> = {
  Progressing: "Reconciling",
  RuntimeClassNotFound: "Reconciling",
  PriorityClassNotFound: "Reconciling",
  NameConflict: "Stalled",
  InvalidReference: "Stalled",
  Invalid: "Stalled",
  Forbidden: "Stalled",
  NetworkPolicyConflict: "Stalled",
  AdmissionMissing: undefined,
  SecretNotFound: undefined,
  NetworkPolicyNotEnforced: undefined,
};

export function claimUnready({ reason, message }: Pick<Obstacle, "reason" | "message">): readonly EnvironmentClaim[] {
  const type = ABNORMAL[reason];
  const ready: EnvironmentClaim = { type: "Ready", status: "False", reason, message };
  return type === undefined ? [ready] : [ready, { type, status: "True", reason, message }];
}

/** Laid over a plan's own claims: an abnormal condition that no longer holds is taken back by False, and so disappears. */
export function overrideUnready(obstacle: Pick<Obstacle, "reason" | "message">): readonly EnvironmentClaim[] {
  const { reason, message } = obstacle;
  const cleared = (["Reconciling", "Stalled"] as const).filter((type) => type !== ABNORMAL[reason]);
  return [...claimUnready(obstacle), ...cleared.map((type): EnvironmentClaim => ({ type, status: "False", reason, message }))];
}

export const AVAILABLE: readonly EnvironmentClaim[] = [{ type: "Ready", status: "True", reason: "Available", message: "Service account and network policies are in place." }];
