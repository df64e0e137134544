import { PROBLEM_BASE } from "@paddock/api/wire/problem";
import type { Problem, ProblemType } from "@paddock/api/wire/problem";

interface Kind {
  readonly status: number;
  readonly title: string;
}

const KINDS: Readonly<Record<ProblemType, Kind>> = {
  unauthenticated: { status: 401, title: "No valid token" },
  forbidden: { status: 403, title: "Not allowed" },
  "not-found": { status: 404, title: "Not found" },
  malformed: { status: 400, title: "Malformed request" },
  "too-large": { status: 413, title: "Too large" },
  conflict: { status: 409, title: "In conflict with what is stored" },
  fenced: { status: 409, title: "Not the session's runner any more" },
  gap: { status: 409, title: "Not the next batch" },
  finished: { status: 409, title: "The session has finished" },
  stale: { status: 409, title: "The log has moved on" },
  unexpected: { status: 409, title: "Does not follow from the log" },
  limit: { status: 409, title: "A limit is reached" },
  budget: { status: 409, title: "The budget does not suffice" },
  paused: { status: 409, title: "Suspended or interrupted" },
  corrupt: { status: 409, title: "The log is damaged" },
  stopped: { status: 409, title: "The session is stopped" },
  denied: { status: 409, title: "Denied by policy" },
  "too-many": { status: 429, title: "Too many at once" },
  unavailable: { status: 503, title: "Not available now" },
  internal: { status: 500, title: "Internal error" },
};

interface More {
  readonly refusal?: "final" | "wait";
  /** When asking again may help: becomes the header Retry-After, in whole seconds. */
  readonly retryAfterMs?: number;
  /** Further members of the problem document. */
  readonly members?: Readonly<Record<string, unknown>>;
}

/** A request's refusal; `message` is the sentence that says what to do. */
export class ProblemError extends Error {
  readonly problem: ProblemType;
  readonly more: More;

  constructor(problem: ProblemType, detail: string, more: More = {}) {
    super(detail);
    this.name = "ProblemError";
    this.problem = problem;
    this.more = more;
  }
}

/** A refusal as an RFC 9457 response. */
export function problemResponse({ problem, message, more }: ProblemError): Response {
  const { status, title } = KINDS[problem];
  const { refusal, retryAfterMs } = more;
  const body: Problem = { type: `${PROBLEM_BASE}${problem}`, title, status, detail: message, ...(refusal === undefined ? {} : { refusal }) };
  const headers = {
    "content-type": "application/problem+json",
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    ...(retryAfterMs === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
  };
  return new Response(JSON.stringify({ ...more.members, ...body }), { status, headers });
}
