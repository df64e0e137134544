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
  /** Money or tokens would not suffice; `wait` while others only hold reservations. */
  | "budget"
  /** Suspended or interrupted: it passes when the log says so. */
  | "paused"
  /** The log is damaged where it is kept. */
  | "corrupt"
  /** The session is cancelled or past its deadline. */
  | "stopped"
  /** Policy says no, or the event claims more than policy gives. */
  | "denied"
  /** The caller has too much open at once, or asks too often: it passes when some of it is closed, or after `Retry-After`. */
  | "too-many"
  | "unavailable"
  | "internal";

/** Problem details. `detail` says what to do; `refusal` tells an appender whether asking again can help. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly refusal?: "final" | "wait" | undefined;
}

/** Problem details from an answer's JSON, members that we do not know dropped; undefined for anything else. Without zod: the runner loads it at its start. */
export function parseProblem(value: unknown): Problem | undefined {
  if (value === null || typeof value !== "object") return undefined;
  const { type, title, status, detail, refusal } = value as Readonly<Record<string, unknown>>;
  if (typeof type !== "string" || typeof title !== "string" || typeof detail !== "string") return undefined;
  if (typeof status !== "number" || !isRefusal(refusal)) return undefined;
  return { type, title, status, detail, ...(refusal === undefined ? {} : { refusal }) };
}

function isRefusal(value: unknown): value is Problem["refusal"] {
  return value === undefined || value === "final" || value === "wait";
}

/** The last part of a problem's type, or undefined when it is not one of ours. */
export function problemTypeOf(problem: Problem): string | undefined {
  return problem.type.startsWith(PROBLEM_BASE) ? problem.type.slice(PROBLEM_BASE.length) : undefined;
}
