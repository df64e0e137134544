// Our clock against the API server's, from the header `Date` of its answers. The header has whole seconds only, so one answer tells no more than a
// range; ranges of several answers cut one another down.

/** Bounds of our clock minus the server's in milliseconds, as they stood at `atMs` of a monotonic clock. */
export interface SkewRange {
  readonly low: number;
  readonly high: number;
  readonly atMs: number;
}

export interface DateSample {
  /** The header's value as Unix time in milliseconds. */
  readonly dateMs: number;
  /** Our wall clock right before the request and right after the answer. */
  readonly sentMs: number;
  readonly receivedMs: number;
  /** Monotonic. */
  readonly atMs: number;
}

// Clocks that are being corrected drift by up to 500 parts in a million against each other.
const DRIFT = 0.0005;

/** The range after one more answer. What contradicts earlier ones replaces them: a clock was set, or another server answered. Pure. */
export function nextSkew(before: SkewRange | undefined, { dateMs, sentMs, receivedMs, atMs }: DateSample): SkewRange {
  const seen: SkewRange = { low: sentMs - dateMs - 1000, high: receivedMs - dateMs, atMs };
  if (before === undefined) return seen;
  const widened = DRIFT * (atMs - before.atMs);
  const low = Math.max(seen.low, before.low - widened);
  const high = Math.min(seen.high, before.high + widened);
  return low <= high ? { low, high, atMs } : seen;
}

/** The middle of the range, or 0 where the clocks may agree as far as anybody knows. Pure. */
export function skewMsOf(range: SkewRange | undefined): number {
  if (range === undefined || (range.low <= 0 && range.high >= 0)) return 0;
  return (range.low + range.high) / 2;
}

// Below this the difference cannot be told from the network's, and moving the clock would only make times jump.
const TOLERATED_MS = 2_000;

/** The API server's clock as far as it differs from ours by more than two seconds. */
export function serverClock(skewMs: () => number): () => Date {
  return () => {
    const skew = skewMs();
    return new Date(Date.now() - (Math.abs(skew) > TOLERATED_MS ? skew : 0));
  };
}
