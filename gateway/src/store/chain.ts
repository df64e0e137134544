import { sha256 } from "@paddock/api/log/canonical";
import type { LogEvent } from "@paddock/api/log/events";
import { EMPTY_HASH } from "@paddock/api/log/state";
import { LogCorruptError } from "./store.ts";

/** An event as a store holds it: `body` is the canonical text without the hash, exactly as it was hashed. */
export interface StoredEvent {
  readonly seq: number;
  readonly type: string;
  readonly body: string;
  readonly hash: string;
}

/** Where a log ends as its record tells. */
export interface LogEnd {
  readonly seq: number;
  readonly hash: string;
}

export interface Chain {
  /** The event of the next row. Throws LogCorruptError when it is not the one that was appended after the one before. */
  next(row: StoredEvent): LogEvent;
  /** Throws LogCorruptError when the log goes on after the newest row. */
  end(): void;
}

/** Checks a log without leaving out any event, from the one after `from` on (for the start of the log: seq 0), `end` being its end. */
export function followChain(uid: string, from: LogEnd, end: LogEnd): Chain {
  let newest = from;
  return {
    next: (row) => {
      if (row.seq !== newest.seq + 1) throw missing(uid, newest.seq + 1);
      if (row.seq > end.seq) throw corrupt(uid, row.seq, `it comes after the end of the log, which is event ${end.seq}`);
      const event = checkEvent(uid, newest.hash, row);
      if (row.seq === end.seq && row.hash !== end.hash) throw corrupt(uid, row.seq, "its hash is not the one that the record ends with");
      newest = row;
      return event;
    },
    end: () => {
      if (newest.seq < end.seq) throw missing(uid, newest.seq + 1);
    },
  };
}

export const CHAIN_START: LogEnd = { seq: 0, hash: EMPTY_HASH };

/** The event of one row; `previousHash` is the stored hash of the event before it. Throws LogCorruptError. */
export function checkEvent(uid: string, previousHash: string, row: StoredEvent): LogEvent {
  const { seq, type, body, hash } = row;
  if (sha256(`${previousHash}\n${body}`) !== hash) throw corrupt(uid, seq, "its hash does not follow from its text and the event before it");
  const event = parseBody(uid, row);
  if (event.seq !== seq || event.type !== type) throw corrupt(uid, seq, `its text is that of event ${event.seq}, ${event.type}`);
  return { ...event, hash } as LogEvent;
}

function parseBody(uid: string, { seq, body }: StoredEvent): Omit<LogEvent, "hash"> {
  try {
    return JSON.parse(body) as Omit<LogEvent, "hash">;
  } catch {
    throw corrupt(uid, seq, "its text is not JSON");
  }
}

/** An event that ought to be there and is not. */
export function missing(uid: string, seq: number): LogCorruptError {
  return corrupt(uid, seq, "it is missing");
}

export function corrupt(uid: string, seq: number, what: string): LogCorruptError {
  return new LogCorruptError(uid, `event ${seq}: ${what}`);
}
