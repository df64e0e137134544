import type { Bundle } from "@paddock/api/log/bundle";
import { canonicalJson } from "@paddock/api/log/canonical";
import { foldEvent } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import type { LogEnd } from "./chain.ts";
import { createKept } from "./kept.ts";
import { integer, isDamage, optionalText, text } from "./sqlite-connection.ts";
import type { Connection, Row } from "./sqlite-connection.ts";
import { eachEvent, PAGE_BYTES } from "./sqlite-events.ts";
import { LogCorruptError } from "./store.ts";
import type { NewRecord, RecordQuery, StoredBatch, StoredRecord, Write } from "./store.ts";

/** Bundles are immutable and the largest part of a record: the newest used stay parsed, this much of their text in all. */
const KEPT_BUNDLE_CHARS = 32 * 1024 * 1024;
/** Records, each with its state and its bundle. */
const KEPT_RECORD_CHARS = 48 * 1024 * 1024;
const COLUMNS = `uid, namespace, name, namespace_uid, bundle_digest, bind_key, state, batch, runner_pod, runner_connected, runner_since, acknowledged, due_at, corrupt, last_seq, last_hash, version`;

export interface Records {
  /** Throws LogCorruptError when there is one that cannot be read. */
  find(uid: string): StoredRecord | undefined;
  /** Undefined, and reported, when it cannot be read. */
  readable(uid: string): StoredRecord | undefined;
  /** Throws when there is none. */
  required(uid: string): StoredRecord;
  named(namespace: string, name: string, uid: string | undefined): StoredRecord | undefined;
  /** Leaves out those that cannot be read. */
  after(query: RecordQuery): StoredRecord[];
  /** Inside a transaction, as the following. */
  insert(record: NewRecord, write: Write): void;
  /** The record as it is then. */
  update(record: StoredRecord, write: Write): StoredRecord;
  /** The next version, taken. */
  nextVersion(): number;
  /** The row was changed by others than these functions. */
  changed(uid: string): void;
  /** Something was undone: forgets what was read and written meanwhile. */
  forget(): void;
}

interface KeptRecord {
  readonly record: StoredRecord;
  readonly bundleChars: number;
}

export interface RecordsOptions {
  readonly connection: Connection;
  /** Another process writes. */
  readonly isReader: boolean;
  /** Told of each record that cannot be read, once. */
  report(error: Error): void;
}

