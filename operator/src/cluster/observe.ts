import type { Observed } from "../kernel/kind.ts";
import type { ApiClient } from "./http.ts";
import { type ListMode, type Reflector, type ReflectorTiming, type RestartReason, createReflector } from "./reflector.ts";
import { type ObservedResource, collectionPath } from "./resources.ts";
import { type Store, createStore } from "./store.ts";

/** One resource, watched in some namespaces or in all, in one store. */
export interface Observation<T> {
  readonly plural: string;
  readonly store: Store<T>;
  start(): void;
  stop(): Promise<void>;
  /** True when the cache holds everything of this namespace up to this resource version. */
  hasReached(namespace: string, version: string): boolean;
  /** How long the blindest of its watches has been without a connection; 0 when none is. */
  blindMs(): number;
  /** Milliseconds without a connection since the start, of all its watches together. */
  blindTotalMs(): number;
}

export interface ObserveOptions {
  readonly client: ApiClient;
  /** Empty means all. */
  readonly namespaces: readonly string[];
  readonly timing?: Partial<ReflectorTiming>;
  readonly onRestart?: (plural: string, reason: RestartReason) => void;
  readonly onList?: (plural: string, mode: ListMode) => void;
  readonly onTrouble?: (plural: string, error: unknown, failuresInARow: number) => void;
}

export function observeResource<T extends Observed>(resource: ObservedResource<T>, options: ObserveOptions): Observation<T> {
  const { endpoint, labelSelector, slim } = resource;
  const { plural } = endpoint;
  const store = createStore<T>({ keyOf: (value) => value.metadata, indexes: resource.indexes, isSame });
  const reflectors = new Map<string | undefined, Reflector>();
  const scopes = options.namespaces.length === 0 ? [undefined] : options.namespaces;
  const listed = new Set<string | undefined>();
  for (const scope of scopes) {
    const inScope = (value: T): boolean => scope === undefined || value.metadata.namespace === scope;
    const reflector = createReflector({
      client: options.client,
      resource: plural,
      path: collectionPath(endpoint, scope),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(options.timing === undefined ? {} : { timing: options.timing }),
      slim,
      onList: (mode) => options.onList?.(plural, mode),
      onRestart: (reason) => options.onRestart?.(plural, reason),
      onTrouble: (error, failures) => options.onTrouble?.(plural, error, failures),
      sink: {
        set: (value) => store.set(value),
        remove: (key) => store.remove(key),
        replace: (values) => {
          store.replace(values, inScope);
          listed.add(scope);
          if (listed.size === scopes.length && !store.isSynced()) store.markSynced();
        },
      },
    });
    reflectors.set(scope, reflector);
  }
  const all = [...reflectors.values()];
  return {
    plural, store,
    start: () => {
      for (const reflector of all) reflector.start();
    },
    stop: async () => {
      await Promise.all(all.map((reflector) => reflector.stop()));
    },
    // Resource versions of one resource can be compared as numbers (Kubernetes promises it since 1.35, etcd has always done so).
    hasReached: (namespace, version) => ((reflectors.get(namespace) ?? reflectors.get(undefined))?.version() ?? 0) >= Number(version),
    blindMs: () => Math.max(...all.map((reflector) => reflector.blindMs())),
    blindTotalMs: () => all.reduce((sum, reflector) => sum + reflector.blindTotalMs(), 0),
  };
}

// After a list anew most objects are what they were: nobody needs to look at them.
function isSame(a: Observed, b: Observed): boolean {
  return a.metadata.uid === b.metadata.uid && a.metadata.resourceVersion === b.metadata.resourceVersion;
}
