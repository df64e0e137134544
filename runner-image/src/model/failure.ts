import type { MODEL_FAILURES } from "@paddock/api/log/events";

export type FailureClass = (typeof MODEL_FAILURES)[number];

/** One attempt that gave no usable answer. `message` is for people and may quote the endpoint: redact it before it goes anywhere. */
export class ModelFailure extends Error {
  override readonly name = "ModelFailure";
  readonly class: FailureClass;
  /** HTTP status, when the endpoint answered with one. */
  readonly status: number | undefined;
  /** What the endpoint asked for with Retry-After, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  constructor(failure: FailureClass, message: string, { status, retryAfterMs }: { readonly status?: number; readonly retryAfterMs?: number | undefined } = {}) {
    super(message);
    this.class = failure;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Wordings by which endpoints say that a request is longer than the model's context; they use 400, 413, 422 and even 500 for it. */
const OVERFLOW = [
  /context[_ ]length[_ ]exceeded/i,
  /maximum (?:context|prompt) length/i,
  /context (?:window|size|length|limit)[^.]{0,60}(?:exceed|too (?:long|small|large)|full)/i,
  /exceed[^.]{0,60}(?:context|max(?:imum)? (?:input |prompt )?tokens|token limit)/i,
  /(?:prompt|input|request)[^.]{0,40}too (?:long|large|many tokens)/i,
  /too many (?:input )?tokens/i,
  /input token count[^.]{0,60}exceeds/i,
  /reduce the length of (?:the|your)/i,
];

const BY_STATUS: Readonly<Record<number, FailureClass>> = { 401: "auth", 403: "auth", 408: "server", 409: "server", 429: "rate_limited", 503: "overloaded", 529: "overloaded" };

/** Class of an answer with an error status and this text of its body. Pure. */
export function classifyStatus(status: number, text: string): FailureClass {
  const known = BY_STATUS[status];
  if (known === "auth" || known === "rate_limited") return known;
  if (OVERFLOW.some((pattern) => pattern.test(text))) return "overflow";
  return known ?? (status >= 500 ? "server" : "refused");
}

/** Class of an error that arrived inside a stream whose status was 200. Pure. */
export function classifyStreamError(code: string, text: string): FailureClass {
  if (OVERFLOW.some((pattern) => pattern.test(`${code} ${text}`))) return "overflow";
  if (/rate.?limit|too many requests|429/i.test(`${code} ${text}`)) return "rate_limited";
  return /overload|unavailable|capacity|503|529/i.test(`${code} ${text}`) ? "overloaded" : "server";
}

/** Milliseconds that a Retry-After header asks for: seconds, or an HTTP date against `nowMs`. Undefined when there is none to read. */
export function retryAfterMsOf(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
