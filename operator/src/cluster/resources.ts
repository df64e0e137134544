import type { Agent } from "@paddock/api/agent";
import { type Approval, isResolved } from "@paddock/api/approval";
import type { Environment } from "@paddock/api/environment";
import { GROUP, KINDS, type KindName, VERSION } from "@paddock/api/group";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { ObjectMeta } from "@paddock/api/object";
import type { Schedule } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { Observed, Source } from "../kernel/kind.ts";
import * as sources from "../sources.ts";
import { isFinished, slimApproval, slimClaim, slimMeta, slimPod, slimPolicy, slimResource, slimSession } from "./slim.ts";

/** An object as the API server sends it. */
export interface RawObject {
  /** Cluster-scoped objects have no namespace. */
  readonly metadata: Omit<ObjectMeta, "namespace"> & Partial<Pick<ObjectMeta, "namespace">>;
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** Where a kind of object is served. */
export interface Endpoint {
  /** `/api/v1` or `/apis/<group>/<version>`. */
  readonly base: string;
  readonly plural: string;
}

const ours = (kind: KindName): Endpoint => ({ base: `/apis/${GROUP}/${VERSION}`, plural: KINDS[kind].plural });

/** Every kind that the operator reads or writes. */
export const ENDPOINTS = {
  Agent: ours("Agent"),
  Environment: ours("Environment"),
  Session: ours("Session"),
  Schedule: ours("Schedule"),
  Approval: ours("Approval"),
  Pod: { base: "/api/v1", plural: "pods" },
  ServiceAccount: { base: "/api/v1", plural: "serviceaccounts" },
  PersistentVolumeClaim: { base: "/api/v1", plural: "persistentvolumeclaims" },
  ConfigMap: { base: "/api/v1", plural: "configmaps" },
  NetworkPolicy: { base: "/apis/networking.k8s.io/v1", plural: "networkpolicies" },
} as const satisfies Readonly<Record<string, Endpoint>>;

/** Endpoint of a manifest's kind. A kind that is not listed is an error of ours. */
export function endpointOf(kind: string): Endpoint {
  const endpoint = (ENDPOINTS as Readonly<Record<string, Endpoint>>)[kind];
  if (endpoint === undefined) throw new TypeError(`kind ${kind} has no endpoint in cluster/resources.ts`);
  return endpoint;
}

/** Path of a collection; `namespace` undefined means all of them. */
export function collectionPath({ base, plural }: Endpoint, namespace: string | undefined): string {
  return namespace === undefined ? `${base}/${plural}` : `${base}/namespaces/${encodeURIComponent(namespace)}/${plural}`;
}

export function objectPath(endpoint: Endpoint, namespace: string, name: string): string {
  return `${collectionPath(endpoint, namespace)}/${encodeURIComponent(name)}`;
}

/** A resource that is cached: where it is served, which of its objects, what is kept of each and how to find it. */
export interface ObservedResource<T extends Observed> {
  readonly source: Source<T>;
  readonly endpoint: Endpoint;
  readonly labelSelector?: string;
  slim(raw: RawObject): T;
  readonly indexes: Readonly<Record<string, (value: T) => string | undefined>>;
}

const OURS = `${LABELS.managedBy}=${MANAGED_BY}`;

const byNamespace = { [sources.BY_NAMESPACE]: ({ metadata }: Observed) => metadata.namespace };

export const AGENTS: ObservedResource<Agent> = { source: sources.agents, endpoint: ENDPOINTS.Agent, slim: (raw) => slimResource("Agent", raw) as Agent, indexes: {} };

export const ENVIRONMENTS: ObservedResource<Environment> = {
  source: sources.environments,
  endpoint: ENDPOINTS.Environment,
  slim: (raw) => slimResource("Environment", raw) as Environment,
  indexes: { ...byNamespace, [sources.EVERY]: () => "", [sources.BY_UID]: ({ metadata }) => metadata.uid },
};

export const SCHEDULES: ObservedResource<Schedule> = {
  source: sources.schedules,
  endpoint: ENDPOINTS.Schedule,
  slim: (raw) => slimResource("Schedule", raw) as Schedule,
  indexes: byNamespace,
};

export const SESSIONS: ObservedResource<Session> = {
  source: sources.sessions,
  endpoint: ENDPOINTS.Session,
  slim: (raw) => slimSession(slimResource("Session", raw) as Session),
  indexes: {
    [sources.BY_AGENT]: (session) => (isFinished(session) ? undefined : `${session.metadata.namespace}/${session.spec.agentRef.name}`),
    [sources.BY_ENVIRONMENT_LIVE]: (session) => (isFinished(session) ? undefined : `${session.metadata.namespace}/${session.spec.environmentRef.name}`),
    [sources.BY_SCHEDULE]: ({ metadata }) => metadata.ownerReferences?.find(({ kind, controller }) => kind === "Schedule" && controller === true)?.uid,
  },
};

export const APPROVALS: ObservedResource<Approval> = {
  source: sources.approvals,
  endpoint: ENDPOINTS.Approval,
  slim: (raw) => slimApproval(slimResource("Approval", raw) as Approval),
  indexes: {
    [sources.OPEN]: (approval) => (isResolved(approval) ? undefined : ""),
    [sources.BY_SESSION_UID]: (approval) => (isResolved(approval) ? undefined : approval.spec.sessionRef.uid),
  },
};

export const PODS: ObservedResource<sources.PodView> = {
  source: sources.pods,
  endpoint: ENDPOINTS.Pod,
  labelSelector: OURS,
  slim: slimPod,
  indexes: {
    ...byNamespace,
    [sources.BY_SESSION_UID]: ({ metadata }) => metadata.labels?.[LABELS.sessionUid],
    [sources.BY_ADDED_LABELS]: ({ metadata }) => (hasAddedLabels(metadata) ? `${metadata.namespace}/${metadata.labels?.[LABELS.environment] ?? ""}` : undefined),
  },
};

/** Labels that somebody else put on a pod of ours, e.g. a mutating webhook. */
export function hasAddedLabels({ labels = {} }: ObjectMeta): boolean {
  return Object.keys(labels).some((key) => key !== LABELS.managedBy && !key.startsWith(`${GROUP}/`));
}

export const NETWORK_POLICIES: ObservedResource<sources.PolicyView> = {
  source: sources.networkPolicies,
  endpoint: ENDPOINTS.NetworkPolicy,
  slim: slimPolicy,
  indexes: byNamespace,
};

export const WORKSPACE_CLAIMS: ObservedResource<sources.ClaimView> = {
  source: sources.workspaceClaims,
  endpoint: ENDPOINTS.PersistentVolumeClaim,
  labelSelector: OURS,
  slim: slimClaim,
  indexes: {},
};

export const SERVICE_ACCOUNTS: ObservedResource<Observed> = {
  source: sources.serviceAccounts,
  endpoint: ENDPOINTS.ServiceAccount,
  labelSelector: OURS,
  slim: (raw) => ({ metadata: slimMeta(raw) }),
  indexes: byNamespace,
};
