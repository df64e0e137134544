import type { Approval } from "@paddock/api/approval";
import { API_VERSION, GROUP, type KindName } from "@paddock/api/group";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { BaseStatus, ObjectMeta, Resource } from "@paddock/api/object";
import type { Session, SessionStatus } from "@paddock/api/session";
import type { ClaimView, PodView, PolicyView } from "../sources.ts";
import { intern } from "./intern.ts";
import type { RawObject } from "./resources.ts";

// What the caches keep of an object: only what some decision reads, because ten thousand of them stay in memory. All pure.

/** What of `metadata` some decision reads: no managedFields, and of annotations only our own. Pure. */
export function slimMeta({ metadata }: RawObject): ObjectMeta {
  const { name, uid, resourceVersion, creationTimestamp } = metadata;
  const namespace = intern(metadata.namespace ?? "");
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
export function slimResource(kind: KindName, raw: RawObject): Resource<unknown, unknown> {
  return { apiVersion: API_VERSION, kind, metadata: slimMeta(raw), spec: raw.spec, ...(raw.status === undefined ? {} : { status: raw.status }) };
}

/** True in every terminal state. */
export function isFinished({ status }: { readonly status?: BaseStatus }): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === "Finished" && value === "True") === true;
}

/**
 * A Session that is bound has its texts in the record, and nothing reads them here again. The status of a live one stays whole, because it is
 * written as a whole; of a finished one, which is never written again, the texts go too.
 */
export function slimSession(session: Session): Session {
  const { status, spec } = session;
  const kept = { ...session, spec: { ...spec, agentRef: { name: intern(spec.agentRef.name) }, environmentRef: { name: intern(spec.environmentRef.name) } } };
  if (isFinished(session) && status !== undefined) return { ...kept, spec: withoutTexts(kept.spec), status: slimFinished(status) };
  return status?.startTime === undefined ? kept : { ...kept, spec: withoutTexts(kept.spec) };
}

/** Its status stays whole, because it is written as a whole. */
export function slimApproval(approval: Approval): Approval {
  return { ...approval, spec: { ...approval.spec, argumentsSummary: "" } };
}

function withoutTexts({ prompt: _prompt, promptFrom: _from, files: _files, ...rest }: Session["spec"]): Session["spec"] {
  return rest;
}

function slimFinished({ recentSteps: _steps, usage: _usage, trace: _trace, result, conditions = [], ...rest }: SessionStatus): SessionStatus {
  // The Schedule of a run tells how it ended.
  const slimmed = conditions.map((condition) => (condition.type === "Succeeded" ? condition : { ...condition, message: "" }));
  return { ...rest, conditions: slimmed, ...(result?.outcome === undefined ? {} : { result: { outcome: intern(result.outcome) } }) };
}

/** One of ours whole, because it is compared with what it should be; of the others what tells whether they open a pod of ours. */
export function slimPolicy(raw: RawObject): PolicyView {
  const metadata = slimMeta(raw);
  const spec = (raw.spec ?? {}) as PolicyView["spec"];
  if (metadata.labels?.[LABELS.managedBy] === MANAGED_BY) return { metadata, spec };
  const hasRules = (rules: unknown): boolean => Array.isArray(rules) && rules.length > 0;
  const opens = [...(hasRules(spec["ingress"]) ? (["Ingress"] as const) : []), ...(hasRules(spec["egress"]) ? (["Egress"] as const) : [])];
  return { metadata, spec: { podSelector: spec["podSelector"], policyTypes: spec["policyTypes"] }, opens };
}

export function slimPod(raw: RawObject): PodView {
  const spec = (raw.spec ?? {}) as PodView["spec"];
  const { phase, podIP, startTime, reason, message, conditions, containerStatuses } = (raw.status ?? {}) as PodView["status"];
  const told = { phase, podIP, startTime, reason, message, conditions: conditions?.map(slimCondition), containerStatuses: containerStatuses?.map(slimContainer) };
  return { metadata: slimMeta(raw), spec: spec.nodeName === undefined ? {} : { nodeName: spec.nodeName }, status: present(told) };
}

export function slimClaim(raw: RawObject): ClaimView {
  const { phase } = (raw.status ?? {}) as ClaimView["status"];
  return { metadata: slimMeta(raw), status: present({ phase }) };
}

type ContainerStatus = NonNullable<PodView["status"]["containerStatuses"]>[number];

function slimContainer({ name, state }: ContainerStatus): ContainerStatus {
  return { name, ...(state === undefined ? {} : { state }) };
}

/** The members that are there. */
function present<T extends object>(members: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as { [Name in keyof T]?: Exclude<T[Name], undefined> };
}

type PodCondition = NonNullable<PodView["status"]["conditions"]>[number];

function slimCondition({ type, status, reason, message }: PodCondition): PodCondition {
  return { type, status, ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
}

