import { payloadRef } from "@paddock/api/log/blobs";
import type { Blob } from "@paddock/api/log/blobs";
import { canonicalJson, sha256 } from "@paddock/api/log/canonical";
import type { LogEvent } from "@paddock/api/log/events";
import { CHAIN_START, checkEvent, followChain, missing } from "./chain.ts";
import type { LogEnd, StoredEvent } from "./chain.ts";
import { integer, isDamage, text, transaction } from "./sqlite-connection.ts";
import type { Connection, Row } from "./sqlite-connection.ts";
import { LogCorruptError } from "./store.ts";
import type { EventQuery, Write } from "./store.ts";

export const PAGE_BYTES = 4 * 1024 * 1024;

/** Adds events and the payloads that they reference. Inside a transaction. Throws when one is there already. Returns the length of the events' text. */
export function insertEvents(connection: Connection, uid: string, { events, blobs = [] }: Pick<Write, "events" | "blobs">): number {
  let chars = 0;
  for (const blob of blobs) insertBlob(connection, blob);
  for (const event of events) {
    const { hash, ...hashed } = event;
    const body = canonicalJson(hashed);
    chars += body.length;
    connection.run("INSERT INTO events (uid, seq, type, body, hash) VALUES (?, ?, ?, ?, ?)", uid, hashed.seq, hashed.type, body, hash);
    const ref = payloadRef(event);
    if (ref !== undefined) insertReference(connection, uid, { seq: event.seq, sha256: ref.sha256 });
  }
  return chars;
}

function insertBlob(connection: Connection, { ref, text: content }: Blob): void {
  // Bytes, because SQLite's text ends at a NUL in some of its functions.
  connection.run("INSERT OR IGNORE INTO blobs (sha256, content) VALUES (?, ?)", ref.sha256, Buffer.from(content));
}

function insertReference(connection: Connection, uid: string, { seq, sha256: digest }: { readonly seq: number; readonly sha256: string }): void {
  if (connection.one("SELECT 1 FROM blobs WHERE sha256 = ?", digest) === undefined) throw new Error(`event ${seq} references ${digest}, which nobody stored`);
  connection.run("INSERT INTO blob_references (uid, sha256, seq) VALUES (?, ?, ?)", uid, digest, seq);
}

/** A payload that the record's log references. Throws LogCorruptError when it is not what was stored. */
export function readBlob(connection: Connection, uid: string, digest: string): string | undefined {
  return blamingLog(uid, () => {
    const reference = connection.one("SELECT seq FROM blob_references WHERE uid = ? AND sha256 = ? LIMIT 1", uid, digest);
    if (reference === undefined) return undefined;
    const content = connection.one("SELECT content FROM blobs WHERE sha256 = ?", digest)?.content;
    if (!(content instanceof Uint8Array) || sha256(content) !== digest) {
      throw new LogCorruptError(uid, `event ${integer(reference, "seq")}: its payload ${digest} is missing or changed`);
    }
    return Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString("utf8");
  });
}

/** See Store.events. Throws LogCorruptError. */
export function readEvents(connection: Connection, uid: string, query: EventQuery): LogEvent[] {
  return blamingLog(uid, () =>
    // One view of the record and its events, whoever writes meanwhile.
    transaction(connection, "DEFERRED", () => (query.types === undefined ? readWhole(connection, uid, query) : readSome(connection, uid, { ...query, types: query.types }))),
  );
}

function readWhole(connection: Connection, uid: string, { after, limit }: EventQuery): LogEvent[] {
  const end = endOf(connection, uid);
  if (end === undefined || after >= end.seq) return [];
  const chain = followChain(uid, startOf(connection, uid, after), end);
  const rows = connection.each("SELECT seq, type, body, hash FROM events WHERE uid = ? AND seq > ? ORDER BY seq LIMIT ?", uid, after, limit);
  const { events, isCut } = readPage(rows, limit, (row) => chain.next(row));
  if (!isCut) chain.end();
  return events;
}

/** Each event is checked against the stored hash of the one before it. */
function readSome(connection: Connection, uid: string, { after, limit, types }: Required<EventQuery>): LogEvent[] {
  const sql = `SELECT seq, type, body, hash, (SELECT hash FROM events AS before WHERE before.uid = events.uid AND before.seq = events.seq - 1) AS previous FROM events
    WHERE uid = ? AND seq > ? AND type IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?`;
  const rows = connection.each(sql, uid, after, JSON.stringify(types), limit);
  return readPage(rows, limit, (stored, row) => {
    if (stored.seq > 1 && row.previous === null) throw missing(uid, stored.seq - 1);
    return checkEvent(uid, stored.seq === 1 ? CHAIN_START.hash : text(row, "previous"), stored);
  }).events;
}

/** At most `limit` events and about PAGE_BYTES; `isCut` when there may be more. */
function readPage(rows: Iterable<Row>, limit: number, read: (stored: StoredEvent, row: Row) => LogEvent): { readonly events: LogEvent[]; readonly isCut: boolean } {
  const events: LogEvent[] = [];
  let bytes = 0;
  for (const row of rows) {
    const stored = { seq: integer(row, "seq"), type: text(row, "type"), body: text(row, "body"), hash: text(row, "hash") };
    events.push(read(stored, row));
    bytes += stored.body.length;
    if (bytes > PAGE_BYTES || events.length === limit) return { events, isCut: true };
  }
  return { events, isCut: limit <= 0 };
}

/** The whole log, one event at a time. Throws LogCorruptError at the first that is not as it was appended. */
export function* eachEvent(connection: Connection, uid: string, end: LogEnd): Generator<LogEvent, void> {
  const chain = followChain(uid, CHAIN_START, end);
  try {
    for (const row of connection.each("SELECT seq, type, body, hash FROM events WHERE uid = ? ORDER BY seq", uid)) {
      yield chain.next({ seq: integer(row, "seq"), type: text(row, "type"), body: text(row, "body"), hash: text(row, "hash") });
    }
    chain.end();
  } catch (error) {
    throw asCorrupt(uid, error);
  }
}

function endOf(connection: Connection, uid: string): LogEnd | undefined {
  const row = connection.one("SELECT last_seq, last_hash FROM records WHERE uid = ?", uid);
  return row === undefined ? undefined : { seq: integer(row, "last_seq"), hash: text(row, "last_hash") };
}

function startOf(connection: Connection, uid: string, after: number): LogEnd {
  if (after <= 0) return CHAIN_START;
  const row = connection.one("SELECT hash FROM events WHERE uid = ? AND seq = ?", uid, after);
  if (row === undefined) throw missing(uid, after);
  return { seq: after, hash: text(row, "hash") };
}

/** What `work` throws because of the file's damage is a LogCorruptError of this log. */
export function blamingLog<T>(uid: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asCorrupt(uid, error);
  }
}

function asCorrupt(uid: string, error: unknown): unknown {
  if (error instanceof LogCorruptError) return error;
  return isDamage(error) ? new LogCorruptError(uid, `its rows cannot be read: ${error.message}`) : error;
}
