import { isDeepStrictEqual } from "node:util";

/**
 * Whether two specs of a network policy mean the same. The API server adds defaults and drops what is empty, so both are brought to one
 * normal form first: absent and empty lists are equal, `protocol` is TCP where nothing is said. Pure.
 */
export function isSamePolicy(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(normalOf(a), normalOf(b));
}

function normalOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalOf);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).flatMap(([name, member]) => (isEmpty(name, member) ? [] : [[name, normalOf(member)] as const]));
  const normal: Record<string, unknown> = Object.fromEntries(members);
  return "port" in normal && !("protocol" in normal) ? { ...normal, protocol: "TCP" } : normal;
}

// An empty selector is kept: it selects everything, where an absent one selects nothing or the own namespace.
function isEmpty(name: string, member: unknown): boolean {
  if (member === undefined || member === null) return true;
  if (Array.isArray(member)) return member.length === 0;
  return name === "matchLabels" && typeof member === "object" && Object.keys(member).length === 0;
}
