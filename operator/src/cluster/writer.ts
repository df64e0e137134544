import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { BaseStatus, OwnerReference } from "@paddock/api/object";
import type { Receipt } from "../kernel/expectations.ts";
import type { Action, Manifest, Self } from "../kernel/kind.ts";
import { requireAccess } from "./access.ts";
import { ApiError, NameConflictError, isStatus } from "./errors.ts";
import type { ApiClient } from "./http.ts";
import { readObject } from "./reads.ts";
import { type RawObject, collectionPath, endpointOf, objectPath } from "./resources.ts";
import { isFinished } from "./slim.ts";
import type { Priority } from "./slots.ts";

/** The actions that go to the API server. */
export type ClusterAction = Extract<Action, { verb: "create" | "preflight" | "apply" | "delete" }>;

/** True for what this writer carries out; all else goes to the gateway. */
export function isClusterAction(action: Action): action is ClusterAction {
  return action.verb === "create" || action.verb === "preflight" || action.verb === "apply" || action.verb === "delete";
}


/** Everything Paddock writes to Kubernetes. Errors are this folder's (errors.ts). A receipt is answered for what a cache will show. */
export interface ClusterWriter {
  act(action: ClusterAction): Promise<Receipt | undefined>;
  status(self: Self<BaseStatus>, status: BaseStatus): Promise<Receipt | undefined>;
}

/** The part of a cache that tells whether a write has come back. */
export interface VersionedCache {
  hasReached(namespace: string, version: string): boolean;
}

const FIELD_MANAGER = "paddock-operator";

/** `caches`: by plural; writes to what is not cached have no receipt. */
export function createClusterWriter(client: ApiClient, caches: ReadonlyMap<string, VersionedCache>): ClusterWriter {
  const receiptOf = (plural: string, namespace: string, answer: unknown): Receipt | undefined => {
    const version = (answer as Partial<RawObject> | undefined)?.metadata?.resourceVersion;
    const cache = caches.get(plural);
    if (cache === undefined || version === undefined) return undefined;
    return { reached: () => cache.hasReached(namespace, version) };
  };

  const create = async ({ object, access }: Extract<Action, { verb: "create" }>): Promise<Receipt | undefined> => {
    if (access !== undefined) await requireAccess(client, access);
    const endpoint = endpointOf(object.kind);
    const { namespace } = object.metadata;
    const path = `${collectionPath(endpoint, namespace)}?fieldManager=${FIELD_MANAGER}`;
    try {
      return receiptOf(endpoint.plural, namespace, await client.request({ verb: "create", resource: endpoint.plural, method: "POST", path, body: object, priority: priorityOf(object.kind) }));
    } catch (error) {
      if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
      const existing = await live(object);
      // Gone again since: the next pass makes it.
      if (existing === undefined || isLeftover(object, existing)) throw error;
      requireOurs(object, existing);
      return receiptOf(endpoint.plural, namespace, existing);
    }
  };

  const preflight = async (object: Manifest): Promise<undefined> => {
    const { base, plural } = endpointOf(object.kind);
    const path = `${collectionPath({ base, plural }, object.metadata.namespace)}?fieldManager=${FIELD_MANAGER}&dryRun=All`;
    try {
      await client.request({ verb: "create", resource: plural, method: "POST", path, body: object, priority: "background" });
    } catch (error) {
      // Whether the name is taken is looked at after admission, and admission is what was asked.
      if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
    }
    return undefined;
  };

  const live = (object: Manifest): Promise<RawObject | undefined> => readObject(client, object.kind, object.metadata);

  const apply = async (object: Manifest): Promise<Receipt | undefined> => {
    const endpoint = endpointOf(object.kind);
    const { namespace, name } = object.metadata;
    // The cache holds only what carries our label: whether the name is free is asked live.
    const existing = await live(object);
    if (existing !== undefined) requireOurs(object, existing);
    // Over an object of ours we take fields back by force. Where there was none, nothing is forced: whoever has made one since is told apart
    // by the conflict. The UID makes sure that what is changed is what was looked at.
    const query = new URLSearchParams({ fieldManager: FIELD_MANAGER, force: String(existing !== undefined) });
    const body = existing === undefined ? object : { ...object, metadata: { ...object.metadata, uid: existing.metadata.uid } };
    const path = `${objectPath(endpoint, namespace, name)}?${query.toString()}`;
    const answer = await client.request({ verb: "apply", resource: endpoint.plural, method: "PATCH", path, contentType: "application/apply-patch+yaml", body });
    return receiptOf(endpoint.plural, namespace, answer);
  };

  const remove = async ({ resource, key, uid, graceSeconds, unless }: Extract<Action, { verb: "delete" }>): Promise<Receipt | undefined> => {
    if (unless !== undefined && (await readObject(client, "Session", unless.session))?.metadata.uid === unless.uid) return undefined;
    const endpoint = endpointOf(resource);
    // A Session's pods, should any be left, are the garbage collector's.
    const policy = resource === "Session" ? { propagationPolicy: "Background" } : {};
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid }, ...policy, ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }) };
    try {
      const path = objectPath(endpoint, key.namespace, key.name);
      return receiptOf(endpoint.plural, key.namespace, await client.request({ verb: "delete", resource: endpoint.plural, method: "DELETE", path, body, priority: priorityOf(resource) }));
    } catch (error) {
      // Gone, or replaced by another object of that name: ours is gone either way.
      if (isStatus(error, 404) || isStatus(error, 409)) return undefined;
      throw error;
    }
  };

  return {
    act: (action) => {
      switch (action.verb) {
        case "create":
          return create(action);
        case "preflight":
          return preflight(action.object);
        case "apply":
          return apply(action.object);
        case "delete":
          return remove(action);
      }
    },
    /**
     * PUT of the whole status: what is no longer said disappears, which a merge patch needs nulls for. UID and resource version are
     * those the decision was made on, so a status decided on an older object is refused as a conflict and decided again.
     */
    status: async (self, status) => {
      const { apiVersion, kind, metadata } = self;
      if (kind === "Session" && isFinished(self)) throw new TypeError(`the cache keeps only a part of the status of the finished Session ${metadata.namespace}/${metadata.name}: it cannot be written`);
      const endpoint = endpointOf(kind);
      const { namespace, name, uid, resourceVersion } = metadata;
      const path = `${objectPath(endpoint, namespace, name)}/status?fieldManager=${FIELD_MANAGER}`;
      const body = { apiVersion, kind, metadata: { namespace, name, uid, resourceVersion }, status };
      try {
        const answer = await client.request({ verb: "update", resource: `${endpoint.plural}/status`, method: "PUT", path, body, priority: isFinished({ status }) ? "terminal" : "progress" });
        return receiptOf(endpoint.plural, namespace, answer);
      } catch (error) {
        if (isStatus(error, 404)) return undefined;
        throw error;
      }
    },
  };
}

