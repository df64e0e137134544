import { createHash } from "node:crypto";
import { startOfBytes } from "@paddock/api/cut";
import type { BaseStatus } from "@paddock/api/object";
import type { Announcement, Self } from "../kernel/kind.ts";
import { ApiError } from "./errors.ts";
import type { ApiClient } from "./http.ts";

/** What became of an event that was announced. */
export type EventFate = "written" | "counted" | "dropped" | "failed";

/** Tells people about objects with Events. */
export interface EventRecorder {
  /** Never throws and keeps nobody waiting: what cannot be written now is not written. */
  record(self: Self<BaseStatus>, announcements: readonly Announcement[]): void;
}

export interface EventRecorderOptions {
  readonly client: Pick<ApiClient, "request">;
  /** Who we are among the operators: the pod's name. */
  readonly instance: string;
  readonly onFate?: (fate: EventFate) => void;
  readonly bounds?: Partial<EventBounds>;
  /** Monotonic, in milliseconds. */
  readonly nowMs?: () => number;
}

export interface EventBounds {
  /** How often the count of an event that repeats is written at most. */
  readonly repeatMs: number;
  /** Events of one object: so many at once, then one more each `refillMs`. */
  readonly burst: number;
  readonly refillMs: number;
  /** Events and objects that are remembered. */
  readonly memory: number;
  /** Writes at the API server at the same time. */
  readonly inFlight: number;
}

const BOUNDS: EventBounds = { repeatMs: 300_000, burst: 10, refillMs: 60_000, memory: 4096, inFlight: 8 };
const CONTROLLER = "paddock.dev/operator";
// Bytes.
const MAX_NOTE = 1024;
const TIMEOUT_MS = 10_000;

interface Entry {
  /** How often it was announced, and how often the API server's Event says so. */
  count: number;
  written: number;
  writtenAtMs: number;
}

/**
 * Events of `events.k8s.io/v1`, which `kubectl describe` shows with their count. The name is made of object, reason and message: what repeats is
 * one Event whose series counts, also across operators. Memory, rate and requests under way are bounded; what is beyond them is dropped.
 */
export function createEventRecorder({ client, instance, onFate = () => undefined, bounds, nowMs = () => performance.now() }: EventRecorderOptions): EventRecorder {
  const { repeatMs, burst, refillMs, memory, inFlight } = { ...BOUNDS, ...bounds };
  const entries = new Map<string, Entry>();
  const buckets = new Map<string, { left: number; atMs: number }>();
  let underWay = 0;

  /** The newest at the end, so that the oldest is what is forgotten. */
  const remember = <T>(map: Map<string, T>, key: string, value: T): T => {
    map.delete(key);
    map.set(key, value);
    const oldest = map.size > memory ? map.keys().next().value : undefined;
    if (oldest !== undefined) map.delete(oldest);
    return value;
  };

  const takesToken = (uid: string): boolean => {
    const now = nowMs();
    const { left, atMs } = buckets.get(uid) ?? { left: burst, atMs: now };
    const filled = Math.min(burst, left + (now - atMs) / refillMs);
    const isFree = filled >= 1;
    remember(buckets, uid, { left: isFree ? filled - 1 : filled, atMs: now });
    return isFree;
  };

  const write = async (event: EventManifest, entry: Entry): Promise<void> => {
    const { namespace, name } = event.metadata;
    const collection = `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
    const common = { resource: "events", timeoutMs: TIMEOUT_MS, priority: "background" } as const;
    const patch = (body: unknown): Promise<unknown> =>
      client.request({ ...common, verb: "apply", method: "PATCH", path: `${collection}/${name}`, contentType: "application/merge-patch+json", body });
    const create = (): Promise<unknown> => client.request({ ...common, verb: "create", method: "POST", path: collection, body: event });
    const countUp = (count: number): Promise<unknown> => patch({ series: { count, lastObservedTime: event.eventTime } });
    const { count, written } = entry;
    if (written === 0) {
      try {
        await create();
      } catch (error) {
        if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
        // Of an operator before us. A patch that changes nothing is how we, who may not get events, learn its count.
        const existing = (await patch({})) as { readonly series?: { readonly count: number } };
        entry.count = (existing.series?.count ?? 1) + count;
        await countUp(entry.count);
      }
    } else {
      await countUp(count).catch((error: unknown) => {
        // The API server forgets events after an hour.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
        entry.count = 1;
        return create();
      });
    }
    entry.written = entry.count;
  };

  const recordOne = (event: EventManifest): void => {
    const known = entries.get(event.metadata.name);
    const entry = remember(entries, event.metadata.name, known ?? { count: 0, written: 0, writtenAtMs: -Infinity });
    entry.count += 1;
    if (nowMs() - entry.writtenAtMs < repeatMs) return onFate("counted");
    if (underWay >= inFlight || !takesToken(event.regarding.uid)) return onFate("dropped");
    underWay += 1;
    entry.writtenAtMs = nowMs();
    write(event, entry)
      .then(() => onFate("written"), () => onFate("failed"))
      .finally(() => {
        underWay -= 1;
      });
  };

  return {
    record: (self, announcements) => {
      for (const announcement of announcements) recordOne(buildEvent(self, announcement, { instance, now: new Date() }));
    },
  };
}

/** `events.k8s.io/v1` Event as we write it. */
interface EventManifest {
  readonly apiVersion: "events.k8s.io/v1";
  readonly kind: "Event";
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly type: Announcement["type"];
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly apiVersion: string; readonly kind: string; readonly namespace: string; readonly name: string; readonly uid: string };
}

/** The Event of an announcement; the same one gives the same name. Pure. */
export function buildEvent({ apiVersion, kind, metadata }: Self<BaseStatus>, { type, reason, message }: Announcement, { instance, now }: { readonly instance: string; readonly now: Date }): EventManifest {
  const { namespace, name, uid } = metadata;
  const hash = createHash("sha256").update(JSON.stringify([uid, type, reason, message])).digest("hex").slice(0, 16);
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    // At most 253 characters, of which an object's name may take all.
    metadata: { name: `${name.slice(0, 230).replace(/[-.]+$/, "")}.${hash}`, namespace },
    eventTime: now.toISOString().replace("Z", "000Z"),
    reportingController: CONTROLLER,
    reportingInstance: instance.slice(0, 128),
    action: "Reconcile",
    type, reason,
    note: Buffer.byteLength(message) > MAX_NOTE ? `${startOfBytes(message, MAX_NOTE - 3)}…` : message,
    regarding: { apiVersion, kind, namespace, name, uid },
  };
}
