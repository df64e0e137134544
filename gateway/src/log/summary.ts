import { startOfBytes } from "@paddock/api/cut";
import { canonicalJson } from "@paddock/api/log/canonical";

/** UTF-8 bytes of a summary at most. */
const SUMMARY_BYTES = 2048;

/**
 * Characters that do not show as themselves: control and format characters (bidirectional ones among them), lone surrogates, unassigned and private
 * ones, separators and blanks other than the space, and all that fonts leave out.
 */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{2800}\u{FFFC}]|(?! )\p{Zs}/gu;
const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * A call's arguments for the people who decide about it: one line of at most 2048 bytes, in which nothing is hidden, because it was written by a model
 * that may have been told to deceive them. A command stands as it is; of other tools each argument has its name, short ones first. `args` are as the
 * log holds them. Pure.
 */
export function summarise(tool: string, args: Readonly<Record<string, unknown>>): string {
  const { command, ...others } = args;
  if (tool !== "bash" || typeof command !== "string") return partsOf(args, SUMMARY_BYTES);
  const rest = partsOf(others, SUMMARY_BYTES / 2);
  const note = rest === "" ? "" : ` (${rest})`;
  return `${cut(escape(command), SUMMARY_BYTES - Buffer.byteLength(note))}${note}`;
}

/** `name: value` for each, short ones first: a long one takes no other's place. */
function partsOf(args: Readonly<Record<string, unknown>>, bytes: number): string {
  const parts = Object.entries(args).map(([name, value]) => `${escape(name)}: ${textOf(value)}`);
  return cut(parts.toSorted((a, b) => a.length - b.length).join(", "), bytes);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? `"${escape(value).replaceAll('"', '\\"')}"` : escape(canonicalJson(value));
}

/** Every backslash doubled, so that what was escaped cannot be mistaken for what was written. */
function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replace(HIDDEN, (hidden) => NAMED[hidden] ?? `\\u{${(hidden.codePointAt(0) ?? 0).toString(16)}}`);
}

function cut(text: string, bytes: number): string {
  const size = Buffer.byteLength(text);
  if (size <= bytes) return text;
  const note = `… (${size} bytes, the log has all of them)`;
  return `${startOfBytes(text, bytes - Buffer.byteLength(note))}${note}`;
}