/** Pods and sessions are what everybody waits for. */
function priorityOf(kind: string): Priority {
  return kind === "Pod" || kind === "Session" ? "dispatch" : "progress";
}

function requireOurs(wanted: Manifest, existing: RawObject): void {
  if (isOurs(wanted.metadata.ownerReferences ?? [], existing)) return;
  const { namespace, name } = wanted.metadata;
  throw new NameConflictError(
    `${wanted.kind} ${namespace}/${name} exists already and was not made by Paddock for this object: delete it or rename it, Paddock needs the name`,
  );
}

// The child of an earlier object of the same name, which the garbage collector has not taken away yet: worth waiting for.
function isLeftover({ kind, metadata }: Manifest, existing: RawObject): boolean {
  if (isOurs(metadata.ownerReferences ?? [], existing) || existing.metadata.labels?.[LABELS.managedBy] !== MANAGED_BY) return false;
  if (kind === "Pod" || existing.metadata.deletionTimestamp !== undefined) return true;
  // One without owner is nobody's: the collector will not take it away.
  return OWNED.has(kind) && haveNamesake(metadata.ownerReferences ?? [], existing.metadata.ownerReferences ?? []);
}

/** Kinds that only a Session's own of ours may have. */
const OWNED: ReadonlySet<string> = new Set(["Approval", "PersistentVolumeClaim"]);

function haveNamesake(owners: readonly OwnerReference[], existing: readonly OwnerReference[]): boolean {
  return owners.some(({ kind, name }) => existing.some((other) => other.kind === kind && other.name === name));
}

// With an owner the owner's UID decides, so that the child of an earlier object of the same name is not taken for ours.
function isOurs(owners: readonly OwnerReference[], { metadata }: RawObject): boolean {
  const owner = owners.find(({ controller }) => controller === true) ?? owners[0];
  if (owner !== undefined) return (metadata.ownerReferences ?? []).some(({ uid }) => uid === owner.uid);
  return metadata.labels?.[LABELS.managedBy] === MANAGED_BY;
}
