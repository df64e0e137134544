import type { LogEvent } from "../log/events.ts";
import type { RecordView } from "./records.ts";

// People ↔ gateway. Any token that the API server accepts; who may `get` `sessions/events` in the namespace may read.

/**
 * `GET /v1/namespaces/{namespace}/sessions/{name}/events`: the newest session of that name, or the one with `uid`. As JSON an EventPage;
 * `after` (default 0), `limit` (1 to 1000, default 200) and `types` (names with commas between) choose. A page may hold fewer events than
 * `limit` when they are large: go on after the last one's seq until a page is empty.
 *
 * With `Accept: text/event-stream` server-sent events: first `event: state` with a StateView and no id, then `event: log` with a LogEvent each, `id`
 * `<uid>:<seq>`, from `Last-Event-ID` or `after` on, then live; `event: delta` with a Delta, without id, as the model streams; `event: end` after run.finished.
 */
export interface EventPage {
  readonly uid: string;
  readonly events: readonly LogEvent[];
  /** Seq of the log's newest event. */
  readonly lastSeq: number;
  readonly finished: boolean;
}

/** The session as it is now. */
export type StateView = Omit<RecordView, "version" | "bundle" | "sandbox" | "runner">;
