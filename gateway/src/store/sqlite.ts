import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import type { Bundle } from "@paddock/api/log/bundle";
import { canonicalJson } from "@paddock/api/log/canonical";
import type { LogEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import { SCHEMA, SCHEMA_VERSION } from "./schema.ts";
import type { Decided, EventQuery, NewRecord, RecordQuery, Registration, Store, StoredBatch, StoredRecord, Write } from "./store.ts";

type Row = Record<string, SQLOutputValue>;

const PAGE_BYTES = 4 * 1024 * 1024;
/** Bundles are immutable and the largest part of a record: the newest used stay parsed, this much of their text in all. */
const CACHED_BUNDLE_CHARS = 32 * 1024 * 1024;
const COLUMNS = `uid, namespace, name, namespace_uid, bundle_digest, bind_key, state, batch, runner_pod, runner_connected, runner_since, acknowledged, version`;

/**
 * A store in one SQLite file in `folder`, which must be on a disk of this machine (no NFS) and is made when absent. Durable to power loss
 * with each commit. Throws when the file cannot be opened or was written by a newer release.
 */
export function openSqliteStore(folder: string, now: () => Date): Store {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "paddock.db");
  const db = new DatabaseSync(file, { timeout: 5000, enableForeignKeyConstraints: true });
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = FULL");
  // The file holds the CA's key.
  chmodSync(file, 0o600);
  prepareSchema(db, file);
  const incarnation = incarnationOf(db);
  disconnectAll(db, now().toISOString());
  return storeOver(db, incarnation);
}

function storeOver(db: DatabaseSync, incarnation: string): Store {
  const listeners = new Set<(record: StoredRecord) => void>();
  const rows = rowReader(db);
  const publish = (record: StoredRecord | undefined): void => {
    if (record !== undefined) for (const listener of listeners) listener(record);
  };
  /** Runs `work` in one transaction; `changed` is the record to tell listeners of. */
  const commit = <T>(work: () => { readonly result: T; readonly changed?: string }): T => {
    const { result, changed } = transaction(db, work);
    if (changed !== undefined) publish(rows.record(changed));
    return result;
  };

  return {
    incarnation,
    create: async (record, write) =>
      commit<{ created: boolean; record: StoredRecord }>(() => {
        const known = rows.record(record.uid);
        if (known !== undefined) return { result: { created: false, record: known } };
        insertRecord(db, record, write);
        insertEvents(db, record.uid, write.events);
        return { result: { created: true, record: rows.required(record.uid) }, changed: record.uid };
      }),
    change: async <T>(uid: string, decide: (record: StoredRecord) => Decided<T>) =>
      commit<T | undefined>(() => {
        const record = rows.record(uid);
        if (record === undefined) return { result: undefined };
        const { write, result } = decide(record);
        if (write === undefined) return { result };
        applyWrite(db, uid, write);
        return { result, changed: uid };
      }),
    record: async (uid) => rows.record(uid),
    recordNamed: async (namespace, name, uid) => rows.named(namespace, name, uid),
    recordsAfter: async (query) => rows.after(query),
    version: async () => newestVersion(db),
    events: async (uid, query) => readEvents(db, uid, query),
    register: async (registration, at) =>
      commit(() => {
        const outcome = insertRegistration(db, registration, at);
        return outcome.changed ? { result: outcome.result, changed: registration.sessionUid } : { result: outcome.result };
      }),
    registration: async (podUid) => registrationOf(db, podUid),
    connected: async (uid, podUid, connected, at) =>
      commit<void>(() => {
        const { changes } = run(
          db,
          `UPDATE records SET runner_connected = ?, runner_since = ?, version = ? WHERE uid = ? AND runner_pod = ? AND runner_connected <> ?`,
          [Number(connected), at, nextVersion(db), uid, podUid, Number(connected)],
        );
        return changes === 0 ? { result: undefined } : { result: undefined, changed: uid };
      }),
    acknowledge: async (uid) =>
      commit(() => {
        const record = rows.record(uid);
        if (record === undefined) return { result: "unknown" };
        if (record.state.finished === undefined) return { result: "unfinished" };
        if (record.acknowledged) return { result: "acknowledged" };
        run(db, "UPDATE records SET acknowledged = 1, version = ? WHERE uid = ?", [nextVersion(db), uid]);
        return { result: "acknowledged", changed: uid };
      }),
    secret: (key, make) => keepSecret(db, key, make),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    check: async () => {
      if (one(db, "SELECT count(*) AS n FROM meta", [])?.n === undefined) throw new Error("the store returned no row");
    },
    close: async () => db.close(),
  };
}

