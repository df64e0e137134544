import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

/** What a fake API server holds. Mutators throw StatusError as the real one answers. */
export interface FakeStore {
  version(): number;
  /** Watches from before this version get 410. */
  compactedAt(): number;
  compact(): void;
  list(collection: string): readonly FakeObject[];
  /** Everything that ever happened, whatever watches have missed. */
  journal(): readonly { readonly type: string; readonly object: FakeObject }[];
  since(version: number): readonly { readonly type: string; readonly object: FakeObject }[];
  get(key: FakeKey): Body;
  /** `dryRun`: answers as for a create and keeps nothing. */
  create(collection: string, namespace: string, body: unknown, dryRun?: boolean): Body;
  update(key: FakeKey, body: unknown, statusOnly: boolean): Body;
  delete(key: FakeKey, options: unknown): Body;
  /** Removes without a watch event and forgets history: what a watch that was away too long has missed. */
  deleteUnseen(key: FakeKey): void;
  apply(key: FakeKey, body: unknown, options: { readonly force: boolean; readonly manager: string }): { status: number; body: Body };
}

export interface FakeKey {
  readonly collection: string;
  readonly namespace: string;
  readonly name: string;
}

export interface Body {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly managedFields?: readonly { readonly manager: string }[];
    readonly [other: string]: unknown;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly [other: string]: unknown;
}

export interface FakeObject {
  readonly collection: string;
  readonly body: Body;
}

/** An answer other than 2xx. */
export class StatusError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

type Listener = (type: string, object: FakeObject) => void;
type Given = Omit<Partial<Body>, "metadata"> & { readonly metadata?: Partial<Body["metadata"]> };

