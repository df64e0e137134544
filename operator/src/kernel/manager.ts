import type { Controller } from "./controller.ts";
import type { Key, Read, Source } from "./kind.ts";

/** One observed source: a cache that tells what has changed. Listeners are called synchronously and must only wake keys. */
export interface Feed<T> {
  get(key: Key): T | undefined;
  list(index: string, value: string): readonly T[];
  keys(): Iterable<Key>;
  isSynced(): boolean;
  /** Called with the new value and, when a value is replaced or removed, with the old one too. */
  onChange(listener: (value: T) => void): void;
  /** Called each time a list becomes complete, the initial one and those of later connections. */
  onSynced(listener: () => void): void;
}

/** The observed world, typed by its sources. */
export interface Feeds extends Read {
  add<T>(source: Source<T>, feed: Feed<T>): void;
  of<T>(source: Source<T>): Feed<T>;
}

export function createFeeds(): Feeds {
  const feeds = new Map<string, Feed<unknown>>();
  const of = <T>(source: Source<T>): Feed<T> => {
    const feed = feeds.get(source.name);
    if (feed === undefined) throw new TypeError(`source ${source.name} is not observed: add it in observed.ts`);
    // `add` is the only way in, and it ties the feed's type to the source's.
    return feed as Feed<T>;
  };
  return {
    add: (source, feed) => void feeds.set(source.name, feed),
    of,
    get: (source, key) => of(source).get(key),
    list: (source, index, value) => of(source).list(index, value),
    isSynced: (source) => of(source).isSynced(),
  };
}

/** Which keys of a controller are to be looked at when a value of a source has changed. */
export interface WakeRule {
  connect(feeds: Feeds, wake: (key: Key) => void): void;
}

/** `keys` is called with new and old values; it may read caches, must not throw and should be cheap. */
export function wokenBy<T>(source: Source<T>, keys: (value: T, read: Read) => readonly Key[]): WakeRule {
  return {
    connect: (feeds, wake) => {
      feeds.of(source).onChange((value) => {
        for (const key of keys(value, feeds)) wake(key);
      });
    },
  };
}

/** A controller with the source whose keys are its own, and what else concerns it. */
export interface Managed {
  readonly controller: Controller;
  readonly self: Source<unknown>;
  /** The controller's key for one of those; absent means the same. */
  keyOf?(key: Key): Key;
  readonly wakes: readonly WakeRule[];
}

export interface ManagerOptions {
  readonly feeds: Feeds;
  readonly controllers: readonly Managed[];
  /** No pass begins before these are synced. */
  readonly after: readonly Source<unknown>[];
  /** Their becoming synced may change any decision: it wakes every key. */
  readonly also: readonly Source<unknown>[];
  /** Called each time passes begin. */
  onStart?(): void;
}

export interface Manager {
  /** Passes may begin: they do once every required source is synced, with a look at every key. */
  allow(): void;
  /** No pass begins until the next `allow`; those under way end by themselves. Caches stay warm. */
  forbid(): void;
  /** True while passes run. */
  isStarted(): boolean;
  /** No pass begins any more; resolves when those under way have ended. */
  stop(): Promise<void>;
}

/** Wires sources to queues. Nothing is decided before the caches are complete, nor before it is allowed to. */
export function createManager({ feeds, controllers, after, also, onStart = () => undefined }: ManagerOptions): Manager {
  let isAllowed = false;
  let isStarted = false;
  for (const { controller, wakes } of controllers) {
    // Unheard until passes run: what waits for the lease for weeks must not keep the key of every object there ever was.
    controller.pause();
    for (const rule of wakes) rule.connect(feeds, controller.wake);
  }

  const wakeAll = (): void => {
    for (const { controller, self, keyOf } of controllers) {
      for (const key of feeds.of(self).keys()) controller.wake(keyOf?.(key) ?? key);
    }
  };
  const startIfDue = (): void => {
    if (isStarted || !isAllowed || !after.every((source) => feeds.isSynced(source))) return;
    isStarted = true;
    for (const { controller } of controllers) controller.start();
    wakeAll();
    onStart();
  };
  const onSynced = (): void => {
    if (isStarted) wakeAll();
    else startIfDue();
  };
  for (const source of [...after, ...also]) feeds.of(source).onSynced(onSynced);

  const forbid = (): void => {
    isAllowed = false;
    isStarted = false;
    for (const { controller } of controllers) controller.pause();
  };
  return {
    forbid,
    allow: () => {
      isAllowed = true;
      startIfDue();
    },
    isStarted: () => isStarted,
    stop: async () => {
      forbid();
      await Promise.all(controllers.map(({ controller }) => controller.stop()));
    },
  };
}
