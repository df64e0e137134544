import type { Blob } from "@paddock/api/log/blobs";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventType, LogEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import type { UsageGroup } from "@paddock/api/wire/people";
import type { BudgetView, PodRegistration } from "@paddock/api/wire/records";

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
  /** When the gateway has to act by itself at the latest (an approval expires, a custom tool's time is over), RFC 3339. */
  readonly dueAt: string | undefined;
  /** What is wrong with the stored log, once that was seen: the session ends with LogCorrupt. */
  readonly corrupt: string | undefined;
  /** Commit order over all records. */
  readonly version: number;
}

export type NewRecord = Pick<StoredRecord, "uid" | "namespace" | "name" | "namespaceUid" | "bundle" | "bundleDigest" | "bindKey"> & { readonly at: string };

/** What one append adds to a log. `state` is the state after `events`. */
export interface Write {
  readonly events: readonly LogEvent[];
  readonly state: SessionState;
  readonly batch?: StoredBatch;
  /** Payloads that `events` reference: durable with them, once per content. */
  readonly blobs?: readonly Blob[];
  /** What `events` change in the ledger; amounts are added to what is there. */
  readonly ledger?: readonly LedgerChange[];
  /** Replaces StoredRecord.dueAt when the member is there, whatever its value; absent leaves it. */
  readonly dueAt?: string | undefined;
}

/** Additions to one row of the ledger: the record's namespace, agent and environment on one UTC day (yyyy-mm-dd). Amounts may be negative. */
export interface LedgerChange {
  readonly day: string;
  readonly sessions?: number;
  readonly requests?: number;
  readonly inputTokens?: number;
  readonly cachedInputTokens?: number;
  readonly outputTokens?: number;
  readonly costNanoUSD?: bigint;
  readonly uncertainNanoUSD?: bigint;
  readonly reservedNanoUSD?: bigint;
}

/** What all sessions of an Environment have used of one UTC day's budget. */
export interface SharedBudget {
  readonly day: string;
  /** The limit as the operator last put it; `null` when it put none; undefined before it put anything. */
  readonly limitNanoUSD: bigint | null | undefined;
  /** Spent for certain, and what lost answers may have cost. */
  readonly usedNanoUSD: bigint;
  readonly reservedNanoUSD: bigint;
}

/** What a decision looks at inside its transaction. `budget` is there when it was asked for, and nobody else changes it meanwhile. */
export interface Inside {
  readonly record: StoredRecord;
  readonly budget: SharedBudget | undefined;
}

export interface UsageQuery {
  readonly namespace: string;
  /** UTC days, both included. */
  readonly from: string;
  readonly to: string;
  readonly by: readonly UsageGroup[];
  readonly agent?: string;
  readonly environment?: string;
}

/** A sum of ledger rows; the members of `by` are there. */
export interface UsageSum extends Required<Omit<LedgerChange, "day">> {
  readonly day?: string;
  readonly agent?: string;
  readonly environment?: string;
}

/** A stored log that is not what was appended: a row is missing, unreadable, or its hash does not follow. */
export class LogCorruptError extends Error {
  readonly uid: string;

  constructor(uid: string, reason: string) {
    super(reason);
    this.name = "LogCorruptError";
    this.uid = uid;
  }
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

/** What a store tells its listeners of, after each commit, in commit order. */
export type Change = { readonly kind: "record"; readonly record: StoredRecord } | { readonly kind: "budget"; readonly budget: BudgetView };

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
  /**
   * Looks at a record and maybe appends to it. Undefined when there is no such record. `day`: also at that day's shared budget of the
   * record's Environment. Concurrent calls may share one commit.
   */
  change<T>(uid: string, decide: (inside: Inside) => Decided<T>, options?: { readonly day?: string }): Promise<T | undefined>;
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
  /**
   * Events in order, at most `limit` and about 4 MiB of them, at least one if there is one. Their chain of hashes is checked as they are read;
   * without `types` also that none is missing. Rejects with LogCorruptError.
   */
  events(uid: string, query: EventQuery): Promise<readonly LogEvent[]>;
  /** The payload with this digest, if an event of the record references it. */
  blob(uid: string, sha256: string): Promise<string | undefined>;
  /** Remembers that the record's log is damaged; the first reason stays. */
  markCorrupt(uid: string, reason: string): Promise<void>;
  /** Records that have not finished and whose dueAt is not after `now` (RFC 3339), earliest first. */
  due(now: string, limit: number): Promise<readonly string[]>;
  /** The earliest dueAt of all that have not finished. */
  nextDueAt(): Promise<string | undefined>;
  /** Puts the live limit of an Environment's shared budget. */
  putBudget(budget: BudgetView): Promise<void>;
  budgets(): Promise<readonly BudgetView[]>;
  usage(query: UsageQuery): Promise<readonly UsageSum[]>;
  /**
   * Deletes logs, blobs and pods of acknowledged records that finished before `before` (RFC 3339), at most `limit` records; the ledger stays.
   * Resolves with how many were deleted.
   */
  expire(before: string, limit: number): Promise<number>;
  /** Remembers whose a pod is; the newest runner registered is the session's one writer. Same pod and session again changes nothing. */
  register(registration: Registration, at: string): Promise<"registered" | "conflict" | "unknown-session">;
  registration(podUid: string): Promise<Registration | undefined>;
  /** Notes that the runner pod follows its stream or stopped to; nothing happens when another runner was registered since. */
  connected(uid: string, podUid: string, connected: boolean, at: string): Promise<void>;
  /** Marks a finished record as seen by the operator. */
  acknowledge(uid: string): Promise<"acknowledged" | "unfinished" | "unknown">;
  /** The value under a key, made by `make` when there is none yet. For the CA's key. */
  secret(key: string, make: () => Promise<string>): Promise<string>;
  /** Also changes that another gateway with the same store committed. */
  subscribe(listener: (change: Change) => void): () => void;
  /** Tells the other gateways with the same store something that is not kept; at most 1 MiB of text. Never rejects. */
  broadcast(text: string): Promise<void>;
  onBroadcast(listener: (text: string) => void): () => void;
  /** Throws when the store cannot serve. */
  check(): Promise<void>;
  close(): Promise<void>;
}
