import { z } from "zod";
import { callId, type LogEvent } from "../log/events.ts";
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

const NO_NUL = "text holds no NUL character";

/**
 * `POST /v1/namespaces/{namespace}/sessions/{name}/events`: say something to the newest session of that name, or the one with `uid`:
 * `input.received` a message, `turn.interrupted` stop what is under way and wait for the next message, `tool.finished` the result of a
 * custom tool's call. `Idempotency-Key` (1 to 200 visible ASCII characters) names messages and interrupts: the same key by the same person
 * again is the same one, and answers with the event that was stored first; absent means a new one. A call has one result: the same again
 * answers with it, another one is refused. 409 `finished`, `stopped` or `unexpected` when the session takes no more of it.
 */
export const personAppendSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("input.received"),
    data: z.object({
      content: z
        .string()
        .max(98_304)
        .refine((text) => text.trim() !== "", "a message has text in it")
        .refine((text) => !text.includes("\0"), NO_NUL),
    }),
  }),
  z.object({ type: z.literal("turn.interrupted"), data: z.object({}).optional() }),
  z.object({
    type: z.literal("tool.finished"),
    data: z.object({
      call: callId,
      status: z.enum(["ok", "error"]),
      content: z
        .string()
        .max(1_048_576)
        .refine((text) => !text.includes("\0"), NO_NUL),
    }),
  }),
]);
export type PersonAppend = z.infer<typeof personAppendSchema>;

/** The event as stored. */
export interface PersonAppendReply {
  readonly uid: string;
  readonly event: LogEvent;
}

/** `GET /v1/namespaces/{namespace}/sessions/{name}/blobs/{sha256}`: a payload that an event of the session references, as UTF-8. */

/** What usage is summed by; see UsagePage. */
export const USAGE_GROUPS = ["day", "agent", "environment"] as const;
export type UsageGroup = (typeof USAGE_GROUPS)[number];

/**
 * `GET /v1/namespaces/{namespace}/usage`: what the namespace's sessions have used, from the ledger, which outlives them. `from` and `to` are UTC days
 * (yyyy-mm-dd, both included; default the last 30), `by` names of USAGE_GROUPS with commas between (default day); `agent` and `environment` choose.
 * Whoever may `list` `sessions` of the namespace may read it.
 */
export interface UsagePage {
  readonly from: string;
  readonly to: string;
  readonly rows: readonly UsageRow[];
}

/** Amounts are decimal strings of USD; `reservedUSD` waits for answers, `uncertainUSD` was reserved for answers that were lost or told no usage. */
export interface UsageRow {
  readonly day?: string;
  readonly agent?: string;
  readonly environment?: string;
  readonly sessions: number;
  readonly requests: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costUSD: string;
  readonly uncertainUSD: string;
  readonly reservedUSD: string;
}
