import type { ClientHttp2Stream } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { STREAM_BACKOFF, backoffMs } from "../kernel/backoff.ts";
import type { Key } from "../kernel/kind.ts";
import { ApiError, isStatus } from "./errors.ts";
import type { ApiClient } from "./http.ts";
import { createLineCutter } from "./lines.ts";
import type { RawObject } from "./resources.ts";

/** Where a reflector puts what it sees. */
export interface Sink {
  replace(objects: readonly RawObject[]): void;
  set(object: RawObject): void;
  remove(key: Key): void;
}

/** Why a watch was begun anew; "timeout" is the server's ordinary end. */
export type RestartReason = "timeout" | "error" | "silence" | "expired";

export interface ReflectorOptions {
  readonly client: ApiClient;
  /** Plural, for metrics. */
  readonly resource: string;
  /** Path of the collection, of one namespace or of all. */
  readonly path: string;
  readonly labelSelector?: string;
  readonly sink: Sink;
  readonly onRestart?: (reason: RestartReason) => void;
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
}

const TIMING: ReflectorTiming = { pageSize: 500, minSeconds: 240, maxSeconds: 480, silenceMs: 150_000 };
const LIST_TIMEOUT_MS = 60_000;
// A watch that ends sooner without a word counts as failed, or a server that closes at once would be asked in a tight loop.
const TOO_SHORT_MS = 1_000;

/** Keeps a sink equal to a collection: list, then watch from there, for ever. */
export interface Reflector {
  start(): void;
  stop(): Promise<void>;
  /** Resource version up to which the sink is complete; 0 before the first list. */
  version(): number;
  isSynced(): boolean;
  /** How long there has been no watch; 0 while there is one. */
  blindMs(): number;
}

export function createReflector(options: ReflectorOptions): Reflector {
  const { sink, onRestart = () => undefined, onTrouble = () => undefined } = options;
  const timing = { ...TIMING, ...options.timing };
  const stopping = new AbortController();
  let stream: ClientHttp2Stream | undefined;
  let version = 0;
  let listed = false;
  let lostAt: number | undefined = performance.now();
  let running: Promise<void> = Promise.resolve();

  const take = (event: WatchEvent): void => {
    if (event.type === "ERROR") throw new ApiError(event.object.code ?? 500, `watch ${options.path}`, JSON.stringify(event.object));
    const { metadata } = event.object;
    version = Number(metadata.resourceVersion);
    if (event.type === "DELETED") sink.remove({ namespace: metadata.namespace ?? "", name: metadata.name });
    else if (event.type !== "BOOKMARK") sink.set(event.object);
  };

  const watchOnce = async (): Promise<void> => {
    const opened = await options.client.watch(options.resource, watchPath(options, timing, version));
    stream = opened;
    // stop() may have come while the answer was on its way.
    if (stopping.signal.aborted) opened.destroy();
    lostAt = undefined;
    await drain(opened, timing.silenceMs, (line) => take(JSON.parse(line) as WatchEvent));
  };

  const round = async (): Promise<RestartReason> => {
    if (!listed) {
      const page = await listAll(options, timing.pageSize);
      sink.replace(page.items);
      version = page.version;
      listed = true;
    }
    const before = version;
    const startedAt = performance.now();
    await watchOnce();
    if (version === before && performance.now() - startedAt < TOO_SHORT_MS) throw new Error("the watch ended at once");
    return "timeout";
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!stopping.signal.aborted) {
      const before = version;
      const { reason, error } = await round().then(
        (ended) => ({ reason: ended, error: undefined }),
        (thrown: unknown) => ({ reason: reasonOf(thrown), error: thrown }),
      );
      lostAt ??= performance.now();
      if (stopping.signal.aborted) return;
      onRestart(reason);
      if (reason === "expired") listed = false;
      // What was seen in between shows that the server is well: come back at once.
      failures = error === undefined ? 0 : version === before ? failures + 1 : 1;
      if (error !== undefined && reason !== "expired") onTrouble(error, failures);
      if (failures > 1) await sleep(backoffMs(failures - 1, STREAM_BACKOFF, Math.random()), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
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
    blindMs: () => (lostAt === undefined ? 0 : performance.now() - lostAt),
  };
}

interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: RawObject & { readonly code?: number };
}

interface ListPage {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly RawObject[];
}

class SilenceError extends Error {}

function reasonOf(error: unknown): RestartReason {
  if (isStatus(error, 410)) return "expired";
  return error instanceof SilenceError ? "silence" : "error";
}

async function listAll({ client, resource, path, labelSelector }: ReflectorOptions, pageSize: number): Promise<{ items: RawObject[]; version: number }> {
  const items: RawObject[] = [];
  let next: string | undefined;
  do {
    const query = queryOf({ limit: String(pageSize), labelSelector, continue: next });
    const page = (await client.request({ verb: "list", resource, method: "GET", path: `${path}?${query}`, timeoutMs: LIST_TIMEOUT_MS })) as ListPage;
    for (const item of page.items) items.push(item);
    next = page.metadata.continue === "" ? undefined : page.metadata.continue;
    if (next === undefined) return { items, version: Number(page.metadata.resourceVersion) };
  } while (true);
}

function watchPath({ path, labelSelector }: ReflectorOptions, { minSeconds, maxSeconds }: ReflectorTiming, version: number): string {
  const seconds = Math.round(minSeconds + Math.random() * (maxSeconds - minSeconds));
  const query = queryOf({ watch: "1", allowWatchBookmarks: "true", resourceVersion: String(version), timeoutSeconds: String(seconds), labelSelector });
  return `${path}?${query}`;
}

function queryOf(members: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(members)) if (value !== undefined) query.set(name, value);
  return query.toString();
}

/**
 * Calls `take` for each whole line until the stream ends. The socket comes first: lines are cut and parsed in a later turn of the event
 * loop, because the API server closes a watch whose reader is slow. A throw of `take` ends the stream and is thrown here.
 */
function drain(stream: ClientHttp2Stream, silenceMs: number, take: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const cutter = createLineCutter();
    let chunks: Buffer[] = [];
    let scheduled: NodeJS.Immediate | undefined;
    let heardAt = performance.now();
    let fault: Error | undefined;
    const fail = (error: unknown): void => {
      fault ??= error instanceof Error ? error : new Error(String(error));
      stream.destroy();
    };
    const work = (): void => {
      scheduled = undefined;
      const batch = chunks;
      chunks = [];
      try {
        if (fault === undefined) for (const line of batch.flatMap((chunk) => cutter.push(chunk))) take(line);
      } catch (error) {
        fail(error);
      }
    };
    const silence = setInterval(() => {
      if (performance.now() - heardAt < silenceMs) return;
      fail(new SilenceError(`nothing heard for ${silenceMs / 1000} s`));
    }, silenceMs / 4);
    stream.on("data", (chunk: Buffer) => {
      heardAt = performance.now();
      chunks.push(chunk);
      scheduled ??= setImmediate(work);
    });
    stream.on("error", fail);
    const finish = (): void => {
      clearInterval(silence);
      if (scheduled !== undefined) clearImmediate(scheduled);
      work();
      if (fault === undefined) resolve();
      else reject(fault);
    };
    if (stream.closed || stream.destroyed) finish();
    else stream.once("close", finish);
  });
}
