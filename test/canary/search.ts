import type { Canary } from "./canaries.ts";
import { findBase64, findCompressed } from "./unpack.ts";
import type { Unpacked } from "./unpack.ts";
import { VIEWS, readHexDigits } from "./views.ts";

/** Where a planted secret was found. Never holds the secret. */
export interface Finding {
  readonly canary: string;
  /** How it was written, outermost first, e.g. `base64 > gzip > escaped`; `raw` as it is. */
  readonly encoding: string;
  /** Line of the text that was searched, from 1. Of what was inside something, the line where that began. */
  readonly line: number;
}

/** How deep things may lie in each other. */
const DEPTH = 6;
/** How many readings may follow each other: what was escaped twice, or escaped and folded. Long texts are read once, or it would take minutes. */
const READINGS = 2;
const LONG_BYTES = 4 * 2 ** 20;
/** Most bytes that are looked at for one text, all readings and unpacked data together. */
const MOST_BYTES = 2 ** 30;

interface Needle {
  readonly canary: string;
  readonly encoding: string;
  readonly text: string;
}

/** The characters of base64 that hold nothing but bits of the value, wherever in a longer text it begins. */
function base64Core(value: Buffer, alignment: number): string {
  const text = Buffer.concat([Buffer.alloc(alignment), value]).toString("base64").replace(/=+$/, "");
  const from = Math.ceil((alignment * 8) / 6);
  return text.slice(from, Math.floor(((alignment + value.length) * 8) / 6));
}

function needlesOf({ name: canary, value }: Canary): readonly Needle[] {
  const bytes = Buffer.from(value);
  const plain = bytes.toString("latin1");
  const base64 = [0, 1, 2].flatMap((alignment) => {
    const text = base64Core(bytes, alignment);
    const url = text.replaceAll("+", "-").replaceAll("/", "_");
    return [{ canary, encoding: "base64", text }, ...(url === text ? [] : [{ canary, encoding: "base64url", text: url }])];
  });
  return [{ canary, encoding: "raw", text: plain }, { canary, encoding: "reversed", text: Buffer.from(bytes).reverse().toString("latin1") }, ...base64];
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

interface Search {
  readonly needles: readonly Needle[];
  readonly hexNeedles: readonly Needle[];
  readonly found: Map<string, Finding>;
  readonly seen: Set<string>;
  bytes: number;
}

interface Layer {
  readonly text: string;
  readonly path: readonly string[];
  /** Line of the outermost text where this began; undefined for that text itself. */
  readonly line: (() => number) | undefined;
  /** Readings since something was last unpacked. */
  readonly readings: number;
}

function note(search: Search, { text, path, line }: Layer, needle: Needle, at: number): void {
  const encoding = [...path, ...(needle.encoding === "raw" && path.length > 0 ? [] : [needle.encoding])].join(" > ");
  const known = `${needle.canary}\n${encoding}`;
  if (!search.found.has(known)) search.found.set(known, { canary: needle.canary, encoding, line: line?.() ?? lineAt(text, at) });
}

function searchLayer(search: Search, layer: Layer): void {
  for (const needle of search.needles) {
    const at = layer.text.indexOf(needle.text);
    if (at >= 0) note(search, layer, needle, at);
  }
  const digits = readHexDigits(layer.text);
  for (const needle of search.hexNeedles) {
    const at = digits.indexOf(needle.text);
    if (at >= 0) note(search, layer, needle, 0);
  }
}

/** The same text read in other ways, and what is packed in it. */
function layersIn(layer: Layer): readonly Layer[] {
  const { text, path, line, readings } = layer;
  const mayRead = readings < (text.length > LONG_BYTES ? 1 : READINGS);
  const views = !mayRead ? [] : VIEWS.flatMap(({ name, read }): readonly Layer[] => {
    const other = read(text);
    return other === undefined ? [] : [{ text: other, path: [...path, name], line, readings: readings + 1 }];
  });
  const inside = ({ encoding, offset, bytes }: Unpacked): Layer => ({ text: bytes.toString("latin1"), path: [...path, encoding], line: line ?? (() => lineAt(text, offset)), readings: 0 });
  return [...views, ...findCompressed(Buffer.from(text, "latin1")).map(inside), ...findBase64(text).map(inside)];
}

function searchAll(search: Search, first: Layer): void {
  let layers: readonly Layer[] = [first];
  for (let depth = 0; depth <= DEPTH && layers.length > 0; depth += 1) {
    const next: Layer[] = [];
    for (const layer of layers) {
      if (search.seen.has(layer.text)) continue;
      search.seen.add(layer.text);
      search.bytes += layer.text.length;
      if (search.bytes > MOST_BYTES) throw new Error(`${first.text.length} bytes hold more than ${MOST_BYTES} when all of it is unpacked: scan its parts`);
      searchLayer(search, layer);
      if (depth < DEPTH) next.push(...layersIn(layer));
    }
    layers = next;
  }
}

/**
 * Planted secrets in bytes or text: as they are, reversed, in base64 of any alignment and alphabet, in hexadecimal digits, percent-encoded, escaped as in
 * JSON or HTML, as UTF-16, folded over lines, put together from pieces, and all of that in each other or in compressed data, six deep. Throws for data
 * that unpack to more than a gibibyte.
 */
export function findCanaries(data: Uint8Array | string, canaries: readonly Canary[]): readonly Finding[] {
  const text = (typeof data === "string" ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength)).toString("latin1");
  const search: Search = {
    needles: canaries.flatMap(needlesOf),
    hexNeedles: canaries.map(({ name, value }) => ({ canary: name, encoding: "hex", text: Buffer.from(value).toString("hex") })),
    found: new Map(), seen: new Set(), bytes: 0,
  };
  searchAll(search, { text, path: [], line: undefined, readings: 0 });
  return leastWrapped([...search.found.values()]);
}

/** The shortest path to each canary: a text without escapes is found in every view of it as well. */
function leastWrapped(found: readonly Finding[]): readonly Finding[] {
  const depth = ({ encoding }: Finding): number => (encoding === "raw" ? 0 : encoding.split(" > ").length);
  return found.filter((one) => found.every((other) => other.canary !== one.canary || depth(other) >= depth(one)));
}
