import type { Agent } from "@paddock/api/agent";
import type { Approval } from "@paddock/api/approval";
import type { Environment } from "@paddock/api/environment";
import { isSameUsd } from "@paddock/api/log/money";
import type { Schedule } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { BudgetView, RecordView } from "@paddock/api/wire/records";
import type { Key, Observed, Source } from "./kernel/kind.ts";

// What the operator observes. A pod, claim, policy or service account is cached as the slim part that some decision reads.

export interface PodView extends Observed {
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase?: "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";
    readonly podIP?: string;
    /** When the node took the pod, RFC 3339; absent before. */
    readonly startTime?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason?: string; readonly message?: string }[];
    readonly containerStatuses?: readonly ContainerStatusView[];
  };
}

export interface ContainerStatusView {
  readonly name: string;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: { readonly startedAt?: string };
    readonly terminated?: { readonly exitCode: number; readonly reason?: string; readonly message?: string; readonly finishedAt?: string };
  };
}

/** A claim for a session's workspace. */
export interface ClaimView extends Observed {
  readonly status: { readonly phase?: string };
}

export interface PolicyView extends Observed {
  /** Whole when the policy has our managed-by label; of all others only podSelector and policyTypes. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** Only where our managed-by label is missing: the directions in which the policy has rules, i.e. allows something. Network policies can do nothing else. */
  readonly opens?: readonly ("Ingress" | "Egress")[];
}

export const agents: Source<Agent> = { name: "agents" };
export const environments: Source<Environment> = { name: "environments" };
/** A bound Session is kept without its prompt and files, a finished one also without the text of its result: its status cannot be written any more. */
export const sessions: Source<Session> = { name: "sessions" };
/** Index `namespace`. */
export const schedules: Source<Schedule> = { name: "schedules" };
/** Without spec.argumentsSummary, which people read and no decision does. Indexes `open` and `session-uid`, of those that are not resolved. */
export const approvals: Source<Approval> = { name: "approvals" };
/** Pods with our managed-by label. Indexes `namespace`, `session-uid` (the label paddock.dev/session-uid) and `added-labels`. */
export const pods: Source<PodView> = { name: "pods" };
/** PersistentVolumeClaims with our managed-by label. */
export const workspaceClaims: Source<ClaimView> = { name: "persistentvolumeclaims" };
/** All network policies, foreign ones too. Index `namespace`. */
export const networkPolicies: Source<PolicyView> = { name: "networkpolicies" };
/** Service accounts with our managed-by label. Index `namespace`. */
export const serviceAccounts: Source<Observed> = { name: "serviceaccounts" };
/** The gateway's records: key is namespace/name of the Session, but look them up by index `uid`. Index `namespace/name` too. */
export const records: Source<RecordView> = { name: "records" };

/** Shared budgets as the gateway has them: all of them are there once the records are synced. */
export const budgets: Source<BudgetView> = { name: "budgets" };

/** Under which a budget is found. */
export function budgetKey(environmentUid: string): Key {
  return { namespace: "", name: environmentUid };
}

/** Whether the records are held to the budget that the live Environment says; amounts are compared as money. Pure. */
export function isBudgetTold({ spec }: Pick<Environment, "spec">, told: BudgetView | undefined): boolean {
  return isSameUsd(spec.budget?.costUSDPerDay, told?.costUSDPerDay);
}

/** Whether the release's admission policies stand, are bound and type-check: one value, under ADMISSION_KEY. Required: no pass begins before the first look. */
export const admission: Source<AdmissionView> = { name: "admission" };
export const ADMISSION_KEY: Key = { namespace: "", name: "admission" };

export interface AdmissionView {
  readonly trusted: boolean;
  /** What is wrong and how it is put right, as sentences, the gravest first; [] while trusted. */
  readonly problems: readonly string[];
}

export const BY_SESSION_UID = "session-uid";
export const BY_UID = "uid";
export const BY_NAMESPACE = "namespace";
/** Approvals that are not resolved, all of them, under "". */
export const OPEN = "open";
/** Environments, all of them, under "". */
export const EVERY = "every";
/** Sessions that have not finished, by `<namespace>/<agentRef.name>` and `<namespace>/<environmentRef.name>`: what is done per session does not grow with those that are kept. */
export const BY_AGENT = "agent";
export const BY_ENVIRONMENT_LIVE = "environment-live";
/** Sessions, finished ones too, by the UID of the Schedule that controls them. */
export const BY_SCHEDULE = "schedule";
/** Pods with labels beyond those that Paddock gives them, by `<namespace>/<label paddock.dev/environment>`. */
export const BY_ADDED_LABELS = "added-labels";
/** Records that have not finished, by `<namespace>/<name of the Environment>`: who may hold a slot of it. */
export const BY_ENVIRONMENT_OPEN = "environment-open";
/** Records of sessions whose runner waits for a Secret, by the UID of their Environment. */
export const BY_MISSING_CREDENTIAL = "missing-credential";
/** Records of sessions whose sandbox's newest probe found something open that their Environment does not accept, by its UID: few, for they end. */
export const BY_OPEN_PROBE = "open-probe";
/** Those whose newest probe found nothing open, by the UID of their Environment. */
export const BY_CLEAN_PROBE = "clean-probe";

/** What a record's newest probe says about its Environment's cluster; undefined when there was none, or when it is accepted as it is. Pure. */
export function probeOf({ sandbox: { isolation }, bundle: { environment } }: RecordView): "Open" | "Clean" | undefined {
  if (isolation === undefined) return undefined;
  if (isolation.open.length === 0) return "Clean";
  return environment.spec.network?.enforcement === "Unverified" ? undefined : "Open";
}
