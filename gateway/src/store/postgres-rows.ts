import type { Bundle } from "@paddock/api/log/bundle";
import { canonicalJson } from "@paddock/api/log/canonical";
import type { SessionState } from "@paddock/api/log/state";
import { createKept } from "./kept.ts";
import { integer, optionalText, text } from "./postgres-connection.ts";
import type { Queryable, Row, Transaction } from "./postgres-connection.ts";
import { refold } from "./postgres-events.ts";
import { CHANGES } from "./postgres-schema.ts";
import { LogCorruptError } from "./store.ts";
import type { Change, NewRecord, StoredBatch, StoredRecord, Write } from "./store.ts";

/** Bundles are immutable and the largest part of a record: the newest used stay parsed, this much of their text in all. */
const CACHED_BUNDLE_CHARS = 32 * 1024 * 1024;
const COLUMNS = `uid, namespace, name, namespace_uid, bundle_digest, bind_key, state, batch, runner_pod, runner_connected, runner_since, runner_replica,
  acknowledged, due_at, corrupt, last_seq, last_hash, version, position, octet_length(bundle) AS bundle_bytes`;

/** A record as its row holds it. */
export interface HeldRecord {
  readonly record: StoredRecord;
  /** The replica that the runner is connected to, or was. */
  readonly replica: string | undefined;
  readonly position: number;
  readonly bundleBytes: number;
}

/** A record that is there and cannot be read. */
export interface Unreadable {
  readonly error: LogCorruptError;
  readonly version: number;
  readonly position: number;
}

export function isReadable(found: HeldRecord | Unreadable): found is HeldRecord {
  return "record" in found;
}

/** A change with its place in the order of all changes. */
export interface PlacedChange {
  readonly position: number;
  readonly change: Change;
}

export interface Records {
  /** Records that `rest` of the statement chooses (FROM records …), in its order. What cannot be read is reported, once each. */
  select(on: Queryable, rest: string, values: readonly unknown[]): Promise<readonly (HeldRecord | Unreadable)[]>;
  /** As `select`, at most one; rejects with its error. */
  one(on: Queryable, rest: string, values: readonly unknown[]): Promise<HeldRecord | undefined>;
}

/** Reads records; `report` is told of what cannot be read. */
export function openRecords(report: (error: unknown) => void): Records {
  const bundles = bundleCache();
  const reported = new Set<string>();
  const reportOnce = (error: LogCorruptError): void => {
    if (reported.has(error.uid)) return;
    reported.add(error.uid);
    report(new Error(`record ${error.uid}: ${error.message}`, { cause: error }));
  };
  const select: Records["select"] = async (on, rest, values) => {
    const rows = await on.query(`SELECT ${COLUMNS} ${rest}`, values);
    const known = await bundles(on, rows.map((row) => text(row, "uid")));
    const found: (HeldRecord | Unreadable)[] = [];
    for (const row of rows) {
      const bundle = known.get(text(row, "uid"));
      // It is gone since its row was read.
      if (bundle === undefined) continue;
      const held = bundle instanceof LogCorruptError ? bundle : heldOf(row, { bundle, ...(await readState(on, row, reportOnce)) });
      if (held instanceof LogCorruptError) reportOnce(held);
      found.push(held instanceof LogCorruptError ? { error: held, version: integer(row, "version"), position: integer(row, "position") } : held);
    }
    return found;
  };
  return {
    select,
    one: async (on, rest, values) => {
      const [found] = await select(on, rest, values);
      if (found !== undefined && !isReadable(found)) throw found.error;
      return found;
    },
  };
}

/** Bundles by uid, an error for one that cannot be read; a record that is gone has none. */
type BundleReader = (on: Queryable, uids: readonly string[]) => Promise<ReadonlyMap<string, Bundle | LogCorruptError>>;

