import { z } from "zod";

/** Base of our problem types (RFC 9457); identifiers, not addresses to fetch. */
export const PROBLEM_BASE = "https://paddock.dev/problems/";

/** Why a request or an append was refused. Stable: clients decide by it. */
export type ProblemType =
  | "unauthenticated"
  | "forbidden"
  | "not-found"
  | "malformed"
  | "too-large"
  | "conflict"
  /** The caller is not the session's newest runner, or an older epoch. */
  | "fenced"
  /** The batch number is neither the last nor the next. */
  | "gap"
  /** The session has finished. */
  | "finished"
  /** The log has moved on since what the event was decided by: read and decide again. */
  | "stale"
  /** The event does not follow from the log, e.g. a call that was never made. */
  | "unexpected"
  /** A limit of the session or of the log. */
  | "limit"
  /** The session is cancelled or past its deadline. */
  | "stopped"
  /** Policy says no, or the event claims more than policy gives. */
  | "denied"
  | "unavailable"
  | "internal";

/** Problem details. `detail` says what to do; `refusal` tells an appender whether asking again can help. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  refusal: z.enum(["final", "wait"]).optional(),
});
export type Problem = z.infer<typeof problemSchema>;

/** The last part of a problem's type, or undefined when it is not one of ours. */
export function problemTypeOf(problem: Problem): string | undefined {
  return problem.type.startsWith(PROBLEM_BASE) ? problem.type.slice(PROBLEM_BASE.length) : undefined;
}
