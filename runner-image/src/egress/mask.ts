import { Transform } from "node:stream";

const STAR = 0x2a;
/** Derived forms of shorter values would be found in ordinary text. */
const SHORTEST_DERIVED = 8;
const NONE = -1;

/** Replaces values by as many `*`, in bytes that come in any pieces. */
export interface Masker {
  /** What can be said for sure after this piece; up to one form's length is kept back. The piece itself is left alone. */
  write(chunk: Uint8Array): Buffer;
  /** The rest. */
  end(): Buffer;
}

/** All forms of some values, made ready to be found; used by any number of maskers. */
export interface MaskTable {
  /** A masker at the start of a stream. */
  start(): Masker;
  /** One text, e.g. a header's value, in which bytes are the characters of Latin-1. */
  text(text: string): string;
}

/**
 * Masks values wherever a server sends them back: as they are, in base64 and base64url at each of the three alignments (as far as the value alone
 * fixes the characters), percent-encoded, JSON- and HTML-escaped, in hexadecimal of either case. Each masked byte becomes one `*`, so that lengths, and what
 * counts on them, stay. Values of less than eight characters are masked as they are only: what is derived from them would be found in
 * ordinary text. Time is linear in what is read, whatever the values and the text are (Aho and Corasick, 1975).
 */
export function createMaskTable(values: Iterable<string>): MaskTable {
  const forms = new Set([...new Set(values)].flatMap(formsOf));
  const trie = buildTrie([...forms].map((form) => Buffer.from(form, "latin1")));
  const start = (): Masker => createMasker(trie);
  return {
    start,
    text(text) {
      const masker = start();
      const first = masker.write(Buffer.from(text, "latin1"));
      return Buffer.concat([first, masker.end()]).toString("latin1");
    },
  };
}

/**
 * The same as a stream. What could be the start of a value waits for the next byte, without a time limit: who sends a value slowly enough would have it
 * let through. Values and their forms hold no line break, so that a line, and with it an event of `text/event-stream`, never waits; a program that
 * reads the middle of a line as it comes may see its last bytes, fewer than the longest form, with those that follow.
 */
export function maskStream(table: MaskTable): Transform {
  const masker = table.start();
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const sure = masker.write(chunk);
      done(null, sure.length === 0 ? undefined : sure);
    },
    flush(done) {
      const rest = masker.end();
      done(null, rest.length === 0 ? undefined : rest);
    },
  });
}

/** Every form of a value, as Latin-1 of its bytes. Pure. */
export function formsOf(value: string): string[] {
  if (value === "") return [];
  const bytes = Buffer.from(value);
  const raw = bytes.toString("latin1");
  if (value.length < SHORTEST_DERIVED) return [raw];
  const hex = bytes.toString("hex");
  const derived = [...base64Forms(bytes), ...percentForms(value), ...jsonForms(value), ...htmlForms(value), hex, hex.toUpperCase()];
  return [...new Set([raw, ...derived.filter((form) => form.length >= SHORTEST_DERIVED)])];
}

/** Whole, and inside a longer text at each alignment: there only the characters that depend on nothing else. */
function base64Forms(bytes: Buffer): string[] {
  const inside = [0, 1, 2].map((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
  });
  return [bytes.toString("base64").replace(/=+$/, ""), ...inside].flatMap((form) => [form, form.replaceAll("+", "-").replaceAll("/", "_")]);
}

function percentForms(value: string): string[] {
  const component = encodeURIComponent(value);
  const strict = component.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  const form = new URLSearchParams([["", value]]).toString().slice(1);
  // Every byte, as who escapes more than need be.
  const every = [...Buffer.from(value)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  return [component, strict, form, every].flatMap((text) => [text, text.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase())]);
}

