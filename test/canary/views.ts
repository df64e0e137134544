// Text as somebody may have written it before it got where it is found: each view undoes one way of writing. Bytes are Latin-1 text throughout,
// so that one character is one byte.

/** One way of reading a text; undefined where it would be the text itself. */
export interface View {
  readonly name: string;
  read(text: string): string | undefined;
}

const changed = (before: string, after: string): string | undefined => (after === before ? undefined : after);
const character = (code: number): string => (code < 256 ? String.fromCharCode(code) : Buffer.from(String.fromCodePoint(Math.min(code, 0x10ffff))).toString("latin1"));
const hex = (digits: string): string => character(parseInt(digits, 16));

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v", "0": "\0" };

const CODE = /^\\(?:u\{([0-9a-f]{1,6})\}|u([0-9a-f]{4})|U([0-9a-f]{8})|x([0-9a-f]{2}))$/i;

function unescape(text: string): string {
  return text.replace(/\\(?:u\{[0-9a-f]{1,6}\}|u[0-9a-f]{4}|U[0-9a-f]{8}|x[0-9a-f]{2}|[^])/gi, (escape) => {
    const code = CODE.exec(escape)?.slice(1).find((digits) => digits !== undefined);
    const one = escape.slice(1);
    return code === undefined ? (ESCAPES[one] ?? one) : hex(code);
  });
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function undoEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));/gi, (_, x: string | undefined, decimal: string | undefined, name: string | undefined) =>
    x !== undefined ? hex(x) : decimal !== undefined ? character(Number(decimal)) : (ENTITIES[(name ?? "").toLowerCase()] ?? ""));
}

export const VIEWS: readonly View[] = [
  { name: "percent", read: (text) => changed(text, text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) => hex(digits))) },
  { name: "escaped", read: (text) => (text.includes("\\") ? changed(text, unescape(text)) : undefined) },
  { name: "html", read: (text) => (text.includes("&") ? changed(text, undoEntities(text)) : undefined) },
  { name: "utf-16", read: (text) => changed(text, text.replaceAll("\0", "")) },
  // Lines that were folded, and text that a program puts together from pieces.
  { name: "split by lines", read: (text) => changed(text, text.replace(/(?:\\r|\\n|\\t|[\s\0])+/g, "")) },
  { name: "split by quotes", read: (text) => changed(text, text.replace(/["'`]\s*[+.,&\\]*\s*["'`]/g, "")) },
  { name: "split by margins", read: (text) => changed(text, text.replace(/(?:\\r|\\n|\s)*(?:[$>|#*]|\/\/)?[ \t]*(?:\\r|\\n|[\r\n])+[ \t]*(?:[>|#*]|\/\/|\d+[:\t])[ \t]*/g, "")) },
];

/** Only hexadecimal digits: what a dump writes with colons, spaces, commas, 0x or \x between bytes. */
export function readHexDigits(text: string): string {
  return text.replace(/\\x|0x/gi, "").replace(/[^0-9a-z]/gi, "").toLowerCase();
}
