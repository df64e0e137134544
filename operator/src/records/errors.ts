import { type Problem, parseProblem, problemTypeOf } from "@paddock/api/wire/problem";
import type { Fault } from "../kernel/kind.ts";

/** An answer of the gateway other than 2xx. */
export class GatewayError extends Error {
  readonly status: number;
  /** Last part of the problem's type; undefined when the answer was no problem of ours. */
  readonly problem: string | undefined;

  constructor(status: number, what: string, body: string) {
    const problem = problemOf(body);
    super(`${what}: ${status}${problem === undefined ? "" : `: ${problem.detail}`}`);
    this.name = "GatewayError";
    this.status = status;
    this.problem = problem === undefined ? undefined : problemTypeOf(problem);
  }
}

/** No answer of the gateway. All its calls can be repeated: what has been carried out already changes nothing. */
export class GatewayConnectionError extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = "GatewayConnectionError";
  }
}

/** A text that a session refers to cannot be taken; the message names ConfigMap and key, and the fix. */
export class BoundTextError extends Error {
  readonly kind: "missing-reference" | "invalid";

  constructor(kind: BoundTextError["kind"], message: string) {
    super(message);
    this.name = "BoundTextError";
    this.kind = kind;
  }
}

/** What the kernel is to do about an error of this folder; undefined for all others. Pure. */
export function classifyGatewayError(error: unknown): Fault | undefined {
  if (error instanceof GatewayConnectionError) return { kind: "unavailable", message: error.message, retry: true, cause: error };
  // ConfigMaps are not watched, so nothing wakes the session: the kernel looks again at a missing one soon, at a wrong one rarely.
  if (error instanceof BoundTextError) return { kind: error.kind, message: error.message, retry: false, cause: error };
  if (!(error instanceof GatewayError)) return undefined;
  const fault = (kind: Fault["kind"], retry: boolean): Fault => ({ kind, message: error.message, retry, cause: error });
  switch (error.status) {
    // The log is further than our view of it, which the stream brings up to date.
    case 404:
    case 409:
      return fault("log-conflict", true);
    case 400:
    case 413:
    case 422:
      return fault("invalid", false);
    // 401 and 403 too: our own token is the platform's affair, nobody who wrote a Session can help.
    default:
      return fault("unavailable", true);
  }
}

function problemOf(body: string): Problem | undefined {
  try {
    return parseProblem(JSON.parse(body));
  } catch {
    return undefined;
  }
}
