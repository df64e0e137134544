/** Bounds of a series of retries: the first delay at most `firstMs`, doubled each time, never above `mostMs`. */
export interface Backoff {
  readonly firstMs: number;
  readonly mostMs: number;
}

/**
 * Delay in milliseconds before retry number `retry` (0 for the first): half fixed, half random, so that those who failed together do
 * not come back together. Pure but for `random`, which returns 0 ≤ x < 1.
 */
export function delayMsOf({ firstMs, mostMs }: Backoff, retry: number, random: () => number): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(Math.max(retry, 0), 30));
  return full / 2 + (full / 2) * random();
}