function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    db.exec("COMMIT");
    return result;
  } catch (error) {
    // A failed COMMIT may have ended the transaction already.
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function prepareSchema(db: DatabaseSync, file: string): void {
  transaction(db, () => {
    const version = Number(one(db, "PRAGMA user_version", [])?.user_version ?? 0);
    if (version > SCHEMA_VERSION) {
      throw new Error(`${file} has schema version ${version} and this release knows ${SCHEMA_VERSION}: start the release that wrote it, or a newer one`);
    }
    if (version === SCHEMA_VERSION) return;
    db.exec(SCHEMA);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  });
}

function incarnationOf(db: DatabaseSync): string {
  run(db, "INSERT OR IGNORE INTO meta (key, value) VALUES ('incarnation', ?)", [randomUUID()]);
  return text(one(db, "SELECT value FROM meta WHERE key = 'incarnation'", []), "value");
}

/** After a start nobody follows yet; those who did connect again. */
function disconnectAll(db: DatabaseSync, at: string): void {
  transaction(db, () => {
    const connected = all(db, "SELECT uid FROM records WHERE runner_connected = 1", []);
    for (const row of connected) {
      run(db, "UPDATE records SET runner_connected = 0, runner_since = ?, version = ? WHERE uid = ?", [at, nextVersion(db), text(row, "uid")]);
    }
  });
}

async function keepSecret(db: DatabaseSync, key: string, make: () => Promise<string>): Promise<string> {
  const read = () => one(db, "SELECT value FROM meta WHERE key = ?", [`secret/${key}`]);
  if (read() === undefined) run(db, "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", [`secret/${key}`, await make()]);
  return text(read(), "value");
}

function newestVersion(db: DatabaseSync): number {
  return Number(one(db, "SELECT coalesce(max(version), 0) AS version FROM records", [])?.version);
}

function nextVersion(db: DatabaseSync): number {
  return newestVersion(db) + 1;
}

function insertRecord(db: DatabaseSync, record: NewRecord, write: Write): void {
  const { uid, namespace, name, namespaceUid, bundle, bundleDigest, bindKey, at } = record;
  const version = nextVersion(db);
  run(
    db,
    `INSERT INTO records (uid, namespace, name, namespace_uid, ordinal, bundle, bundle_digest, bind_key, state, runner_since, version)
     VALUES (?, ?, ?, ?, (SELECT coalesce(max(ordinal), 0) + 1 FROM records), ?, ?, ?, ?, ?, ?)`,
    [uid, namespace, name, namespaceUid, canonicalJson(bundle), bundleDigest, bindKey, JSON.stringify(write.state), at, version],
  );
}

function applyWrite(db: DatabaseSync, uid: string, write: Write): void {
  insertEvents(db, uid, write.events);
  const version = nextVersion(db);
  run(db, "UPDATE records SET state = ?, version = ? WHERE uid = ?", [JSON.stringify(write.state), version, uid]);
  if (write.batch !== undefined) run(db, "UPDATE records SET batch = ? WHERE uid = ?", [JSON.stringify(write.batch), uid]);
}

function insertEvents(db: DatabaseSync, uid: string, events: readonly LogEvent[]): void {
  const insert = db.prepare("INSERT INTO events (uid, seq, type, body, hash) VALUES (?, ?, ?, ?, ?)");
  for (const { hash, ...hashed } of events) insert.run(uid, hashed.seq, hashed.type, canonicalJson(hashed), hash);
}

function readEvents(db: DatabaseSync, uid: string, { after, limit, types }: EventQuery): LogEvent[] {
  const filter = types === undefined ? "" : `AND type IN (${types.map(() => "?").join(", ")})`;
  const statement = db.prepare(`SELECT body, hash FROM events WHERE uid = ? AND seq > ? ${filter} ORDER BY seq LIMIT ?`);
  const events: LogEvent[] = [];
  let bytes = 0;
  for (const row of statement.iterate(uid, after, ...(types ?? []), limit)) {
    const body = text(row, "body");
    events.push({ ...(JSON.parse(body) as Omit<LogEvent, "hash">), hash: text(row, "hash") } as LogEvent);
    bytes += body.length;
    if (bytes > PAGE_BYTES) break;
  }
  return events;
}

function insertRegistration(db: DatabaseSync, registration: Registration, at: string): { result: "registered" | "conflict" | "unknown-session"; changed: boolean } {
  const { podUid, sessionUid, component, podName } = registration;
  const known = registrationOf(db, podUid);
  if (known !== undefined) {
    return { result: known.sessionUid === sessionUid && known.component === component ? "registered" : "conflict", changed: false };
  }
  if (one(db, "SELECT 1 FROM records WHERE uid = ?", [sessionUid]) === undefined) return { result: "unknown-session", changed: false };
  run(db, "INSERT INTO pods (pod_uid, session_uid, component, pod_name) VALUES (?, ?, ?, ?)", [podUid, sessionUid, component, podName]);
  if (component === "runner") {
    const values = [podUid, at, nextVersion(db), sessionUid];
    run(db, "UPDATE records SET runner_pod = ?, runner_connected = 0, runner_since = ?, version = ? WHERE uid = ?", values);
  }
  return { result: "registered", changed: component === "runner" };
}

function registrationOf(db: DatabaseSync, podUid: string): Registration | undefined {
  const row = one(db, "SELECT session_uid, component, pod_name FROM pods WHERE pod_uid = ?", [podUid]);
  if (row === undefined) return undefined;
  const component = text(row, "component") === "runner" ? "runner" : "sandbox";
  return { podUid, sessionUid: text(row, "session_uid"), component, podName: text(row, "pod_name") };
}

interface RowReader {
  record(uid: string): StoredRecord | undefined;
  /** Throws when there is none. */
  required(uid: string): StoredRecord;
  named(namespace: string, name: string, uid: string | undefined): StoredRecord | undefined;
  after(query: RecordQuery): StoredRecord[];
}

function rowReader(db: DatabaseSync): RowReader {
  const bundles = bundleCache(db);
  const toRecord = (row: Row): StoredRecord => recordOf(row, bundles(text(row, "uid")).bundle);
  const record = (uid: string): StoredRecord | undefined => {
    const row = one(db, `SELECT ${COLUMNS} FROM records WHERE uid = ?`, [uid]);
    return row === undefined ? undefined : toRecord(row);
  };
  return {
    record,
    required: (uid) => {
      const found = record(uid);
      if (found === undefined) throw new Error(`record ${uid} is gone inside its own transaction`);
      return found;
    },
    named: (namespace, name, uid) => {
      const ofNamespace = `namespace_uid = (SELECT namespace_uid FROM records WHERE namespace = ?1 ORDER BY ordinal DESC LIMIT 1)`;
      const ofUid = uid === undefined ? "?3 IS NULL" : "uid = ?3";
      const sql = `SELECT ${COLUMNS} FROM records WHERE namespace = ?1 AND name = ?2 AND ${ofNamespace} AND ${ofUid} ORDER BY ordinal DESC LIMIT 1`;
      const row = one(db, sql, [namespace, name, uid ?? null]);
      return row === undefined ? undefined : toRecord(row);
    },
    after: ({ after, limit, acknowledged }) => {
      const live = acknowledged ? "" : "AND acknowledged = 0";
      const found: StoredRecord[] = [];
      let chars = 0;
      for (const row of db.prepare(`SELECT ${COLUMNS} FROM records WHERE version > ? ${live} ORDER BY version LIMIT ?`).iterate(after, limit)) {
        const { bundle, chars: more } = bundles(text(row, "uid"));
        found.push(recordOf(row, bundle));
        chars += more;
        if (chars > PAGE_BYTES) break;
      }
      return found;
    },
  };
}

/** Bundles by uid, with the length of their text. */
function bundleCache(db: DatabaseSync): (uid: string) => { readonly bundle: Bundle; readonly chars: number } {
  const kept = new Map<string, { readonly bundle: Bundle; readonly chars: number }>();
  let total = 0;
  const read = (uid: string): { readonly bundle: Bundle; readonly chars: number } => {
    const json = text(one(db, "SELECT bundle FROM records WHERE uid = ?", [uid]), "bundle");
    total += json.length;
    return { bundle: JSON.parse(json) as Bundle, chars: json.length };
  };
  return (uid) => {
    const entry = kept.get(uid) ?? read(uid);
    kept.delete(uid);
    kept.set(uid, entry);
    for (const [oldest, { chars }] of kept) {
      if (total <= CACHED_BUNDLE_CHARS || oldest === uid) break;
      kept.delete(oldest);
      total -= chars;
    }
    return entry;
  };
}

/** What this store wrote itself is not checked again. */
function recordOf(row: Row, bundle: Bundle): StoredRecord {
  const batch = row.batch;
  return {
    uid: text(row, "uid"),
    namespace: text(row, "namespace"),
    name: text(row, "name"),
    namespaceUid: text(row, "namespace_uid"),
    bundle,
    bundleDigest: text(row, "bundle_digest"),
    bindKey: text(row, "bind_key"),
    state: JSON.parse(text(row, "state")) as SessionState,
    batch: typeof batch === "string" ? (JSON.parse(batch) as StoredBatch) : undefined,
    runner: {
      podUid: typeof row.runner_pod === "string" ? row.runner_pod : undefined,
      connected: row.runner_connected === 1,
      since: text(row, "runner_since"),
    },
    acknowledged: row.acknowledged === 1,
    version: Number(row.version),
  };
}

function text(row: Row | undefined, column: string): string {
  const value = row?.[column];
  if (typeof value !== "string") throw new Error(`the store has no text in ${column}`);
  return value;
}

function one(db: DatabaseSync, sql: string, values: SQLInputValue[]): Row | undefined {
  return db.prepare(sql).get(...values);
}

function all(db: DatabaseSync, sql: string, values: SQLInputValue[]): Row[] {
  return db.prepare(sql).all(...values);
}

function run(db: DatabaseSync, sql: string, values: SQLInputValue[]): { changes: number } {
  return { changes: Number(db.prepare(sql).run(...values).changes) };
}
