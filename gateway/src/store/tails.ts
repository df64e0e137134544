import type { LogEvent } from "@paddock/api/log/events";
import { createKept } from "./kept.ts";
import type { EventQuery } from "./store.ts";

/** Of one log, in characters of its events' text; and of all of them. */
const TAIL_CHARS = 128 * 1024;
const ALL_CHARS = 16 * 1024 * 1024;
const TAIL_EVENTS = 64;

interface Tail {
  /** Without a gap, and up to the newest one. */
  readonly events: readonly LogEvent[];
  readonly chars: number;
}

/** The newest events of logs as this process appended them: what every reader of a live log asks for next. */
export interface Tails {
  /** The answer, if the kept events hold all of it. */
  read(uid: string, query: EventQuery): readonly LogEvent[] | undefined;
  /** These were appended; `chars` is the length of their text. */
  add(uid: string, events: readonly LogEvent[], chars: number): void;
  delete(uid: string): void;
  clear(): void;
}

export function createTails(): Tails {
  const kept = createKept<Tail>(ALL_CHARS);
  return {
    read: (uid, { after, limit, types }) => {
      const events = kept.get(uid)?.events ?? [];
      const [first] = events;
      if (first === undefined || after < first.seq - 1) return undefined;
      return events.filter(({ seq, type }) => seq > after && types?.includes(type) !== false).slice(0, limit);
    },
    add: (uid, added, chars) => {
      if (added.length === 0) return;
      if (chars > TAIL_CHARS) {
        kept.delete(uid);
        return;
      }
      const old = kept.get(uid) ?? { events: [], chars: 0 };
      // All of the old ones go at once: which of them weighs how much is not worth knowing.
      const isFull = old.chars + chars > TAIL_CHARS || old.events.length + added.length > TAIL_EVENTS;
      const tail = isFull ? { events: added, chars } : { events: [...old.events, ...added], chars: old.chars + chars };
      kept.set(uid, tail, tail.chars);
    },
    delete: kept.delete,
    clear: kept.clear,
  };
}
