/** What stands in place of a secret. */
export const REDACTED = "[redacted]";

/** Deepest nesting that a stored value may have: beyond it, walking and hashing could run out of stack. */
const MAX_DEPTH = 64;

// Shapes of well-known credentials. Each is linear in the text: no nested repetition, and no run of characters is searched from many starts.
const PATTERNS: readonly RegExp[] = [
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s]|\\[nr])*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?/g,
  // Tried once per run of its characters, or once per dot: from each `eyJ` of a long run it would take quadratic time.
  /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}/g,
  /\.(?<=-eyJ[A-Za-z0-9_-]{8,}\.)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}/g,
  /\bsk-[A-Za-z0-9_-]{16,}/g,
  /\bgh[pousr]_[A-Za-z0-9]{20,}/g,
  /\bgithub_pat_[A-Za-z0-9_]{20,}/g,
  /\bglpat-[A-Za-z0-9_-]{20,}/g,
  /\bxox[abeprs]-[A-Za-z0-9-]{10,}/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bAIza[A-Za-z0-9_-]{35}/g,
];
const BEARER = /\b(Bearer\s{1,4})[A-Za-z0-9._~+/-]{16,}={0,2}/gi;

/** The text with every known shape of a credential replaced. Pure. */
export function redactText(text: string): string {
  const plain = PATTERNS.reduce((rest, pattern) => rest.replace(pattern, REDACTED), text);
  return plain.replace(BEARER, `$1${REDACTED}`);
}

/** A JSON value with the same done to each of its strings, member names included. Pure. Throws RangeError when it is nested too deeply. */
export function redactValue<T>(value: T): T {
  return redactAt(value, 0) as T;
}

function redactAt(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new RangeError(`nested deeper than ${MAX_DEPTH} levels`);
  if (typeof value === "string") return redactText(value);
  if (Array.isArray(value)) return value.map((item) => redactAt(item, depth + 1));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [redactText(key), redactAt(item, depth + 1)]));
}
