import { randomUUID } from "node:crypto";
import { BROADCASTS, openBroadcaster } from "./postgres-broadcast.ts";
import type { Broadcaster } from "./postgres-broadcast.ts";
import { openChanger } from "./postgres-commit.ts";
import type { Changer } from "./postgres-commit.ts";
import { integer, openDatabase, text } from "./postgres-connection.ts";
import type { Database } from "./postgres-connection.ts";
import { PAGE_BYTES, insertEvents, readBlob, readEvents } from "./postgres-events.ts";
import { expireRecords } from "./postgres-expiry.ts";
import { changeLedger, lockNames, nameOf, putBudget, readBudgets, readUsage } from "./postgres-ledger.ts";
import { openListener } from "./postgres-listen.ts";
import { registerPod, registrationOf } from "./postgres-pods.ts";
import { openPublisher, readPosition } from "./postgres-publish.ts";
import type { Publisher } from "./postgres-publish.ts";
import { openReplicas } from "./postgres-replicas.ts";
import type { Replicas } from "./postgres-replicas.ts";
import { insertRecord, instant, isReadable, openRecords, updateRecords } from "./postgres-rows.ts";
import type { PlacedChange, Records } from "./postgres-rows.ts";
import { CHANGES, prepareSchema } from "./postgres-schema.ts";
import type { NewRecord, Store, StoredRecord, Write } from "./store.ts";

export interface PostgresOptions {
  now(): Date;
  /** Told of a record that cannot be read, of a listener that throws, and of a server that goes away. */
  report?(error: unknown): void;
  /** Told after each commit how many calls shared it. Must not throw. */
  committed?(calls: number): void;
  /** How often this replica says that it lives, and after how long without that others take its runners for disconnected, in milliseconds. */
  readonly beatMs?: number;
  readonly deadAfterMs?: number;
}

const BEAT_MS = 5000;
const DEAD_AFTER_MS = 15_000;

interface Parts {
  readonly database: Database;
  readonly records: Records;
  readonly publisher: Publisher;
  readonly changer: Changer;
  readonly replicas: Replicas;
  readonly broadcaster: Broadcaster;
}

/**
 * A store in a Postgres database (15 or newer, UTF-8) that other gateways may have open too. Its tables are made when they are absent; the user of the
 * connection string needs CREATE in its schema. Rejects when the server cannot be reached, or the tables are of a newer release.
 */
