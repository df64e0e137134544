import { z } from "zod";
import type { LogEvent } from "../log/events.ts";
import type { RecordView } from "./records.ts";

// People ↔ gateway. Any token that the API server accepts; who may `get` `sessions/events` in the namespace may read, who may `create` them may write.

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

/**
 * `POST /v1/namespaces/{namespace}/sessions/{name}/events`: say something to the newest session of that name, or the one with `uid`.
 * `Idempotency-Key` (1 to 200 visible ASCII characters) names the message: the same key by the same person again is the same message,
 * and answers with the event that was stored first; absent means a new one. 409 `finished` or `stopped` when the session reads no more.
 */
export const personAppendSchema = z.object({
  type: z.literal("input.received"),
  data: z.object({
    content: z
      .string()
      .max(98_304)
      .refine((text) => text.trim() !== "", "a message has text in it")
      .refine((text) => !text.includes("\0"), "a message holds no NUL character"),
  }),
});
export type PersonAppend = z.infer<typeof personAppendSchema>;

/** The event as stored. */
export interface PersonAppendReply {
  readonly uid: string;
  readonly event: LogEvent;
}
