/** How often something may happen: `burst` times at once, then every `everyMs`. */
export interface Pace {
  readonly burst: number;
  readonly everyMs: number;
}

/**
 * Gives each caller the time it has to wait, in milliseconds, 0 within the pace. `nowMs`: of a clock that only goes forward. The debt of those
 * who wait is kept; callers bound how many wait.
 */
export function createPacer({ burst, everyMs }: Pace): (nowMs: number) => number {
  let dueMs = -Infinity;
  return (nowMs) => {
    dueMs = Math.max(nowMs, dueMs) + everyMs;
    return Math.max(0, dueMs - nowMs - burst * everyMs);
  };
}
