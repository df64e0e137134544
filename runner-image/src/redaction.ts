import { REDACTED, redactText } from "@paddock/api/log/redaction";

/** Shorter values are no secrets worth the name, and replacing them would tear ordinary text apart. */
const SHORTEST_SECRET = 8;

// Beyond the shapes that the log replaces: providers quote the key they refuse, shortened or masked.
const QUOTED: readonly RegExp[] = [/\bsk-[A-Za-z0-9_*.-]{8,}/g, /\bAIza[A-Za-z0-9_-]{30,}/g, /\bBearer\s{1,4}[A-Za-z0-9._~+/=-]{8,}/gi];

/** Replaces the secrets that this process holds, in every text that leaves it. */
export interface Redactor {
  /** Remembers a secret for the life of the process: a rotated one may still come back. */
  add(secret: string): void;
  /** The text with each known secret replaced: as it is, in base64, URL-escaped and JSON-escaped. */
  text(text: string): string;
  /** Where the end of a text begins that could be the start of a known secret, in any of these forms; the text's length when nothing could. */
  openEnd(text: string): number;
  /** A JSON value with the same done to every string in it, member names included. */
  value<T>(value: T): T;
}

export function createRedactor(): Redactor {
  const secrets = new Set<string>();
  let forms: readonly string[] = [];
  const text = (plain: string): string => forms.reduce((rest, form) => rest.replaceAll(form, REDACTED), plain);
  return {
    add(secret) {
      if (secret.length < SHORTEST_SECRET || secrets.has(secret)) return;
      secrets.add(secret);
      // Longest first: a form that holds another one must not be torn by it.
      forms = [...new Set([...secrets].flatMap(formsOf))].sort((a, b) => b.length - a.length);
    },
    text,
    openEnd: (plain) => Math.min(plain.length, ...forms.map((form) => openEndOf(form, plain))),
    value: <T>(value: T): T => (forms.length === 0 ? value : (mapTexts(value, text) as T)),
  };
}

/** Start of the longest end of `text` that `form` begins with, but not the whole of it. */
function openEndOf(form: string, text: string): number {
  const first = form.slice(0, 1);
  let start = text.indexOf(first, Math.max(0, text.length - form.length + 1));
  while (start >= 0 && !form.startsWith(text.slice(start))) start = text.indexOf(first, start + 1);
  return start < 0 ? text.length : start;
}

/** The text with everything that looks like a credential replaced. Pure. */
export function redactShapes(text: string): string {
  return redactText(QUOTED.reduce((rest, shape) => rest.replace(shape, REDACTED), text));
}

/** A JSON value with each of its strings, member names included, mapped. Pure. */
export function mapTexts(value: unknown, text: (plain: string) => string): unknown {
  if (typeof value === "string") return text(value);
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, text));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [text(key), mapTexts(item, text)]));
}

function formsOf(secret: string): string[] {
  const escaped = [encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)];
  return [secret, ...escaped, ...base64Forms(secret)].filter((form) => form.length >= SHORTEST_SECRET);
}

/** A secret inside a longer encoded text begins at one of three alignments; only the characters that depend on nothing else are kept. */
function base64Forms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [0, 1, 2].flatMap((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64").replace(/=+$/, "");
    const start = Math.ceil((before * 8) / 6);
    const end = Math.floor(((before + bytes.length) * 8) / 6);
    const sure = encoded.slice(start, end);
    return [sure, sure.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
