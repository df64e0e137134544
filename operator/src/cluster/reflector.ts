import type { ClientHttp2Stream } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { delayMsOf } from "@paddock/api/backoff";
import type { Observed, Key } from "../kernel/kind.ts";
import { STREAM_BACKOFF } from "../kernel/backoff.ts";
import { type Collection, listPages, watchPath } from "./collection.ts";
import { SilenceError, drain } from "./drain.ts";
import { ApiError, isStatus } from "./errors.ts";
import type { ApiClient } from "./http.ts";
import type { RawObject } from "./resources.ts";

/** Where a reflector puts what it sees. Readers of the sink keep what they have until a list is complete. */
export interface Sink<T> {
  replace(values: readonly T[]): void;
  set(value: T): void;
  remove(key: Key): void;
}

/** Why a watch was begun anew; "timeout" is the ordinary end, at which the next watch is there before the last one goes. */
export type RestartReason = "timeout" | "error" | "silence" | "expired";

/** How everything there is was read: as a stream of objects, or in pages from a server that knows no streaming list. */
export type ListMode = "stream" | "pages";

export interface ReflectorOptions<T> extends Collection {
  readonly client: ApiClient;
  readonly sink: Sink<T>;
  /** What is kept of an object; nothing else of it stays in memory, not even while a list is read. */
  slim(raw: RawObject): T;
  readonly onRestart?: (reason: RestartReason) => void;
  readonly onList?: (mode: ListMode) => void;
  /** A list or watch failed; it goes on by itself. */
  readonly onTrouble?: (error: unknown, failuresInARow: number) => void;
  readonly timing?: Partial<ReflectorTiming>;
}

export interface ReflectorTiming {
  readonly pageSize: number;
  /** Bounds of the server's time-out; drawn anew for each watch, so that watches do not end together. */
  readonly minSeconds: number;
  readonly maxSeconds: number;
  /** A watch without a byte for so long is given up. The server sends a bookmark about once a minute. */
  readonly silenceMs: number;
  /** The same while a streaming list is under way: nothing there is to be waited for. */
  readonly listSilenceMs: number;
}

const TIMING: ReflectorTiming = { pageSize: 500, minSeconds: 240, maxSeconds: 480, silenceMs: 150_000, listSilenceMs: 15_000 };
// A watch that ends sooner without a word counts as failed, or a server that closes at once would be asked in a tight loop.
const TOO_SHORT_MS = 1_000;
/** The next watch is opened when this part of the server's time-out is over, so that there is never none. */
const RENEW_AT = 0.95;
const LIST_END = "k8s.io/initial-events-end";
// What servers answer that do not know the parameters, or have the feature switched off.
const REFUSALS = [400, 415, 422];

/** Keeps a sink equal to a collection: list, then watch from there, for ever. */
export interface Reflector {
  start(): void;
  stop(): Promise<void>;
  /** Resource version up to which the sink is complete; 0 before the first list. */
  version(): number;
  isSynced(): boolean;
  /** How long there has been no watch; 0 while there is one. */
  blindMs(): number;
  /** All such times together since the start. */
  blindTotalMs(): number;
}

