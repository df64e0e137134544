import { type Observation, type ObserveOptions, observeResource } from "./cluster/observe.ts";
import { AGENTS, APPROVALS, ENVIRONMENTS, NETWORK_POLICIES, type ObservedResource, PODS, SCHEDULES, SERVICE_ACCOUNTS, SESSIONS, WORKSPACE_CLAIMS } from "./cluster/resources.ts";
import type { VersionedCache } from "./cluster/writer.ts";
import type { Observed, Source } from "./kernel/kind.ts";
import type { Feeds } from "./kernel/manager.ts";

/** What keeps a source fresh from outside: a watch of the API server, the gateway's stream, or anything else that can be blind. */
export interface Watcher {
  readonly source: Source<unknown>;
  /** No pass begins before it is synced; the others wake every key when they are. */
  readonly isRequired: boolean;
  start(): void;
  stop(): Promise<void>;
  isSynced(): boolean;
  /** How long it has been without a connection; 0 while it has one. */
  blindMs(): number;
}

/** What the operator watches at the API server: to observe one more resource is to add its line here. */
const OBSERVED = [
  watching(AGENTS),
  watching(ENVIRONMENTS),
  watching(SESSIONS),
  watching(SCHEDULES),
  watching(APPROVALS),
  watching(PODS),
  watching(NETWORK_POLICIES),
  watching(SERVICE_ACCOUNTS),
  watching(WORKSPACE_CLAIMS),
];

/** The cluster's part of the observed world. */
export interface ClusterObservation {
  readonly watchers: readonly Watcher[];
  /** By plural: what tells whether a write has come back. */
  readonly caches: ReadonlyMap<string, VersionedCache>;
  /** Of each resource: for how long it has been without a watch by now, and in all, in milliseconds. */
  blindness(): readonly (readonly [resource: string, nowMs: number, totalMs: number])[];
}

/** Puts a cache of each observed resource into `feeds`; nothing is asked before its watcher is started. */
export function observeCluster(feeds: Feeds, options: ObserveOptions): ClusterObservation {
  const made = OBSERVED.map((observe) => observe(feeds, options));
  return {
    watchers: made.map(({ watcher }) => watcher),
    caches: new Map(made.map(({ plural, cache }) => [plural, cache])),
    blindness: () => made.map(({ plural, cache }) => [plural, cache.blindMs(), cache.blindTotalMs()]),
  };
}

interface Made {
  readonly plural: string;
  readonly watcher: Watcher;
  readonly cache: VersionedCache & Pick<Observation<unknown>, "blindMs" | "blindTotalMs">;
}

// Each closure knows the type of its own values; the list of them need not.
function watching<T extends Observed>(resource: ObservedResource<T>): (feeds: Feeds, options: ObserveOptions) => Made {
  return (feeds, options) => {
    const cache = observeResource(resource, options);
    feeds.add(resource.source, cache.store);
    const { plural, store, start, stop, blindMs } = cache;
    return { plural, cache, watcher: { source: resource.source, isRequired: true, start, stop, blindMs, isSynced: store.isSynced } };
  };
}