export function openRecords({ connection, isReader, report }: RecordsOptions): Records {
  const bundles = openBundles(connection);
  const kept = createKept<KeptRecord>(KEPT_RECORD_CHARS);
  const keep = (record: StoredRecord, stateChars: number): void => {
    const bundleChars = kept.get(record.uid)?.bundleChars ?? bundles.read(record.uid).chars;
    kept.set(record.uid, { record, bundleChars }, stateChars + bundleChars);
  };
  let version: number | undefined;
  const reported = new Set<string>();
  const reportOnce = (error: LogCorruptError): void => {
    if (reported.has(error.uid)) return;
    reported.add(error.uid);
    report(new Error(`record ${error.uid}: ${error.message}`, { cause: error }));
  };
  const read = (uid: string): { readonly record: StoredRecord; readonly chars: number } | undefined =>
    blamingRecord(uid, () => {
      const row = connection.one(`SELECT ${COLUMNS} FROM records WHERE uid = ?`, uid);
      if (row === undefined) return undefined;
      const record = recordOf(row, bundles.read(uid).bundle, { connection, report: reportOnce });
      return { record, chars: text(row, "state").length };
    });
  const find = (uid: string): StoredRecord | undefined => {
    const known = kept.get(uid);
    if (known !== undefined) return known.record;
    const found = read(uid);
    // Beside a gateway that writes there is nothing to keep.
    if (found !== undefined && !isReader) keep(found.record, found.chars);
    return found?.record;
  };
  const orReport = (read: () => StoredRecord | undefined): StoredRecord | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof LogCorruptError)) throw error;
      reportOnce(error);
      return undefined;
    }
  };
  /** Does not keep it: a list would drive out those that are in use. */
  const findListed = (listed: number): StoredRecord | undefined => {
    const row = blamingRecord(`of version ${listed}`, () => connection.one("SELECT uid FROM records WHERE version = ?", listed));
    if (row === undefined) return undefined;
    const uid = blamingRecord(`of version ${listed}`, () => text(row, "uid"));
    return kept.get(uid)?.record ?? read(uid)?.record;
  };
  const nextVersion = (): number => {
    version = (version ?? newestVersion(connection)) + 1;
    return version;
  };

  return {
    find,
    readable: (uid) => orReport(() => find(uid)),
    required: (uid) => {
      const found = find(uid);
      if (found === undefined) throw new Error(`record ${uid} is gone inside its own transaction`);
      return found;
    },
    named: (namespace, name, uid) => {
      const sql = `SELECT uid FROM records WHERE namespace = ?1 AND name = ?2 AND (?3 IS NULL OR uid = ?3)
        AND namespace_uid = (SELECT namespace_uid FROM records WHERE namespace = ?1 ORDER BY ordinal DESC LIMIT 1) ORDER BY ordinal DESC LIMIT 1`;
      const row = connection.one(sql, namespace, name, uid ?? null);
      return row === undefined ? undefined : find(text(row, "uid"));
    },
    after: ({ after, limit, acknowledged }) => {
      // Versions come from an index, so that a row that cannot be read hides none that comes after it.
      const live = acknowledged ? "" : "AND acknowledged = 0";
      const found: StoredRecord[] = [];
      let chars = 0;
      for (const row of connection.each(`SELECT version FROM records WHERE version > ? ${live} ORDER BY version`, after)) {
        if (found.length >= limit || chars > PAGE_BYTES) break;
        const listed = integer(row, "version");
        const record = orReport(() => findListed(listed));
        if (record === undefined) continue;
        found.push(record);
        chars += bundles.read(record.uid).chars;
      }
      return found;
    },
    insert: (record, write) => {
      insertRecord(connection, record, { ...write, version: nextVersion() });
    },
    update: (record, write) => {
      const next: StoredRecord = {
        ...record,
        state: write.state,
        batch: write.batch ?? record.batch,
        dueAt: "dueAt" in write ? (instant(write.dueAt) ?? undefined) : record.dueAt,
        version: nextVersion(),
      };
      keep(next, updateRecord(connection, next));
      return next;
    },
    nextVersion,
    changed: kept.delete,
    forget: () => {
      kept.clear();
      bundles.clear();
      version = undefined;
    },
  };
}