export function createFakeStore(onEvent: Listener): FakeStore {
  const objects = new Map<string, FakeObject>();
  const journal: { readonly type: string; readonly object: FakeObject }[] = [];
  const history: { readonly version: number; readonly type: string; readonly object: FakeObject }[] = [];
  let version = 100;
  let compactedAt = 0;

  const textOf = ({ collection, namespace, name }: FakeKey): string => `${collection}|${namespace}|${name}`;
  const record = (type: string, object: FakeObject): void => {
    history.push({ version, type, object });
    journal.push({ type, object });
    onEvent(type, object);
  };
  const find = (key: FakeKey): FakeObject => {
    const found = objects.get(textOf(key));
    if (found === undefined) throw new StatusError(404, "NotFound", `${key.collection} "${key.name}" not found`);
    return found;
  };

  const put = (key: FakeKey, body: Body, type: string): Body => {
    version += 1;
    const stored = { collection: key.collection, body: { ...body, metadata: { ...body.metadata, resourceVersion: String(version) } } };
    objects.set(textOf(key), stored);
    record(type, stored);
    return stored.body;
  };

  const insert = (key: FakeKey, given: Given, manager: string): Body => put(key, built(key, given, manager), "ADDED");

  const built = (key: FakeKey, given: Given, manager: string): Body => {
    const { status: _dropped, ...rest } = given;
    const metadata = {
      ...given.metadata,
      name: key.name, namespace: key.namespace, uid: randomUUID(), generation: 1, resourceVersion: "",
      creationTimestamp: new Date().toISOString(),
      managedFields: [{ manager }],
    };
    return { ...rest, metadata };
  };

  const change = (key: FakeKey, old: Body, next: Body): Body => {
    if (isDeepStrictEqual(old, next)) return old;
    const generation = (old.metadata.generation ?? 0) + (isDeepStrictEqual(old.spec, next.spec) ? 0 : 1);
    return put(key, { ...next, metadata: { ...next.metadata, generation } }, "MODIFIED");
  };

  const drop = (key: FakeKey, body: Body): Body => {
    version += 1;
    objects.delete(textOf(key));
    const last = { collection: key.collection, body: { ...body, metadata: { ...body.metadata, resourceVersion: String(version) } } };
    record("DELETED", last);
    return last.body;
  };

  const requireSame = ({ body }: FakeObject, metadata: { readonly uid?: string; readonly resourceVersion?: string } | undefined): void => {
    const { uid, resourceVersion } = metadata ?? {};
    if (uid !== undefined && uid !== body.metadata.uid) throw new StatusError(409, "Conflict", `UID in precondition: ${uid}, UID in object meta: ${body.metadata.uid}`);
    if (resourceVersion !== undefined && resourceVersion !== body.metadata.resourceVersion) throw new StatusError(409, "Conflict", "the object has been modified");
  };

  return {
    version: () => version,
    compactedAt: () => compactedAt,
    compact: () => {
      version += 1;
      compactedAt = version;
      history.length = 0;
    },
    list: (collection) => [...objects.values()].filter((object) => object.collection === collection),
    journal: () => journal,
    since: (from) => history.filter((entry) => entry.version > from),
    get: (key) => find(key).body,
    create: (collection, namespace, body, dryRun = false) => {
      const given = body as Given;
      const key = { collection, namespace, name: given.metadata?.name ?? "" };
      if (objects.has(textOf(key))) throw new StatusError(409, "AlreadyExists", `${collection} "${key.name}" already exists`);
      return dryRun ? built(key, given, "create") : insert(key, given, "create");
    },
    update: (key, body, statusOnly) => {
      const found = find(key);
      const given = body as Given;
      requireVersion(key, given);
      requireSame(found, given.metadata);
      const old = found.body;
      if (statusOnly) return change(key, old, { ...old, status: given.status });
      const next = { ...old, ...given, status: old.status, metadata: { ...old.metadata, ...given.metadata, ...identityOf(old) } };
      const isFreed = old.metadata["deletionTimestamp"] !== undefined && !isHeld(next);
      return isFreed ? drop(key, next) : change(key, old, next);
    },
    delete: (key, options) => {
      const found = find(key);
      requireSame(found, (options as { preconditions?: { uid?: string } } | undefined)?.preconditions);
      if (!isHeld(found.body)) return drop(key, found.body);
      const deletionTimestamp = found.body.metadata["deletionTimestamp"] ?? new Date().toISOString();
      return change(key, found.body, { ...found.body, metadata: { ...found.body.metadata, deletionTimestamp } });
    },
    deleteUnseen: (key) => {
      journal.push({ type: "DELETED", object: find(key) });
      objects.delete(textOf(key));
      version += 1;
    },
    apply: (key, body, { force, manager }) => {
      const given = body as Given;
      const found = objects.get(textOf(key));
      if (found === undefined) {
        if (given.metadata?.uid !== undefined) throw new StatusError(409, "Conflict", "UID in precondition: the object does not exist");
        return { status: 201, body: insert(key, given, manager) };
      }
      if (given.metadata?.uid !== undefined) requireSame(found, { uid: given.metadata.uid });
      const old = found.body;
      if (!force && isForeign(old, manager) && !isDeepStrictEqual(old.spec, given.spec)) throw new StatusError(409, "Conflict", "Apply failed with 1 conflict: .spec");
      return { status: 200, body: change(key, old, applied(old, given)) };
    },
  };
}

/** What an update cannot change. */
function identityOf({ metadata: { name, namespace, uid, creationTimestamp, generation, deletionTimestamp } }: Body): Record<string, unknown> {
  return Object.fromEntries(Object.entries({ name, namespace, uid, creationTimestamp, generation, deletionTimestamp }).filter(([, value]) => value !== undefined));
}

/** Somebody's finalizer keeps it after its deletion. */
function isHeld({ metadata: { finalizers } }: Body): boolean {
  return Array.isArray(finalizers) && finalizers.length > 0;
}

function requireVersion({ collection, name }: FakeKey, { metadata }: Given): void {
  // Custom resources are updated only by who says which version they have read.
  if (!collection.startsWith("/apis/paddock.dev/") || (metadata?.resourceVersion ?? "") !== "") return;
  throw new StatusError(422, "Invalid", `${collection} "${name}" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update`);
}

function applied(old: Body, given: Given): Body {
  const metadata = { ...old.metadata, labels: { ...old.metadata.labels, ...given.metadata?.labels } };
  return { ...old, ...(given.spec === undefined ? {} : { spec: given.spec }), metadata };
}

function isForeign({ metadata }: Body, manager: string): boolean {
  return !(metadata.managedFields ?? []).some((entry) => entry.manager === manager);
}
