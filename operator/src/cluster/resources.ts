import type { Agent } from "@paddock/api/agent";
import type { Environment } from "@paddock/api/environment";
import { API_VERSION, GROUP, KINDS, type KindName, VERSION } from "@paddock/api/group";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { ObjectMeta, OwnerReference, Resource } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import type { Observed, Source } from "../kernel/kind.ts";
import * as sources from "../sources.ts";

/** An object as the API server sends it. */
export interface RawObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly OwnerReference[];
  };
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
  Pod: { base: "/api/v1", plural: "pods" },
  ServiceAccount: { base: "/api/v1", plural: "serviceaccounts" },
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

/** What of `metadata` some decision reads: no managedFields, and of annotations only our own. Pure. */
export function slimMeta({ metadata }: RawObject): ObjectMeta {
  const { name, namespace = "", uid, resourceVersion, creationTimestamp } = metadata;
  const annotations = Object.fromEntries(Object.entries(metadata.annotations ?? {}).filter(([key]) => key.startsWith(`${GROUP}/`)));
  return {
    name, namespace, uid, resourceVersion, creationTimestamp,
    ...(metadata.generation === undefined ? {} : { generation: metadata.generation }),
    ...(metadata.deletionTimestamp === undefined ? {} : { deletionTimestamp: metadata.deletionTimestamp }),
    ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
    ...(metadata.ownerReferences === undefined ? {} : { ownerReferences: metadata.ownerReferences }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}

/** A resource of our own: spec and status are whole, their schema is ours and checked by the API server. */
function slimResource(kind: KindName, raw: RawObject): Resource<unknown, unknown> {
  return { apiVersion: API_VERSION, kind, metadata: slimMeta(raw), spec: raw.spec, ...(raw.status === undefined ? {} : { status: raw.status }) };
}

function slimPod(raw: RawObject): sources.PodView {
  const spec = (raw.spec ?? {}) as sources.PodView["spec"];
  const { phase, podIP, reason, message, conditions, containerStatuses } = (raw.status ?? {}) as sources.PodView["status"];
  return {
    metadata: slimMeta(raw),
    spec: spec.nodeName === undefined ? {} : { nodeName: spec.nodeName },
    status: {
      ...(phase === undefined ? {} : { phase }),
      ...(podIP === undefined ? {} : { podIP }),
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message }),
      ...(conditions === undefined ? {} : { conditions: conditions.map(slimCondition) }),
      ...(containerStatuses === undefined ? {} : { containerStatuses: containerStatuses.map(({ name, state }) => ({ name, ...(state === undefined ? {} : { state }) })) }),
    },
  };
}

type PodCondition = NonNullable<sources.PodView["status"]["conditions"]>[number];

function slimCondition({ type, status, reason, message }: PodCondition): PodCondition {
  return { type, status, ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
}

const byNamespace = { [sources.BY_NAMESPACE]: ({ metadata }: Observed) => metadata.namespace };

export const AGENTS: ObservedResource<Agent> = { source: sources.agents, endpoint: ENDPOINTS.Agent, slim: (raw) => slimResource("Agent", raw) as Agent, indexes: {} };

export const ENVIRONMENTS: ObservedResource<Environment> = {
  source: sources.environments,
  endpoint: ENDPOINTS.Environment,
  slim: (raw) => slimResource("Environment", raw) as Environment,
  indexes: byNamespace,
};

export const SESSIONS: ObservedResource<Session> = {
  source: sources.sessions,
  endpoint: ENDPOINTS.Session,
  slim: (raw) => slimResource("Session", raw) as Session,
  indexes: {
    [sources.BY_AGENT]: ({ metadata, spec }) => `${metadata.namespace}/${spec.agentRef.name}`,
    [sources.BY_ENVIRONMENT]: ({ metadata, spec }) => `${metadata.namespace}/${spec.environmentRef.name}`,
  },
};

export const PODS: ObservedResource<sources.PodView> = {
  source: sources.pods,
  endpoint: ENDPOINTS.Pod,
  labelSelector: OURS,
  slim: slimPod,
  indexes: { [sources.BY_SESSION_UID]: ({ metadata }) => metadata.labels?.[LABELS.sessionUid] },
};

export const NETWORK_POLICIES: ObservedResource<sources.PolicyView> = {
  source: sources.networkPolicies,
  endpoint: ENDPOINTS.NetworkPolicy,
  labelSelector: OURS,
  slim: (raw) => ({ metadata: slimMeta(raw), spec: (raw.spec ?? {}) as sources.PolicyView["spec"] }),
  indexes: byNamespace,
};

export const SERVICE_ACCOUNTS: ObservedResource<Observed> = {
  source: sources.serviceAccounts,
  endpoint: ENDPOINTS.ServiceAccount,
  labelSelector: OURS,
  slim: (raw) => ({ metadata: slimMeta(raw) }),
  indexes: byNamespace,
};
