import { randomBytes, randomInt, randomUUID } from "node:crypto";

/** A planted secret: `name` is what findings call it, so that no report ever holds `value`. */
export interface Canary {
  readonly name: string;
  readonly value: string;
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const letters = (length: number, alphabet = LETTERS): string => Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join("");

/** The shapes of real secrets: each is written differently by JSON, URLs and shells, so each gets lost differently. */
const SHAPES: readonly (readonly [name: string, make: () => string])[] = [
  ["model key", () => `sk-proj-${letters(20)}_${letters(28)}-${letters(12)}`],
  ["git token", () => `ghp_${letters(36)}`],
  ["cloud secret", () => `${randomBytes(30).toString("base64")}/+${letters(6)}`],
  ["hex key", () => randomBytes(24).toString("hex")],
  ["password", () => `p"${letters(8)}\\${letters(6)}/&<${letters(8)}=%${letters(4)}#`],
  ["uuid", () => randomUUID()],
  ["web token", () => [`{"alg":"HS256","n":${randomInt(1e9)}}`, `{"sub":"${letters(8)}"}`, randomBytes(32)].map((part) => Buffer.from(part).toString("base64url")).join(".")],
];

/** Random secrets of different shapes, each with at least 96 bits of randomness: whoever holds one has been given it. */
export function makeCanaries(count: number): readonly Canary[] {
  return Array.from({ length: count }, (_, index) => {
    const [shape, make] = SHAPES[index % SHAPES.length] ?? ["hex key", () => randomBytes(24).toString("hex")];
    return { name: `canary ${index + 1} (${shape})`, value: make() };
  });
}

/** Shorter ones would be found by accident. */
const SHORTEST = 12;

/** One value a line, as a file of them has it; `name` is the line. Throws for one that is too short to be looked for. */
export function parseCanaries(text: string): readonly Canary[] {
  const lines = text.split(/\r?\n/).map((value, index) => ({ name: `line ${index + 1}`, value }));
  const canaries = lines.filter(({ value }) => value !== "");
  const short = canaries.find(({ value }) => Buffer.byteLength(value) < SHORTEST);
  if (short !== undefined) throw new Error(`${short.name} has ${Buffer.byteLength(short.value)} bytes: a value to look for needs ${SHORTEST} or more, or it is found by accident`);
  if (canaries.length === 0) throw new Error("the file holds no value: write one a line");
  return canaries;
}
