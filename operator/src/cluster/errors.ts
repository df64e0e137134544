import type { Fault } from "../kernel/kind.ts";

/** An answer of the API server other than 2xx: `metav1.Status`. */
export class ApiError extends Error {
  readonly status: number;
  /** `reason` of the Status, e.g. AlreadyExists; "" when the answer was no Status. */
  readonly reason: string;
  /** Reasons of the Status' causes. */
  readonly causes: readonly string[];

  constructor(status: number, what: string, body: string) {
    const parsed = parseStatus(body);
    super(`${what}: ${status} ${parsed.reason}${parsed.message === "" ? "" : `: ${parsed.message}`}`);
    this.name = "ApiError";
    this.status = status;
    this.reason = parsed.reason;
    this.causes = parsed.causes;
  }
}

/**
 * No answer of the API server. `ambiguous`: the request may have been carried out all the same, so whoever repeats it must be able to
 * find that out (names, UIDs and resource versions do).
 */
export class ConnectionError extends Error {
  readonly ambiguous: boolean;

  constructor(message: string, ambiguous: boolean, cause?: unknown) {
    super(message, { cause });
    this.name = "ConnectionError";
    this.ambiguous = ambiguous;
  }
}

/** Somebody else's object stands under a name of ours. */
export class NameConflictError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NameConflictError";
  }
}

/** A person may not do what an object asks us to do for them. */
export class AccessDeniedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "AccessDeniedError";
  }
}

export function isStatus(error: unknown, status: number): error is ApiError {
  return error instanceof ApiError && error.status === status;
}

/** What the kernel is to do about an error of this folder; undefined for all others. Pure. */
export function classifyClusterError(error: unknown): Fault | undefined {
  if (error instanceof NameConflictError) return { kind: "name-conflict", message: error.message, retry: false, cause: error };
  if (error instanceof AccessDeniedError) return { kind: "access-denied", message: error.message, retry: false, cause: error };
  if (error instanceof ConnectionError) return { kind: "unavailable", message: error.message, retry: true, cause: error };
  if (!(error instanceof ApiError)) return undefined;
  const [kind, retry] = verdictOf(error);
  return { kind, message: error.message, retry, cause: error };
}

type Verdict = readonly [kind: Fault["kind"], retry: boolean];

function verdictOf({ status, causes, message }: ApiError): Verdict {
  if (causes.includes("NamespaceTerminating")) return TERMINATING;
  if (status === 403 && QUOTA.test(message)) return QUOTA_USED;
  return BY_STATUS.get(status) ?? UNAVAILABLE;
}

// The quota plugin answers like a missing right, and only its words differ. What it refuses fits as soon as other pods have ended, which no watch tells.
const QUOTA = /: (exceeded quota|status unknown for quota): /;
const QUOTA_USED: Verdict = ["forbidden", true];

const TERMINATING: Verdict = ["namespace-terminating", false];
const UNAVAILABLE: Verdict = ["unavailable", true];
const BY_STATUS: ReadonlyMap<number, Verdict> = new Map<number, Verdict>([
  [400, ["invalid", false]],
  [403, ["forbidden", false]],
  // The namespace of an object to be made, or the object itself, went away under us: the watch tells the next pass.
  [404, ["conflict", true]],
  [409, ["conflict", true]],
  [413, ["invalid", false]],
  [415, ["invalid", false]],
  [422, ["invalid", false]],
]);

function parseStatus(body: string): { reason: string; message: string; causes: readonly string[] } {
  try {
    const status = JSON.parse(body) as { reason?: unknown; message?: unknown; details?: { causes?: readonly { reason?: unknown }[] } };
    return {
      reason: textOf(status.reason),
      message: textOf(status.message),
      causes: (status.details?.causes ?? []).map((cause) => textOf(cause.reason)),
    };
  } catch {
    return { reason: "", message: body.slice(0, 512), causes: [] };
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