function insertRecord(connection: Connection, record: NewRecord, { state, batch, dueAt, version }: Write & { readonly version: number }): void {
  const { uid, namespace, name, namespaceUid, bundle, bundleDigest, bindKey, at } = record;
  connection.run("INSERT INTO bundles (uid, bundle) VALUES (?, ?)", uid, canonicalJson(bundle));
  connection.run(
    `INSERT INTO records (uid, namespace, name, namespace_uid, ordinal, bundle_digest, bind_key, state, batch, runner_since, due_at, finished_at, last_seq, last_hash, version)
     VALUES (?, ?, ?, ?, (SELECT coalesce(max(ordinal), 0) + 1 FROM records), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ...[uid, namespace, name, namespaceUid, bundleDigest, bindKey, JSON.stringify(state), jsonOrNull(batch)],
    ...[at, instant(dueAt), instant(state.finished?.at), state.lastSeq, state.lastHash, version],
  );
}

/** Writes what an append changes of a record. Returns the length of its state's text. */
function updateRecord(connection: Connection, { uid, state, batch, dueAt, version }: StoredRecord): number {
  const json = JSON.stringify(state);
  connection.run(
    "UPDATE records SET state = ?, batch = ?, due_at = ?, finished_at = ?, last_seq = ?, last_hash = ?, version = ? WHERE uid = ?",
    ...[json, jsonOrNull(batch), instant(dueAt), instant(state.finished?.at), state.lastSeq, state.lastHash, version, uid],
  );
  return json.length;
}

function jsonOrNull(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

/** RFC 3339 in the one form whose order as text is that of time. */
export function instant(at: string | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString();
}

/** Commit order goes on from the newest record that ever was, not from the newest that is left. */
export function newestVersion(connection: Connection): number {
  const row = connection.one("SELECT max((SELECT coalesce(max(version), 0) FROM records), (SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key = 'version')) AS version");
  return integer(row, "version");
}

interface Bundles {
  /** With the length of its text. */
  read(uid: string): { readonly bundle: Bundle; readonly chars: number };
  clear(): void;
}

function openBundles(connection: Connection): Bundles {
  const kept = createKept<{ readonly bundle: Bundle; readonly chars: number }>(KEPT_BUNDLE_CHARS);
  return {
    read: (uid) => {
      const known = kept.get(uid);
      if (known !== undefined) return known;
      const json = text(connection.one("SELECT bundle FROM bundles WHERE uid = ?", uid), "bundle");
      const read = { bundle: JSON.parse(json) as Bundle, chars: json.length };
      kept.set(uid, read, read.chars);
      return read;
    },
    clear: kept.clear,
  };
}

/** What `read` throws because of the file's damage is a LogCorruptError of this record. */
function blamingRecord<T>(uid: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof LogCorruptError) throw error;
    if (isDamage(error) || error instanceof SyntaxError) throw new LogCorruptError(uid, `its record cannot be read: ${error.message}`);
    throw error;
  }
}

/** What this store wrote itself is checked only as far as it can be read. */
function recordOf(row: Row, bundle: Bundle, reading: Reading): StoredRecord {
  const batch = optionalText(row, "batch");
  const { state, fault } = stateOf(row, reading);
  return {
    uid: text(row, "uid"),
    namespace: text(row, "namespace"),
    name: text(row, "name"),
    namespaceUid: text(row, "namespace_uid"),
    bundle,
    bundleDigest: text(row, "bundle_digest"),
    bindKey: text(row, "bind_key"),
    state,
    batch: batch === undefined ? undefined : (JSON.parse(batch) as StoredBatch),
    runner: { podUid: optionalText(row, "runner_pod"), connected: row.runner_connected === 1, since: text(row, "runner_since") },
    acknowledged: row.acknowledged === 1,
    dueAt: optionalText(row, "due_at"),
    corrupt: optionalText(row, "corrupt") ?? fault,
    version: integer(row, "version"),
  };
}

interface Reading {
  readonly connection: Connection;
  report(error: LogCorruptError): void;
}

interface ReadState {
  readonly state: SessionState;
  /** What is wrong with the log, when the state had to be told from it. */
  readonly fault?: string;
}

function stateOf(row: Row, reading: Reading): ReadState {
  const uid = text(row, "uid");
  try {
    return { state: JSON.parse(text(row, "state")) as SessionState };
  } catch (error) {
    reading.report(new LogCorruptError(uid, `its state is told from its events, because the stored one cannot be read: ${(error as Error).message}`));
  }
  return refold(reading.connection, uid, { seq: integer(row, "last_seq"), hash: text(row, "last_hash") });
}

/** The state as the events tell it. Where they end too early it still ends where the log does, so that the session can be ended. */
function refold(connection: Connection, uid: string, end: LogEnd): ReadState {
  let state = EMPTY_STATE;
  try {
    for (const event of eachEvent(connection, uid, end)) state = foldEvent(state, event);
    return { state };
  } catch (error) {
    return { state: { ...state, lastSeq: end.seq, lastHash: end.hash }, fault: (error as Error).message };
  }
}
