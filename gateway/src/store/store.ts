import type { Bundle } from "@paddock/api/log/bundle";
import type { EventType, LogEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import type { PodRegistration } from "@paddock/api/wire/records";

/** The newest batch that a runner stored: what a repeated request is answered with. */
export interface StoredBatch {
  readonly epoch: number;
  readonly batch: number;
  /** Digest of the request's events as they were sent. */
  readonly digest: string;
  /** Sequence numbers of the reply's events, in the request's order. */
  readonly seqs: readonly number[];
}

/** A session's record: everything but its events. `state` is the fold of exactly the events that are stored. */
export interface StoredRecord {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly namespaceUid: string;
  readonly bundle: Bundle;
  readonly bundleDigest: string;
  /** Key by which the session's sandbox knows it; never leaves the gateway but in the runner's assignment. */
  readonly bindKey: string;
  readonly state: SessionState;
  readonly batch: StoredBatch | undefined;
  /** The newest registered runner pod, and whether it follows its stream. `since` is RFC 3339. */
  readonly runner: { readonly podUid: string | undefined; readonly connected: boolean; readonly since: string };
  readonly acknowledged: boolean;
  /** Commit order over all records. */
  readonly version: number;
}

export type NewRecord = Pick<StoredRecord, "uid" | "namespace" | "name" | "namespaceUid" | "bundle" | "bundleDigest" | "bindKey"> & { readonly at: string };

/** What one append adds to a log. `state` is the state after `events`. */
export interface Write {
  readonly events: readonly LogEvent[];
  readonly state: SessionState;
  readonly batch?: StoredBatch;
}

/** The outcome of looking at a record inside a transaction: what to write, if anything, and what to tell the caller. */
export interface Decided<T> {
  readonly write?: Write;
  readonly result: T;
}

export interface EventQuery {
  /** Events with a larger sequence number; 0 for all. */
  readonly after: number;
  readonly limit: number;
  /** Only these types; absent means all. */
  readonly types?: readonly EventType[];
}

export interface RecordQuery {
  /** Records changed after this version; 0 for all. */
  readonly after: number;
  readonly limit: number;
  /** Whether records that the operator acknowledged are among them. */
  readonly acknowledged: boolean;
}

export type Registration = PodRegistration & { readonly podUid: string };

/**
 * Where session records live. Every method is one transaction and durable when it resolves; a rejected one has changed nothing.
 * `decide` functions run inside the transaction, with what is stored then: they must be pure, and may be called again by a store that
 * retries. Listeners are called after each commit, in commit order, before the method resolves.
 */
export interface Store {
  /** Identity of this store; a lost and recreated one has another. */
  readonly incarnation: string;
  /** Adds a record with its first events, unless there is one with this uid. */
  create(record: NewRecord, write: Write): Promise<{ readonly created: boolean; readonly record: StoredRecord }>;
  /** Looks at a record and maybe appends to it. Undefined when there is no such record. */
  change<T>(uid: string, decide: (record: StoredRecord) => Decided<T>): Promise<T | undefined>;
  record(uid: string): Promise<StoredRecord | undefined>;
  /**
   * The record of a session by name: the newest, or the one with this uid, of the newest namespace UID that is known for the
   * namespace's name: a namespace that was made anew reads nothing of the older one.
   */
  recordNamed(namespace: string, name: string, uid?: string): Promise<StoredRecord | undefined>;
  /** Records in commit order, at most `limit` and about 4 MiB of bundles, at least one if there is one. */
  recordsAfter(query: RecordQuery): Promise<readonly StoredRecord[]>;
  /** The largest version; 0 for an empty store. */
  version(): Promise<number>;
  /** Events in order, at most `limit` and about 4 MiB of them, at least one if there is one. */
  events(uid: string, query: EventQuery): Promise<readonly LogEvent[]>;
  /** Remembers whose a pod is; the newest runner registered is the session's one writer. Same pod and session again changes nothing. */
  register(registration: Registration, at: string): Promise<"registered" | "conflict" | "unknown-session">;
  registration(podUid: string): Promise<Registration | undefined>;
  /** Notes that the runner pod follows its stream or stopped to; nothing happens when another runner was registered since. */
  connected(uid: string, podUid: string, connected: boolean, at: string): Promise<void>;
  /** Marks a finished record as seen by the operator. */
  acknowledge(uid: string): Promise<"acknowledged" | "unfinished" | "unknown">;
  /** The value under a key, made by `make` when there is none yet. For the CA's key. */
  secret(key: string, make: () => Promise<string>): Promise<string>;
  subscribe(listener: (record: StoredRecord) => void): () => void;
  /** Throws when the store cannot serve. */
  check(): Promise<void>;
  close(): Promise<void>;
}
