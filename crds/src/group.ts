/** The API group of every Paddock resource. */
export const GROUP = "paddock.dev";

/** The one served and stored version. */
export const VERSION = "v1alpha1";

/** `apiVersion` of every Paddock object. */
export const API_VERSION = `${GROUP}/${VERSION}`;

export type KindName = "Agent" | "Environment" | "Session" | "Schedule" | "Approval";

/** Names of a kind as the API server serves them. */
export interface KindNames {
  readonly kind: KindName;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
}

export const KINDS: Readonly<Record<KindName, KindNames>> = {
  Agent: { kind: "Agent", plural: "agents", singular: "agent", shortNames: ["ag"] },
  Environment: { kind: "Environment", plural: "environments", singular: "environment", shortNames: ["penv"] },
  Session: { kind: "Session", plural: "sessions", singular: "session", shortNames: ["ses"] },
  Schedule: { kind: "Schedule", plural: "schedules", singular: "schedule", shortNames: ["sched"] },
  Approval: { kind: "Approval", plural: "approvals", singular: "approval", shortNames: ["appr"] },
};