/** As most libraries escape, with the slash escaped besides, with what HTML would misread escaped, and without any character beyond ASCII. */
function jsonForms(value: string): string[] {
  const plain = JSON.stringify(value).slice(1, -1);
  const html = plain.replace(/[<>&]/g, escapeUnit);
  const gson = plain.replace(/[<>&='\u2028\u2029]/g, escapeUnit);
  return [plain, plain.replaceAll("/", "\\/"), html, gson].flatMap((text) => [Buffer.from(text).toString("latin1"), text.replace(/[\u0080-\uffff]/g, escapeUnit)]);
}

const NAMED = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" } as const;
/** Beyond the usual names what common libraries write otherwise: Python, Mustache and its kin, Go. */
const HTML_ESCAPES: readonly Readonly<Record<string, string>>[] = [
  NAMED,
  { ...NAMED, "'": "&#x27;" },
  { ...NAMED, "/": "&#x2F;", "=": "&#x3D;", "`": "&#x60;" },
  { ...NAMED, "'": "&#x27;", "/": "&#x2F;" },
  { ...NAMED, '"': "&#34;" },
  { ...NAMED, '"': "&#34;", "+": "&#43;" },
];

function htmlForms(value: string): string[] {
  return HTML_ESCAPES.map((escapes) => Buffer.from(value.replace(/[&<>"'/=`+]/g, (character) => escapes[character] ?? character)).toString("latin1"))
    .flatMap((text) => [text, text.replace(/&#x\w+;/g, (escape) => escape.toLowerCase())]);
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The forms as one tree: per node its byte, first child, next sibling, where to go on when no child fits, depth, and the longest form that ends here. */
interface Trie {
  readonly byte: Uint8Array;
  readonly child: Int32Array;
  readonly sibling: Int32Array;
  readonly fail: Int32Array;
  readonly depth: Int32Array;
  readonly found: Int32Array;
  /** The root's children by byte, because most bytes are met there; 0 for none. */
  readonly first: Int32Array;
}

function buildTrie(forms: readonly Buffer[]): Trie {
  const size = forms.reduce((sum, { length }) => sum + length, 1);
  const trie: Trie = {
    byte: new Uint8Array(size),
    child: new Int32Array(size).fill(NONE),
    sibling: new Int32Array(size).fill(NONE),
    fail: new Int32Array(size),
    depth: new Int32Array(size),
    found: new Int32Array(size),
    first: new Int32Array(256),
  };
  let used = 1;
  for (const form of forms) {
    let node = 0;
    for (const byte of form) {
      const next = childOf(trie, node, byte);
      node = next === NONE ? addChild(trie, used++, node, byte) : next;
    }
    trie.found[node] = form.length;
  }
  linkFailures(trie);
  return trie;
}

function addChild(trie: Trie, made: number, parent: number, byte: number): number {
  trie.byte[made] = byte;
  trie.depth[made] = at(trie.depth, parent) + 1;
  trie.sibling[made] = at(trie.child, parent);
  trie.child[parent] = made;
  if (parent === 0) trie.first[byte] = made;
  return made;
}

/** Breadth first: what a node falls back to is nearer to the root. */
function linkFailures(trie: Trie): void {
  const queue: number[] = [0];
  for (const node of queue) {
    for (let child = at(trie.child, node); child !== NONE; child = at(trie.sibling, child)) {
      const fail = node === 0 ? 0 : step(trie, at(trie.fail, node), at(trie.byte, child));
      trie.fail[child] = fail;
      // Of several forms that end here the longest covers the others.
      if (trie.found[child] === 0) trie.found[child] = at(trie.found, fail);
      queue.push(child);
    }
  }
}

function childOf(trie: Trie, node: number, byte: number): number {
  let child = at(trie.child, node);
  while (child !== NONE && trie.byte[child] !== byte) child = at(trie.sibling, child);
  return child;
}

/** The node for the longest end of what was read that some form starts with. */
function step(trie: Trie, from: number, byte: number): number {
  let node = from;
  while (node !== 0) {
    const next = childOf(trie, node, byte);
    if (next !== NONE) return next;
    node = at(trie.fail, node);
  }
  return at(trie.first, byte);
}

function at(numbers: Int32Array | Uint8Array, index: number): number {
  return numbers[index] ?? 0;
}

interface Find {
  readonly start: number;
  readonly end: number;
}

/** From the last one back, so that finds that overlap write each byte once: a repetitive text costs no more than another. */
function maskAll(bytes: Buffer, finds: readonly Find[]): void {
  let masked = bytes.length;
  for (let index = finds.length - 1; index >= 0; index--) {
    const { start, end } = finds[index] ?? { start: masked, end: masked };
    if (start >= masked) continue;
    bytes.fill(STAR, start, Math.min(end, masked));
    masked = start;
  }
}

/** Bytes that a form may still reach into, as many as the state is deep, wait for the next piece. */
function createMasker(trie: Trie): Masker {
  let state = 0;
  let kept = Buffer.alloc(0);
  return {
    write(chunk) {
      const bytes = Buffer.concat([kept, chunk]);
      const finds: Find[] = [];
      for (let index = kept.length; index < bytes.length; index++) {
        state = step(trie, state, bytes[index] ?? 0);
        const found = at(trie.found, state);
        if (found > 0) finds.push({ start: index + 1 - found, end: index + 1 });
      }
      maskAll(bytes, finds);
      const sure = bytes.length - at(trie.depth, state);
      kept = Buffer.from(bytes.subarray(sure));
      return bytes.subarray(0, sure);
    },
    end() {
      const rest = kept;
      state = 0;
      kept = Buffer.alloc(0);
      return rest;
    },
  };
}
