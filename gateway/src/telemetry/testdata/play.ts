import { LOG_VERSION, ROOT_RUN } from "@paddock/api/log/limits";
import type { Bundle } from "@paddock/api/log/bundle";
import type { LogEvent, NewEvent, Role } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import type { EventQuery, StoredRecord } from "../../store/store.ts";
import type { Commit } from "../steps.ts";

/** A log that is written without asking anybody, one second an event, and what is told of each commit. */
export interface Play {
  /** Appends the events in one commit. */
  commit(...events: readonly NewEvent[]): Commit;
  /** The log's events, as a store reads them. */
  read(query: EventQuery): readonly LogEvent[];
  /** When the event with this number was stored, in epoch milliseconds. */
  msOf(seq: number): number;
}

const BEGIN_MS = Date.parse("2026-01-01T00:00:00Z");

export function openPlay(bundle: Bundle): Play {
  const log: LogEvent[] = [];
  let state: SessionState = EMPTY_STATE;
  const atOf = (seq: number): string => new Date(BEGIN_MS + seq * 1000).toISOString();
  return {
    commit: (...events) => {
      // Of a record, telemetry reads nothing but the state.
      const before = log.length === 0 ? undefined : ({ state } as StoredRecord);
      const stored = events.map((event) => {
        const seq = state.lastSeq + 1;
        const unsealed = { v: LOG_VERSION, seq, at: atOf(seq), role: "runner" satisfies Role, run: ROOT_RUN, ...event } as Omit<LogEvent, "hash">;
        const sealed = { ...unsealed, hash: hashOf(state.lastHash, unsealed) } as LogEvent;
        state = foldEvent(state, sealed);
        log.push(sealed);
        return sealed;
      });
      return { before, bundle, events: stored };
    },
    read: ({ after, limit, types }) => log.filter(({ seq, type }) => seq > after && (types === undefined || types.includes(type))).slice(0, limit),
    msOf: (seq) => Date.parse(atOf(seq)),
  };
}