export function createReflector<T extends Observed>(options: ReflectorOptions<T>): Reflector {
  const { client, sink, slim, onRestart = () => undefined, onList = () => undefined, onTrouble = () => undefined } = options;
  const timing = { ...TIMING, ...options.timing };
  const stopping = new AbortController();
  const blind = createBlindClock();
  let stream: ClientHttp2Stream | undefined;
  let version = 0;
  let listed = false;
  let streams = true;
  // A streaming list that broke off is followed by a paged one: perhaps something on the way does not let it through.
  let pagesNext = false;
  let collecting: Map<string, T> | undefined;
  let running: Promise<void> = Promise.resolve();

  const finishList = (values: Iterable<T>, at: number, mode: ListMode): void => {
    sink.replace([...values]);
    collecting = undefined;
    version = at;
    listed = true;
    onList(mode);
  };

  const collect = (into: Map<string, T>, { type, object }: WatchEvent): void => {
    const name = `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
    if (type === "DELETED") into.delete(name);
    else if (type !== "BOOKMARK") into.set(name, slim(object));
    else if (object.metadata.annotations?.[LIST_END] === "true") {
      finishList(into.values(), Number(object.metadata.resourceVersion), "stream");
      blind.end();
    }
  };

  const take = (event: WatchEvent): void => {
    if (event.type === "ERROR") throw new ApiError(event.object.code ?? 500, `watch ${options.path}`, JSON.stringify(event.object));
    if (collecting !== undefined) return collect(collecting, event);
    const { metadata } = event.object;
    const at = Number(metadata.resourceVersion);
    // A watch that takes over from another repeats what that one has told.
    if (at <= version) return;
    version = at;
    if (event.type === "DELETED") sink.remove({ namespace: metadata.namespace ?? "", name: metadata.name });
    else if (event.type !== "BOOKMARK") sink.set(slim(event.object));
  };

  const open = async (from: number | undefined): Promise<Opened> => {
    const seconds = Math.round(timing.minSeconds + Math.random() * (timing.maxSeconds - timing.minSeconds));
    const opened = await client.watch(options.resource, watchPath(options, from, seconds));
    // stop() may have come while the answer was on its way.
    if (stopping.signal.aborted) opened.destroy();
    return { stream: opened, renewMs: seconds * 1000 * RENEW_AT };
  };

  /** Follows a watch to its end; resolves with the one that has taken over, if any. */
  const follow = async (opened: Opened): Promise<Opened | undefined> => {
    stream = opened.stream;
    let next: Opened | undefined;
    const renew = setTimeout(() => {
      if (!listed) return;
      // Without success the watch goes on to the server's own time-out, and a gap follows.
      void open(version).then((successor) => {
        next = successor;
        if (opened.stream.closed) successor.stream.destroy();
        else opened.stream.destroy();
      }, () => undefined);
    }, opened.renewMs);
    try {
      await drain(opened.stream, () => (listed ? timing.silenceMs : timing.listSilenceMs), (line) => take(JSON.parse(line) as WatchEvent));
      return next;
    } catch (error) {
      next?.stream.destroy();
      throw error;
    } finally {
      clearTimeout(renew);
    }
  };

  const openList = async (): Promise<Opened | undefined> => {
    if (!streams || pagesNext) return undefined;
    try {
      const opened = await open(undefined);
      collecting = new Map();
      return opened;
    } catch (error) {
      if (!(error instanceof ApiError && REFUSALS.includes(error.status))) throw error;
      streams = false;
      return undefined;
    }
  };

  const listInPages = async (): Promise<void> => {
    const values: T[] = [];
    finishList(values, await listPages(client, options, { pageSize: timing.pageSize, take: (raw) => void values.push(slim(raw)) }), "pages");
    pagesNext = false;
  };

  const begin = async (): Promise<Opened> => {
    const list = listed ? undefined : await openList();
    if (list !== undefined) return list;
    if (!listed) await listInPages();
    const opened = await open(version);
    blind.end();
    return opened;
  };

  /** One watch, from a list if need be; resolves with the one that has taken over, undefined at its ordinary end. */
  const round = async (opened: Opened | undefined): Promise<Opened | undefined> => {
    const before = version;
    const startedAt = performance.now();
    const next = await follow(opened ?? (await begin()));
    if (next !== undefined) return next;
    if (!listed) throw new Error("the streaming list ended before it was complete");
    if (version === before && performance.now() - startedAt < TOO_SHORT_MS) throw new Error("the watch ended at once");
    return undefined;
  };

  const lose = (reason: RestartReason): void => {
    blind.begin();
    if (reason === "expired") listed = false;
    pagesNext = collecting !== undefined;
    collecting = undefined;
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    let opened: Opened | undefined;
    while (!stopping.signal.aborted) {
      const before = version;
      const ended = await round(opened).then(
        (next) => ({ next, reason: "timeout" as const, error: undefined }),
        (thrown: unknown) => ({ next: undefined, reason: reasonOf(thrown), error: thrown }),
      );
      opened = ended.next;
      if (opened === undefined) lose(ended.reason);
      if (stopping.signal.aborted) break;
      onRestart(ended.reason);
      // What was seen in between shows that the server is well: come back at once.
      failures = ended.error === undefined ? 0 : version === before ? failures + 1 : 1;
      if (ended.error !== undefined && ended.reason !== "expired") onTrouble(ended.error, failures);
      if (failures > 1) await sleep(delayMsOf(STREAM_BACKOFF, failures - 2, Math.random), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    opened?.stream.destroy();
  };

  return {
    start: () => {
      running = run();
    },
    stop: () => {
      stopping.abort();
      stream?.destroy();
      return running;
    },
    version: () => version,
    isSynced: () => version > 0,
    blindMs: blind.nowMs,
    blindTotalMs: blind.totalMs,
  };
}

interface Opened {
  readonly stream: ClientHttp2Stream;
  /** When another one is to take over. */
  readonly renewMs: number;
}

interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: RawObject & { readonly code?: number };
}

function reasonOf(error: unknown): RestartReason {
  if (isStatus(error, 410)) return "expired";
  return error instanceof SilenceError ? "silence" : "error";
}

/** Sums up the time without a watch; it begins without one. */
function createBlindClock(): { begin(): void; end(): void; nowMs(): number; totalMs(): number } {
  let since: number | undefined = performance.now();
  let sum = 0;
  const nowMs = (): number => (since === undefined ? 0 : performance.now() - since);
  return {
    begin: () => {
      since ??= performance.now();
    },
    end: () => {
      sum += nowMs();
      since = undefined;
    },
    nowMs,
    totalMs: () => sum + nowMs(),
  };
}