export async function openPostgresStore(connectionString: string, options: PostgresOptions): Promise<Store> {
  const { now, report = () => undefined, committed = () => undefined, beatMs = BEAT_MS, deadAfterMs = DEAD_AFTER_MS } = options;
  const replica = randomUUID();
  const database = openDatabase(connectionString);
  try {
    const incarnation = await prepareSchema(database);
    const records = openRecords(report);
    const publisher = openPublisher({ on: database, records, from: await readPosition(database), report });
    const replicas = openReplicas({ database, records, publisher, replica, deadAfterMs, now });
    const broadcaster = openBroadcaster({ on: database, replica, report });
    const changer = openChanger({ database, records, publisher, committed });
    const parts: Parts = { database, records, publisher, changer, replicas, broadcaster };
    await replicas.beat();
    const listener = await openListener({
      database,
      channels: [CHANGES, BROADCASTS],
      heard: (channel, payload) => {
        if (channel === BROADCASTS) broadcaster.heard(payload);
        else void publisher.catchUp(Number(payload)).catch(() => undefined);
      },
      connected: () => {
        broadcaster.forget();
        void publisher.catchUp().catch(() => undefined);
      },
    });
    const heart = openHeart(parts, beatMs, report);
    const close = async (): Promise<void> => {
      await changer.close();
      await heart.stop();
      // A server that is away finds out by itself.
      await replicas.leave().catch(() => undefined);
      await listener.close();
      await database.close();
    };
    return storeOver(parts, { incarnation, close });
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Beats, and asks for changes whose notification may have been missed. A failure is reported once, until it works again. */
function openHeart({ replicas, publisher }: Parts, beatMs: number, report: (error: unknown) => void): { stop(): Promise<void> } {
  let isAway = false;
  let beating = Promise.resolve();
  const beat = async (): Promise<void> => {
    try {
      await replicas.beat();
      await publisher.catchUp();
      isAway = false;
    } catch (error) {
      if (!isAway) report(error);
      isAway = true;
    }
  };
  const next = (): NodeJS.Timeout =>
    setTimeout(() => {
      beating = beat().then(() => {
        if (!isStopped) timer = next();
      });
    }, beatMs).unref();
  let isStopped = false;
  let timer = next();
  return {
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      await beating;
    },
  };
}

/** `records` by uid; text with a NUL is in no column. */
const isStorable = (value: string): boolean => !value.includes("\0");

function storeOver(parts: Parts, { incarnation, close }: Pick<Store, "incarnation" | "close">): Store {
  const { database, records, publisher, changer, replicas, broadcaster } = parts;
  return {
    incarnation,
    create: openCreator(parts),
    change: (uid, decide, { day } = {}) => changer.change(uid, decide, day),
    record: async (uid) => (isStorable(uid) ? (await records.one(database, "FROM records WHERE uid = $1", [uid]))?.record : undefined),
    ...readsOf(parts),
    events: (uid, query) => readEvents(database, uid, query),
    blob: async (uid, sha256) => (isStorable(uid + sha256) ? readBlob(database, uid, sha256) : undefined),
    putBudget: async (budget) => {
      const position = await database.transact((transaction) => putBudget(transaction, budget));
      if (position !== undefined) await publisher.committed([{ position, change: { kind: "budget", budget } }]);
    },
    budgets: async () => (await readBudgets(database)).map(({ budget }) => budget),
    usage: (query) => readUsage(database, query),
    expire: (before, limit) => expireRecords(database, instant(before), limit),
    registration: (podUid) => registrationOf(database, podUid),
    ...marksOf(parts),
    connected: replicas.connected,
    secret: (key, make) => keepSecret(database, `secret/${key}`, make),
    subscribe: publisher.subscribe,
    broadcast: broadcaster.send,
    onBroadcast: broadcaster.onText,
    check: async () => {
      await readPosition(database);
    },
    close,
  };
}

type Creation = Awaited<ReturnType<Store["create"]>>;

/** Creates of one uid one after the other, in the order in which they were asked for. */
function openCreator(parts: Pick<Parts, "database" | "records" | "publisher">): Store["create"] {
  const newest = new Map<string, Promise<unknown>>();
  return async (record, write) => {
    const { uid } = record;
    const creation = (newest.get(uid) ?? Promise.resolve()).then(() => createRecord(parts, record, write));
    const settled = creation.catch(() => undefined);
    newest.set(uid, settled);
    await settled;
    if (newest.get(uid) === settled) newest.delete(uid);
    return creation;
  };
}

async function createRecord({ database, records, publisher }: Pick<Parts, "database" | "records" | "publisher">, record: NewRecord, write: Write): Promise<Creation> {
  const { uid, namespace, bundle } = record;
  const { ledger = [] } = write;
  const { created, found, changes } = await database.transact(async (transaction) => {
    await lockNames(transaction, [`record/${uid}`, ...ledger.map(({ day }) => nameOf({ environmentUid: bundle.environment.uid, day }))]);
    const known = await records.one(transaction, "FROM records WHERE uid = $1", [uid]);
    // An attempt that was committed and whose answer was lost left our own key.
    if (known !== undefined) return { created: transaction.mayBeCommitted && known.record.bindKey === record.bindKey, found: known.record, changes: [] };
    await insertEvents(transaction, [{ uid, events: write.events, blobs: write.blobs ?? [] }]);
    await changeLedger(transaction, [{ bundle, namespace, changes: ledger }]);
    const change = await insertRecord(transaction, record, write);
    return { created: true, found: undefined, changes: [change] };
  });
  await publisher.committed(changes);
  const stored = found ?? recordIn(changes);
  if (stored === undefined) throw new Error(`record ${uid} was neither found nor made`);
  return { created, record: stored };
}

function recordIn(changes: readonly PlacedChange[]): StoredRecord | undefined {
  return changes.map(({ change }) => (change.kind === "record" ? change.record : undefined)).at(-1);
}

const NAMED = `FROM records WHERE namespace = $1 AND name = $2 AND ($3::text IS NULL OR uid = $3)
  AND namespace_uid = (SELECT namespace_uid FROM records WHERE namespace = $1 ORDER BY ordinal DESC LIMIT 1) ORDER BY ordinal DESC LIMIT 1`;
/** A page by what its bundles weigh, at least one. */
const AFTER = `FROM (SELECT page.*, sum(octet_length(bundle)) OVER (ORDER BY version) - octet_length(bundle) AS bytes_before
  FROM (SELECT * FROM records WHERE version > $1 AND (NOT acknowledged OR $2) ORDER BY version LIMIT $3) AS page) AS records
  WHERE bytes_before <= $4 ORDER BY version`;

function readsOf({ database, records }: Parts): Pick<Store, "recordNamed" | "recordsAfter" | "version" | "due" | "nextDueAt"> {
  return {
    recordNamed: async (namespace, name, uid) => {
      if (!isStorable(namespace + name + (uid ?? ""))) return undefined;
      return (await records.one(database, NAMED, [namespace, name, uid ?? null]))?.record;
    },
    recordsAfter: async ({ after, limit, acknowledged }) => {
      let from = after;
      for (;;) {
        const page = await records.select(database, AFTER, [from, acknowledged, limit, PAGE_BYTES]);
        const found = page.filter(isReadable).map(({ record }) => record);
        const newest = page.at(-1);
        if (found.length > 0 || newest === undefined) return found;
        // None of this page can be read, which must not hide what comes after it.
        from = isReadable(newest) ? newest.record.version : newest.version;
      }
    },
    version: async () => {
      const [row] = await database.query("SELECT version FROM counter");
      return integer(row, "version");
    },
    due: async (now, limit) => {
      const sql = "SELECT uid FROM records WHERE due_at IS NOT NULL AND finished_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT $2";
      return (await database.query(sql, [instant(now), limit])).map((row) => text(row, "uid"));
    },
    nextDueAt: async () => {
      const [row] = await database.query("SELECT due_at FROM records WHERE due_at IS NOT NULL AND finished_at IS NULL ORDER BY due_at LIMIT 1");
      return row === undefined ? undefined : text(row, "due_at");
    },
  };
}

/** What is noted about a record beside its log. */
function marksOf({ database, records, publisher }: Parts): Pick<Store, "register" | "acknowledge" | "markCorrupt"> {
  /** `next` gives the record to write, or undefined. */
  const mark = async (uid: string, next: (record: StoredRecord) => StoredRecord | undefined): Promise<StoredRecord | undefined> => {
    const { found, changes } = await database.transact(async (transaction) => {
      const held = await records.one(transaction, "FROM records WHERE uid = $1 FOR UPDATE", [uid]);
      const record = held === undefined ? undefined : next(held.record);
      return { found: held?.record, changes: record === undefined ? [] : await updateRecords(transaction, [{ record, replica: held?.replica }]) };
    });
    await publisher.committed(changes);
    return found;
  };
  return {
    register: async (registration, at) => {
      const { result, changes } = await database.transact((transaction) => registerPod(transaction, records, { ...registration, at }));
      await publisher.committed(changes);
      return result;
    },
    acknowledge: async (uid) => {
      const found = await mark(uid, (record) => (record.state.finished === undefined || record.acknowledged ? undefined : { ...record, acknowledged: true }));
      if (found === undefined) return "unknown";
      return found.state.finished === undefined ? "unfinished" : "acknowledged";
    },
    markCorrupt: async (uid, reason) => {
      await mark(uid, (record) => (record.corrupt === undefined ? { ...record, corrupt: reason.replaceAll("\0", "") } : undefined));
    },
  };
}

async function keepSecret(database: Database, key: string, make: () => Promise<string>): Promise<string> {
  const read = (): Promise<readonly { readonly value?: unknown }[]> => database.query("SELECT value FROM meta WHERE key = $1", [key]);
  const [known] = await read();
  if (known !== undefined) return text(known, "value");
  await database.query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING", [key, await make()]);
  const [kept] = await read();
  return text(kept, "value");
}
