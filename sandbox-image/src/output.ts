/** Text for the model: cut to a limit, with what it was before. */
export interface Cut {
  readonly content: string;
  /** Size in bytes before the cut. */
  readonly bytes: number;
  readonly truncated: boolean;
}

export const TAIL_LINES = 2000;
export const TAIL_BYTES = 48 * 1024;
export const MIDDLE_BYTES = 32 * 1024;
/** Room for the line that says what was left out. */
const NOTICE_BYTES = 160;

/** The end of a stream of any size, in memory that does not grow. */
export interface Tail {
  push(chunk: Buffer): void;
  cut(): Cut;
}

/** Keeps the last 2,000 lines or 48 KiB, whichever is less. */
export function createTail(): Tail {
  const memory = Buffer.allocUnsafe(4 * TAIL_BYTES);
  let used = 0;
  let bytes = 0;
  let lines = 0;

  function push(chunk: Buffer): void {
    bytes += chunk.length;
    lines += count(chunk, 0x0a);
    const kept = chunk.subarray(-TAIL_BYTES);
    if (used + kept.length > memory.length) {
      memory.copyWithin(0, used - TAIL_BYTES, used);
      used = TAIL_BYTES;
    }
    used += kept.copy(memory, used);
  }

  function cut(): Cut {
    const kept = memory.subarray(Math.max(0, used - TAIL_BYTES), used);
    const tail = lastLines(lastBytes(kept, TAIL_BYTES), TAIL_LINES);
    const whole = kept.toString();
    if (bytes === kept.length && tail.length === Buffer.byteLength(whole)) return { content: whole, bytes, truncated: false };
    const end = lastBytes(tail, TAIL_BYTES - NOTICE_BYTES).toString();
    return { content: `[the output has ${bytes} bytes in ${lines} lines; this is its end]\n${end}`, bytes, truncated: true };
  }

  return { push, cut };
}

/** Keeps the head and the tail of a text over 32 KiB. Pure. */
export function cutMiddle(text: string): Cut {
  const whole = Buffer.from(text);
  if (whole.length <= MIDDLE_BYTES) return { content: text, bytes: whole.length, truncated: false };
  const half = Math.floor((MIDDLE_BYTES - NOTICE_BYTES) / 2);
  const head = whole.subarray(0, floorBoundary(whole, half)).toString();
  const tail = lastBytes(whole, half).toString();
  return { content: `${head}\n[… ${whole.length} bytes in all; their middle is left out …]\n${tail}`, bytes: whole.length, truncated: true };
}

/** At most `limit` bytes from the start that end on a character's boundary, as text. Pure. */
export function firstBytes(bytes: Buffer, limit: number): string {
  return bytes.subarray(0, floorBoundary(bytes, Math.min(limit, bytes.length))).toString();
}

/** At most `limit` bytes from the end, valid UTF-8: bytes that are none become U+FFFD before the cut, because they grow by that. */
function lastBytes(bytes: Buffer, limit: number): Buffer {
  const from = ceilBoundary(bytes, Math.max(0, bytes.length - limit));
  const text = Buffer.from(bytes.subarray(from).toString());
  return text.length <= limit ? text : text.subarray(ceilBoundary(text, text.length - limit));
}

function lastLines(bytes: Buffer, lines: number): Buffer {
  let at = bytes.length - (bytes.at(-1) === 0x0a ? 1 : 0);
  for (let left = lines; left > 0; left--) {
    at = at === 0 ? -1 : bytes.lastIndexOf(0x0a, at - 1);
    if (at === -1) return bytes;
  }
  return bytes.subarray(at + 1);
}

/** The boundary at or after an index. */
function ceilBoundary(bytes: Buffer, index: number): number {
  let at = index;
  while (at < bytes.length && at - index < 3 && isContinuation(bytes[at])) at++;
  return at;
}

/** The boundary at or before an index. */
function floorBoundary(bytes: Buffer, index: number): number {
  let at = index;
  while (at > 0 && index - at < 3 && isContinuation(bytes[at])) at--;
  return at;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

function count(bytes: Buffer, byte: number): number {
  let found = 0;
  for (let at = bytes.indexOf(byte); at !== -1; at = bytes.indexOf(byte, at + 1)) found++;
  return found;
}
