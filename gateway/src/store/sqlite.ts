import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createCommitter } from "./sqlite-commit.ts";
import type { Committer } from "./sqlite-commit.ts";
import { connect, connectToRead, integer, optionalText, schemaVersion, text, transaction } from "./sqlite-connection.ts";
import type { Connection } from "./sqlite-connection.ts";
import { blamingLog, insertEvents, readBlob, readEvents } from "./sqlite-events.ts";
import { expireRecords, removeRest } from "./sqlite-expiry.ts";
import { changeLedger, putBudget, readBudgets, readUsage, sharedBudget } from "./sqlite-ledger.ts";
import { insertRegistration, registrationOf } from "./sqlite-pods.ts";
import { instant, newestVersion, openRecords } from "./sqlite-records.ts";
import type { Records } from "./sqlite-records.ts";
import { MIGRATIONS, SCHEMA, SCHEMA_VERSION } from "./schema.ts";
import { createTails } from "./tails.ts";
import type { Tails } from "./tails.ts";
import type { Change, Decided, Inside, NewRecord, Store, StoredRecord, Write } from "./store.ts";

export interface SqliteOptions {
  /** Told of a record that cannot be read, and of a listener that throws. */
  report?(error: unknown): void;
  /** Told after each commit how many calls shared it. Must not throw. */
  committed?(calls: number): void;
}

/** The store's file in its folder. */
export function fileIn(folder: string): string {
  return join(folder, "paddock.db");
}

/**
 * A store in one SQLite file in `folder`, which must be on a disk of this machine (no NFS) and is made when absent. Durable to power loss
 * with each commit. Throws when the file cannot be opened or was written by a newer release.
 */
export function openSqliteStore(folder: string, now: () => Date, options: SqliteOptions = {}): Store {
  mkdirSync(folder, { recursive: true });
  const file = fileIn(folder);
  const connection = connect(file);
  try {
    connection.db.exec("PRAGMA journal_mode = WAL");
    connection.db.exec("PRAGMA synchronous = FULL");
    // The file holds the CA's key.
    chmodSync(file, 0o600);
    prepareSchema(connection, file);
    disconnectAll(connection, now().toISOString());
    return storeOver(connection, { ...options, isReader: false });
  } catch (error) {
    connection.db.close();
    throw error;
  }
}

/** The store in a file as it is, to be read beside the gateway that writes it; every write is rejected. Throws when there is none of this release. */
export function openSqliteReader(file: string, options: SqliteOptions = {}): Store {
  const connection = connectToRead(file);
  try {
    const version = schemaVersion(connection);
    if (version !== SCHEMA_VERSION) throw new Error(`${file} has schema version ${version} and this release reads ${SCHEMA_VERSION}: run this with the release of the gateway`);
    return storeOver(connection, { ...options, isReader: true });
  } catch (error) {
    connection.db.close();
    throw error;
  }
}

interface Parts {
  readonly connection: Connection;
  readonly records: Records;
  readonly tails: Tails;
  readonly committer: Committer;
}

