import { payloadRef } from "@paddock/api/log/blobs";
import { canonicalJson, sha256 } from "@paddock/api/log/canonical";
import type { LogEvent } from "@paddock/api/log/events";
import { foldEvent } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { CHAIN_START, checkEvent, followChain, missing } from "./chain.ts";
import type { LogEnd, StoredEvent } from "./chain.ts";
import { PostgresError, integer, optionalText, text } from "./postgres-connection.ts";
import type { Queryable, Row } from "./postgres-connection.ts";
import { LogCorruptError } from "./store.ts";
import type { EventQuery, Write } from "./store.ts";

export const PAGE_BYTES = 4 * 1024 * 1024;

/** What one record's log grows by. */
export type LogWrite = { readonly uid: string } & Pick<Write, "events" | "blobs">;

/** Adds events and the payloads that they reference, of several records at once. Rejects when one is there already. */
export async function insertEvents(transaction: Queryable, writes: readonly LogWrite[]): Promise<void> {
  await insertBlobs(transaction, writes);
  const rows = writes.flatMap(({ uid, events }) =>
    events.map(({ hash, ...hashed }) => ({ uid, seq: hashed.seq, type: hashed.type, body: canonicalJson(hashed), hash })),
  );
  if (rows.length === 0) return;
  const sql = "INSERT INTO events (uid, seq, type, body, hash) SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[])";
  await transaction.query(sql, [rows.map(({ uid }) => uid), rows.map(({ seq }) => seq), rows.map(({ type }) => type), rows.map(({ body }) => body), rows.map(({ hash }) => hash)]);
}

async function insertBlobs(transaction: Queryable, writes: readonly LogWrite[]): Promise<void> {
  for (const { uid, events, blobs = [] } of writes) {
    for (const { ref, text: content } of blobs) {
      await transaction.query("INSERT INTO blobs (uid, sha256, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", [uid, ref.sha256, Buffer.from(content)]);
    }
    const given = new Set(blobs.map(({ ref }) => ref.sha256));
    for (const event of events) {
      const digest = payloadRef(event)?.sha256;
      if (digest === undefined || given.has(digest)) continue;
      const known = await transaction.query("SELECT 1 FROM blobs WHERE uid = $1 AND sha256 = $2", [uid, digest]);
      if (known.length === 0) throw new Error(`event ${event.seq} references ${digest}, which nobody stored`);
    }
  }
}

/** See Store.blob. Rejects with LogCorruptError when it is not what was stored. */
export async function readBlob(on: Queryable, uid: string, digest: string): Promise<string | undefined> {
  const [row] = await blamingLog(uid, on.query("SELECT content FROM blobs WHERE uid = $1 AND sha256 = $2", [uid, digest]));
  if (row === undefined) return undefined;
  if (!(row.content instanceof Buffer) || sha256(row.content) !== digest) throw new LogCorruptError(uid, `its payload ${digest} is changed`);
  return row.content.toString();
}

/** See Store.events. */
export async function readEvents(on: Queryable, uid: string, query: EventQuery): Promise<LogEvent[]> {
  const { after, limit, types } = query;
  if (limit <= 0) return [];
  const from = Math.max(0, after);
  return blamingLog(uid, types === undefined ? readWhole(on, uid, { after: from, limit }) : readSome(on, uid, { after: from, limit, types }));
}

/** Rows of a page by what they weigh; octet_length knows it without reading them. */
const SIZED = `(SELECT page.*, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS bytes_before FROM page)`;

/** One statement, hence one view of the record and its events, whoever writes meanwhile. */
const WHOLE = `WITH page AS (SELECT seq, type, body, hash FROM events WHERE uid = $1 AND seq > $2 ORDER BY seq LIMIT $3)
  SELECT records.last_seq, records.last_hash, start.hash AS previous, sized.seq, sized.type, sized.body, sized.hash
  FROM records
  LEFT JOIN events AS start ON start.uid = records.uid AND start.seq = $2
  LEFT JOIN ${SIZED} AS sized ON sized.bytes_before <= $4
  WHERE records.uid = $1 ORDER BY sized.seq`;

async function readWhole(on: Queryable, uid: string, { after, limit }: EventQuery): Promise<LogEvent[]> {
  const rows = await on.query(WHOLE, [uid, after, limit, PAGE_BYTES]);
  const [first] = rows;
  if (first === undefined) return [];
  const end: LogEnd = { seq: integer(first, "last_seq"), hash: text(first, "last_hash") };
  if (after >= end.seq) return [];
  const previous = after === 0 ? CHAIN_START.hash : optionalText(first, "previous");
  if (previous === undefined) throw missing(uid, after);
  const chain = followChain(uid, { seq: after, hash: previous }, end);
  const stored = rows.filter(({ seq }) => seq !== null).map(storedOf);
  const events = stored.map((row) => chain.next(row));
  const bytes = stored.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
  if (events.length < limit && bytes <= PAGE_BYTES) chain.end();
  return events;
}

/** Each event with the hash of the one before it. */
const SOME = `WITH page AS (SELECT seq, type, body, hash FROM events WHERE uid = $1 AND seq > $2 AND type = ANY($5::text[]) ORDER BY seq LIMIT $3)
  SELECT sized.seq, sized.type, sized.body, sized.hash, before.hash AS previous
  FROM ${SIZED} AS sized LEFT JOIN events AS before ON before.uid = $1 AND before.seq = sized.seq - 1
  WHERE sized.bytes_before <= $4 ORDER BY sized.seq`;

async function readSome(on: Queryable, uid: string, { after, limit, types }: Required<EventQuery>): Promise<LogEvent[]> {
  const rows = await on.query(SOME, [uid, after, limit, PAGE_BYTES, types]);
  return rows.map((row) => {
    const stored = storedOf(row);
    const previous = stored.seq === 1 ? CHAIN_START.hash : optionalText(row, "previous");
    if (previous === undefined) throw missing(uid, stored.seq - 1);
    return checkEvent(uid, previous, stored);
  });
}

function storedOf(row: Row): StoredEvent {
  return { seq: integer(row, "seq"), type: text(row, "type"), body: text(row, "body"), hash: text(row, "hash") };
}

/** The state as the events tell it, and what is wrong with them. Where they end too early it still ends where the log does, so that the session can be ended. */
export async function refold(on: Queryable, uid: string, end: LogEnd): Promise<{ readonly state: SessionState; readonly fault?: string }> {
  let state = EMPTY_STATE;
  try {
    while (state.lastSeq < end.seq) {
      const page = await readEvents(on, uid, { after: state.lastSeq, limit: 1000 });
      if (page.length === 0) throw missing(uid, state.lastSeq + 1);
      for (const event of page) state = foldEvent(state, event);
    }
    return { state };
  } catch (error) {
    if (!(error instanceof LogCorruptError)) throw error;
    return { state: { ...state, lastSeq: end.seq, lastHash: end.hash }, fault: error.message };
  }
}

/** Class XX: the server cannot read its own pages. */
async function blamingLog<T>(uid: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof PostgresError && error.code?.startsWith("XX")) throw new LogCorruptError(uid, `its rows cannot be read: ${error.message}`);
    throw error;
  }
}
