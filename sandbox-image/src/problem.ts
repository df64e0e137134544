import type { ServerResponse } from "node:http";
import type { PROBLEM_BASE, Problem, ProblemType } from "@paddock/api/wire/problem";

/** The contract's text: the image holds nothing of the contract's package, and the type keeps the two equal. */
const BASE: typeof PROBLEM_BASE = "https://paddock.dev/problems/";

const STATUS = {
  malformed: 400,
  unauthenticated: 401,
  fenced: 403,
  "not-found": 404,
  conflict: 409,
  "too-large": 413,
  limit: 429,
  internal: 500,
  unavailable: 503,
} satisfies Partial<Record<ProblemType, number>>;

/** Why a request is not served; `detail` says what to do. */
export interface Refusal {
  readonly type: keyof typeof STATUS;
  readonly detail: string;
}

/** A refusal on its way up to the answer. */
export class RequestRefused extends Error {
  readonly refusal: Refusal;
  constructor(type: Refusal["type"], detail: string) {
    super(detail);
    this.refusal = { type, detail };
  }
}

/** The refusal as problem details. Pure. */
export function buildProblem({ type, detail }: Refusal): Problem {
  return { type: `${BASE}${type}`, title: type, status: STATUS[type], detail };
}

/** Answers with problem details; does nothing when the answer has begun. */
export function answerProblem(response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent || response.destroyed) return;
  const problem = buildProblem(refusal);
  response.writeHead(problem.status, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
}
