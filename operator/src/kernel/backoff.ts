export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** A queue's back-off: quick at first, because most failures are a lost race or a short outage. */
export const QUEUE_BACKOFF: Backoff = { baseMs: 50, maxMs: 60_000 };

/** Back-off of long-lived connections. */
export const STREAM_BACKOFF: Backoff = { baseMs: 100, maxMs: 10_000 };

/**
 * Milliseconds to wait after `failures` failures in a row (counted from 1): doubling up to `maxMs`, of which the upper half is jitter,
 * so that clients that failed together do not come back together. `random` in [0, 1). Pure.
 */
export function backoffMs(failures: number, { baseMs, maxMs }: Backoff, random: number): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(failures - 1, 0), 30));
  return ceiling / 2 + (ceiling / 2) * random;
}
