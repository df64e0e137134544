/** What a program says first inside CONNECT. `name`: of TLS's SNI in lower case, undefined without one. */
export type Greeting = { readonly kind: "Tls"; readonly name: string | undefined } | { readonly kind: "Http" } | { readonly kind: "Unknown" };

/** The greeting is not all there: it cannot be told before so many bytes are. */
export interface Missing {
  readonly kind: "Missing";
  readonly atLeast: number;
}

/** A ClientHello with key shares of the usual sizes, post-quantum ones too, is below 3 KiB. */
export const MAX_GREETING_BYTES = 16 * 1024;

/** Clients use one or two; a byte in each would cost far more to read than to send. */
const MOST_RECORDS = 16;

const UNKNOWN: Greeting = { kind: "Unknown" };
const HANDSHAKE = 0x16;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;

/**
 * Reads the first bytes of a connection: TLS with its ClientHello (RFC 8446, 4.1.2), in a few records, the request line of plain HTTP,
 * or something else. `bytes` may hold more than the greeting. Never throws. Pure.
 */
export function readGreeting(bytes: Buffer): Greeting | Missing {
  if (bytes.length === 0) return missing(1);
  const greeting = bytes[0] === HANDSHAKE ? readTls(bytes) : readRequestLine(bytes);
  return greeting.kind === "Missing" && greeting.atLeast > MAX_GREETING_BYTES ? UNKNOWN : greeting;
}

/** A method and a space: `GET `. What follows is for who serves it. */
function readRequestLine(bytes: Buffer): Greeting | Missing {
  const [start = ""] = /^[A-Z]{1,16} ?/.exec(bytes.toString("latin1", 0, 17)) ?? [];
  if (start.length > 1 && start.endsWith(" ")) return { kind: "Http" };
  return start.length === bytes.length && start.length <= 16 ? missing(bytes.length + 1) : UNKNOWN;
}

function readTls(bytes: Buffer): Greeting | Missing {
  const pieces: Buffer[] = [];
  let held = 0;
  for (let at = 0; ; ) {
    const record = readRecord(bytes, at);
    if ("kind" in record) return record;
    if (pieces.push(record) > MOST_RECORDS) return UNKNOWN;
    held += record.length;
    at += 5 + record.length;
    if (held < 4) continue;
    const head = Buffer.concat(pieces);
    const wanted = 4 + head.readUIntBE(1, 3);
    if (head[0] !== CLIENT_HELLO || wanted > MAX_GREETING_BYTES) return UNKNOWN;
    if (held >= wanted) return readHello(Buffer.concat(pieces).subarray(4, wanted));
  }
}

/** The content of the record that starts there. */
function readRecord(bytes: Buffer, at: number): Buffer | Greeting | Missing {
  if (!isRecordStart(bytes, at)) return UNKNOWN;
  if (bytes.length < at + 5) return missing(at + 5);
  const length = bytes.readUInt16BE(at + 3);
  // An empty record is not allowed for a handshake (RFC 8446, 5.1), and would make many of nothing.
  if (length === 0 || length > MAX_GREETING_BYTES) return UNKNOWN;
  return bytes.length < at + 5 + length ? missing(at + 5 + length) : bytes.subarray(at + 5, at + 5 + length);
}

/** As far as there are bytes: a record of handshake messages, of TLS 1.x. */
function isRecordStart(bytes: Buffer, at: number): boolean {
  const [type = HANDSHAKE, major = 3, minor = 1] = bytes.subarray(at, at + 3);
  return type === HANDSHAKE && major === 3 && minor <= 4;
}

function readHello(body: Buffer): Greeting {
  const rest = new Reader(body);
  rest.skip(2 + 32); // version and random
  rest.take(1); // session id
  rest.take(2); // cipher suites
  rest.take(1); // compression methods
  if (rest.isBroken) return UNKNOWN;
  if (rest.left === 0) return { kind: "Tls", name: undefined };
  const extensions = new Reader(rest.take(2));
  const names: Buffer[] = [];
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const data = extensions.take(2);
    if (type === SERVER_NAME) names.push(data);
  }
  // What two readers could read differently is nobody's greeting.
  if (rest.isBroken || extensions.isBroken || rest.left > 0 || names.length > 1) return UNKNOWN;
  const [data] = names;
  return data === undefined ? { kind: "Tls", name: undefined } : readServerName(data);
}

/** Exactly one host name (RFC 6066, 3). */
function readServerName(data: Buffer): Greeting {
  const outer = new Reader(data);
  const list = new Reader(outer.take(2));
  const type = list.number(1);
  const name = list.take(2).toString("latin1");
  if (outer.isBroken || list.isBroken || outer.left > 0 || list.left > 0 || type !== 0) return UNKNOWN;
  return /^[A-Za-z0-9._-]{1,253}$/.test(name) ? { kind: "Tls", name: name.toLowerCase() } : UNKNOWN;
}

/** Reads on through bytes; behind their end everything is empty and zero, and `isBroken`. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;
  isBroken = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** A number of so many bytes. */
  number(width: number): number {
    const from = this.#at;
    return this.skip(width) ? this.#bytes.readUIntBE(from, width) : 0;
  }

  /** What stands behind its own length, itself of so many bytes. */
  take(width: number): Buffer {
    const length = this.number(width);
    const from = this.#at;
    return this.skip(length) ? this.#bytes.subarray(from, from + length) : Buffer.alloc(0);
  }

  skip(length: number): boolean {
    const fits = this.left >= length;
    this.isBroken ||= !fits;
    this.#at = fits ? this.#at + length : this.#bytes.length;
    return fits;
  }
}

function missing(atLeast: number): Missing {
  return { kind: "Missing", atLeast };
}
