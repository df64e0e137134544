import { createHash } from "node:crypto";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * JSON text with object keys sorted by code unit and no white space, so that equal values have equal text (the idea of RFC 8785).
 * `undefined` members are dropped as in JSON.stringify. Pure. Throws TypeError on a non-finite number.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === "number" && !Number.isFinite(item)) throw new TypeError("a non-finite number has no JSON form");
    if (item === null || typeof item !== "object" || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** `sha256:<hex>` of a text or bytes. */
export function sha256(data: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/** Digest of a JSON value: SHA-256 over its canonical text. */
export function digestOf(value: unknown): string {
  return sha256(canonicalJson(value));
}