function bundleCache(): BundleReader {
  const kept = createKept<Bundle>(CACHED_BUNDLE_CHARS);
  return async (on, uids) => {
    const found = new Map<string, Bundle | LogCorruptError>();
    for (const uid of uids) {
      const known = kept.get(uid);
      if (known !== undefined) found.set(uid, known);
    }
    const missing = uids.filter((uid) => !found.has(uid));
    const rows = missing.length === 0 ? [] : await on.query("SELECT uid, bundle FROM records WHERE uid = ANY($1::text[])", [missing]);
    for (const row of rows) {
      const [uid, json] = [text(row, "uid"), text(row, "bundle")];
      const bundle = parseBundle(uid, json);
      if (!(bundle instanceof LogCorruptError)) kept.set(uid, bundle, json.length);
      found.set(uid, bundle);
    }
    return found;
  };
}

function parseBundle(uid: string, json: string): Bundle | LogCorruptError {
  try {
    return JSON.parse(json) as Bundle;
  } catch (error) {
    return new LogCorruptError(uid, `its bundle cannot be read: ${(error as Error).message}`);
  }
}

interface ReadState {
  readonly state: SessionState;
  readonly fault?: string | undefined;
}

async function readState(on: Queryable, row: Row, report: (error: LogCorruptError) => void): Promise<ReadState> {
  const uid = text(row, "uid");
  try {
    return { state: JSON.parse(text(row, "state")) as SessionState };
  } catch (error) {
    report(new LogCorruptError(uid, `its state is told from its events, because the stored one cannot be read: ${(error as Error).message}`));
    return refold(on, uid, { seq: integer(row, "last_seq"), hash: text(row, "last_hash") });
  }
}

/** What this store wrote itself is checked only as far as it can be read. */
function heldOf(row: Row, { bundle, state, fault }: { readonly bundle: Bundle } & ReadState): HeldRecord | LogCorruptError {
  const batch = parseBatch(row);
  if (batch instanceof LogCorruptError) return batch;
  const record: StoredRecord = {
    uid: text(row, "uid"),
    namespace: text(row, "namespace"),
    name: text(row, "name"),
    namespaceUid: text(row, "namespace_uid"),
    bundle,
    bundleDigest: text(row, "bundle_digest"),
    bindKey: text(row, "bind_key"),
    state,
    batch,
    runner: { podUid: optionalText(row, "runner_pod"), connected: row.runner_connected === true, since: text(row, "runner_since") },
    acknowledged: row.acknowledged === true,
    dueAt: optionalText(row, "due_at"),
    corrupt: optionalText(row, "corrupt") ?? fault,
    version: integer(row, "version"),
  };
  return { record, replica: optionalText(row, "runner_replica"), position: integer(row, "position"), bundleBytes: integer(row, "bundle_bytes") };
}

function parseBatch(row: Row): StoredBatch | LogCorruptError | undefined {
  const batch = optionalText(row, "batch");
  try {
    return batch === undefined ? undefined : (JSON.parse(batch) as StoredBatch);
  } catch (error) {
    return new LogCorruptError(text(row, "uid"), `its newest batch cannot be read: ${(error as Error).message}`);
  }
}

/** RFC 3339 in the one form whose order as text is that of time. */
export function instant(at: string | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString();
}

/** The record after a write to it. Pure. */
export function afterWrite(record: StoredRecord, write: Write): StoredRecord {
  const dueAt = "dueAt" in write ? (instant(write.dueAt) ?? undefined) : record.dueAt;
  return { ...record, state: write.state, batch: write.batch ?? record.batch, dueAt };
}

const NOTIFY = `pg_notify('${CHANGES}', position::text)`;

