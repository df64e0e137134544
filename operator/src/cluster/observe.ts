import type { Observed } from "../kernel/kind.ts";
import type { ApiClient } from "./http.ts";
import { type Reflector, type ReflectorOptions, createReflector } from "./reflector.ts";
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
}

export interface ObserveOptions extends Pick<ReflectorOptions, "client" | "timing"> {
  readonly client: ApiClient;
  /** Empty means all. */
  readonly namespaces: readonly string[];
  readonly onRestart?: (plural: string, reason: Parameters<NonNullable<ReflectorOptions["onRestart"]>>[0]) => void;
  readonly onTrouble?: (plural: string, error: unknown, failuresInARow: number) => void;
}

export function observeResource<T extends Observed>(resource: ObservedResource<T>, options: ObserveOptions): Observation<T> {
  const { endpoint, labelSelector, slim } = resource;
  const { plural } = endpoint;
  const store = createStore<T>({ keyOf: (value) => value.metadata, indexes: resource.indexes });
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
      onRestart: (reason) => options.onRestart?.(plural, reason),
      onTrouble: (error, failures) => options.onTrouble?.(plural, error, failures),
      sink: {
        set: (object) => store.set(slim(object)),
        remove: (key) => store.remove(key),
        replace: (objects) => {
          store.replace(objects.map(slim), inScope);
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
  };
}
