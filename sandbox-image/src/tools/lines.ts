/** A line of a file, without its newline. */
export interface Line {
  /** The line's first bytes, at most what the scanner keeps; valid until the next push. Keep one more than you show: it tells whether a character is whole. */
  readonly kept: Buffer;
  /** Its length in bytes. */
  readonly length: number;
}

/** Splits what is pushed into lines, in memory that a line of any length does not grow. */
export interface LineScanner {
  /** Calls back for each whole line, until one answers false. Gives back whether more is wanted. */
  push(chunk: Buffer): boolean;
  /** The last line, when the file does not end with a newline. */
  end(): void;
}

export function createLineScanner(keepBytes: number, onLine: (line: Line) => boolean): LineScanner {
  const rest = Buffer.allocUnsafe(keepBytes);
  let kept = 0;
  let length = 0;

  function hold(part: Buffer): void {
    kept += part.copy(rest, kept, 0, Math.min(part.length, keepBytes - kept));
    length += part.length;
  }

  function push(chunk: Buffer): boolean {
    let from = 0;
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, from)) {
      const part = chunk.subarray(from, at);
      from = at + 1;
      if (length > 0) hold(part);
      const line = length > 0 ? { kept: rest.subarray(0, kept), length } : { kept: part.subarray(0, keepBytes), length: part.length };
      kept = 0;
      length = 0;
      if (!onLine(line)) return false;
    }
    hold(chunk.subarray(from));
    return true;
  }

  function end(): void {
    if (length > 0) onLine({ kept: rest.subarray(0, kept), length });
  }

  return { push, end };
}

/** Whether the first bytes of a file are those of a binary one. Pure. */
export function isBinary(start: Buffer): boolean {
  return start.subarray(0, 8192).includes(0);
}