const UPDATE = `WITH next AS (UPDATE counter SET version = version + $1::integer, position = position + $1::integer RETURNING version - $1::integer AS version, position - $1::integer AS position),
  updated AS (
    UPDATE records SET state = new.state, batch = new.batch, runner_pod = new.runner_pod, runner_connected = new.runner_connected, runner_since = new.runner_since,
      runner_replica = new.runner_replica, acknowledged = new.acknowledged, due_at = new.due_at, finished_at = new.finished_at, corrupt = new.corrupt,
      last_seq = new.last_seq, last_hash = new.last_hash, version = next.version + new.index, position = next.position + new.index
    FROM next, unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::text[], $8::text[], $9::boolean[], $10::text[], $11::text[], $12::text[], $13::integer[], $14::text[])
      WITH ORDINALITY AS new (uid, state, batch, runner_pod, runner_connected, runner_since, runner_replica, acknowledged, due_at, finished_at, corrupt, last_seq, last_hash, index)
    WHERE records.uid = new.uid RETURNING new.index, records.version, records.position)
  SELECT updated.version, updated.position, (SELECT pg_notify('${CHANGES}', (next.position + $1::integer)::text) FROM next) FROM updated ORDER BY index`;

/**
 * Writes records that this transaction has locked as they are now, in this order; their versions come from the counter, whose lock is held until
 * the transaction ends: the last thing it does.
 */
export async function updateRecords(transaction: Transaction, held: readonly Pick<HeldRecord, "record" | "replica">[]): Promise<readonly PlacedChange[]> {
  if (held.length === 0) return [];
  await transaction.last();
  const column = (value: (record: StoredRecord) => unknown): readonly unknown[] => held.map(({ record }) => value(record));
  const rows = await transaction.query(UPDATE, [
    held.length,
    column(({ uid }) => uid),
    column(({ state }) => JSON.stringify(state)),
    column(({ batch }) => (batch === undefined ? null : JSON.stringify(batch))),
    column(({ runner }) => runner.podUid ?? null),
    column(({ runner }) => runner.connected),
    column(({ runner }) => runner.since),
    held.map(({ replica }) => replica ?? null),
    column(({ acknowledged }) => acknowledged),
    column(({ dueAt }) => instant(dueAt)),
    column(({ state }) => instant(state.finished?.at)),
    column(({ corrupt }) => corrupt ?? null),
    column(({ state }) => state.lastSeq),
    column(({ state }) => state.lastHash),
  ]);
  if (rows.length !== held.length) throw new Error(`${held.length - rows.length} records are gone inside their own transaction`);
  return held.map(({ record }, index) => placed(record, rows[index]));
}

function placed(record: StoredRecord, row: Row | undefined): PlacedChange {
  return { position: integer(row, "position"), change: { kind: "record", record: { ...record, version: integer(row, "version") } } };
}

const INSERT = `WITH next AS (UPDATE counter SET version = version + 1, position = position + 1 RETURNING version, position)
  INSERT INTO records (uid, namespace, name, namespace_uid, ordinal, bundle, bundle_digest, bind_key, state, batch, runner_since, due_at, finished_at, last_seq, last_hash, version, position)
  SELECT $1, $2, $3, $4, next.version, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, next.version, next.position FROM next
  RETURNING version, position, ${NOTIFY}`;

/** Adds a record; as `updateRecords` the last thing of its transaction. */
export async function insertRecord(transaction: Transaction, record: NewRecord, write: Write): Promise<PlacedChange> {
  const { uid, namespace, name, namespaceUid, bundle, bundleDigest, bindKey, at } = record;
  const { state: folded, batch, dueAt } = write;
  const json = JSON.stringify(folded);
  const state = JSON.parse(json) as SessionState;
  await transaction.last();
  const [row] = await transaction.query(INSERT, [
    ...[uid, namespace, name, namespaceUid, canonicalJson(bundle), bundleDigest, bindKey, json],
    ...[batch === undefined ? null : JSON.stringify(batch), at, instant(dueAt), instant(state.finished?.at), state.lastSeq, state.lastHash],
  ]);
  const stored: StoredRecord = {
    ...{ uid, namespace, name, namespaceUid, bundle, bundleDigest, bindKey, state, batch },
    runner: { podUid: undefined, connected: false, since: at },
    acknowledged: false,
    dueAt: instant(dueAt) ?? undefined,
    corrupt: undefined,
    version: 0,
  };
  return placed(stored, row);
}