function storeOver(connection: Connection, { report = () => undefined, committed = () => undefined, isReader }: SqliteOptions & { readonly isReader: boolean }): Store {
  const listeners = new Set<(change: Change) => void>();
  const records = openRecords({ connection, isReader, report });
  const tails = createTails();
  const publish = (change: Change): void => {
    for (const listener of listeners) {
      try {
        listener(change);
      } catch (error) {
        report(error);
      }
    }
  };
  const undone = (): void => {
    records.forget();
    tails.clear();
  };
  const committer = createCommitter({ connection, publish, undone, committed });
  const parts: Parts = { connection, records, tails, committer };
  const { db } = connection;

  return {
    incarnation: text(connection.one("SELECT value FROM meta WHERE key = 'incarnation'"), "value"),
    create: (record, write) => createRecord(parts, record, write),
    change: (uid, decide, { day } = {}) => changeRecord(parts, uid, { decide, day }),
    record: async (uid) => records.find(uid),
    recordNamed: async (namespace, name, uid) => records.named(namespace, name, uid),
    recordsAfter: async (query) => records.after(query),
    version: async () => newestVersion(connection),
    events: async (uid, query) => tails.read(uid, query) ?? readEvents(connection, uid, query),
    blob: async (uid, sha256) => readBlob(connection, uid, sha256),
    due: async (at, limit) => {
      const sql = "SELECT uid FROM records WHERE due_at IS NOT NULL AND finished_at IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?";
      return connection.all(sql, instant(at), limit).map((row) => text(row, "uid"));
    },
    nextDueAt: async () => {
      const row = connection.one("SELECT due_at FROM records WHERE due_at IS NOT NULL AND finished_at IS NULL ORDER BY due_at LIMIT 1");
      return row === undefined ? undefined : text(row, "due_at");
    },
    putBudget: (budget) => committer.commit<void>(() => ({ result: undefined, changes: putBudget(connection, budget) ? [{ kind: "budget", budget }] : [] })),
    budgets: async () => readBudgets(connection),
    usage: async (query) => readUsage(connection, query),
    expire: (before, limit) => {
      const forget = (uid: string): void => {
        records.changed(uid);
        tails.delete(uid);
      };
      return expireRecords({ connection, committer, forget }, { before: instant(before), limit });
    },
    registration: async (podUid) => registrationOf(connection, podUid),
    ...marksOf(parts),
    secret: async (key, make) => {
      const name = `secret/${key}`;
      const read = (): string | undefined => {
        const row = connection.one("SELECT value FROM meta WHERE key = ?", name);
        return row === undefined ? undefined : text(row, "value");
      };
      const known = read();
      if (known !== undefined) return known;
      const made = await make();
      await committer.commit(() => ({ result: connection.run("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", name, made) }));
      return read() ?? made;
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    // The file has no other gateway to tell.
    broadcast: async () => undefined,
    onBroadcast: () => () => undefined,
    check: async () => {
      if (connection.one("SELECT count(*) AS n FROM meta")?.n === undefined) throw new Error("the store returned no row");
    },
    close: async () => {
      await committer.close();
      if (db.isOpen) db.close();
    },
  };
}

function createRecord({ connection, records, tails, committer }: Parts, record: NewRecord, write: Write): Promise<{ created: boolean; record: StoredRecord }> {
  return committer.commit<{ created: boolean; record: StoredRecord }>(() => {
    const known = records.find(record.uid);
    if (known !== undefined) return { result: { created: false, record: known } };
    removeRest(connection, record.uid);
    records.insert(record, write);
    tails.add(record.uid, write.events, insertEvents(connection, record.uid, write));
    changeLedger(connection, record, write.ledger ?? []);
    const created = records.required(record.uid);
    return { result: { created: true, record: created }, changes: [{ kind: "record", record: created }] };
  });
}

interface Decision<T> {
  readonly decide: (inside: Inside) => Decided<T>;
  readonly day: string | undefined;
}

function changeRecord<T>({ connection, records, tails, committer }: Parts, uid: string, { decide, day }: Decision<T>): Promise<T | undefined> {
  return committer.commit<T | undefined>(() => {
    const record = records.find(uid);
    if (record === undefined) return { result: undefined };
    const budget = day === undefined ? undefined : sharedBudget(connection, record.bundle.environment.uid, day);
    const { write, result } = decide({ record, budget });
    if (write === undefined) return { result };
    const chars = blamingLog(uid, () => insertEvents(connection, uid, write));
    tails.add(uid, write.events, chars);
    const changed = records.update(record, write);
    changeLedger(connection, record, write.ledger ?? []);
    return { result, changes: [{ kind: "record", record: changed }] };
  });
}

/** What is noted about a record beside its log. */
function marksOf({ connection, records, committer }: Parts): Pick<Store, "register" | "connected" | "acknowledge" | "markCorrupt"> {
  const changed = (uid: string): readonly Change[] => {
    records.changed(uid);
    const record = records.readable(uid);
    return record === undefined ? [] : [{ kind: "record", record }];
  };
  return {
    register: (registration, at) =>
      committer.commit(() => {
        const { result, isNewRunner } = insertRegistration(connection, registration);
        if (!isNewRunner) return { result };
        const { podUid, sessionUid } = registration;
        connection.run("UPDATE records SET runner_pod = ?, runner_connected = 0, runner_since = ?, version = ? WHERE uid = ?", podUid, at, records.nextVersion(), sessionUid);
        return { result, changes: changed(sessionUid) };
      }),
    connected: (uid, podUid, connected, at) =>
      committer.commit<void>(() => {
        const row = connection.one("SELECT 1 FROM records WHERE uid = ? AND runner_pod = ? AND runner_connected <> ?", uid, podUid, Number(connected));
        if (row === undefined) return { result: undefined };
        connection.run("UPDATE records SET runner_connected = ?, runner_since = ?, version = ? WHERE uid = ?", Number(connected), at, records.nextVersion(), uid);
        return { result: undefined, changes: changed(uid) };
      }),
    acknowledge: (uid) =>
      committer.commit(() => {
        const row = connection.one("SELECT finished_at, acknowledged FROM records WHERE uid = ?", uid);
        if (row === undefined) return { result: "unknown" };
        if (optionalText(row, "finished_at") === undefined) return { result: "unfinished" };
        if (integer(row, "acknowledged") === 1) return { result: "acknowledged" };
        connection.run("UPDATE records SET acknowledged = 1, version = ? WHERE uid = ?", records.nextVersion(), uid);
        return { result: "acknowledged", changes: changed(uid) };
      }),
    markCorrupt: (uid, reason) =>
      committer.commit<void>(() => {
        if (connection.one("SELECT 1 FROM records WHERE uid = ? AND corrupt IS NULL", uid) === undefined) return { result: undefined };
        connection.run("UPDATE records SET corrupt = ?, version = ? WHERE uid = ?", reason, records.nextVersion(), uid);
        return { result: undefined, changes: changed(uid) };
      }),
  };
}

function prepareSchema(connection: Connection, file: string): void {
  transaction(connection, "IMMEDIATE", () => {
    const version = schemaVersion(connection);
    if (version > SCHEMA_VERSION) {
      throw new Error(`${file} has schema version ${version} and this release knows ${SCHEMA_VERSION}: start the release that wrote it, or a newer one`);
    }
    if (version === 0) connection.db.exec(SCHEMA);
    for (let from = version; from > 0 && from < SCHEMA_VERSION; from += 1) connection.db.exec(MIGRATIONS[from] ?? "");
    if (version !== SCHEMA_VERSION) connection.db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    connection.run("INSERT OR IGNORE INTO meta (key, value) VALUES ('incarnation', ?)", randomUUID());
  });
}

/** After a start nobody follows yet; those who did connect again. */
function disconnectAll(connection: Connection, at: string): void {
  transaction(connection, "IMMEDIATE", () => {
    for (const row of connection.all("SELECT uid FROM records WHERE runner_connected = 1")) {
      connection.run("UPDATE records SET runner_connected = 0, runner_since = ?, version = ? WHERE uid = ?", at, newestVersion(connection) + 1, text(row, "uid"));
    }
  });
}
