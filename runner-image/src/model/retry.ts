import { delayMsOf } from "@paddock/api/backoff";
import type { FailureClass, ModelFailure } from "./failure.ts";

/** Attempts for one answer, the first included. */
export const MAX_ATTEMPTS = 6;

const BACKOFF = { firstMs: 1000, mostMs: 30_000 } as const;

/** The longest wait that an endpoint can ask for; one that asks for more is given up. */
const MOST_RETRY_AFTER_MS = 120_000;

const RETRYABLE: ReadonlySet<FailureClass> = new Set(["overloaded", "rate_limited", "truncated", "network", "server", "invalid"]);

/**
 * Milliseconds until the next attempt after a failure, or undefined when there is to be none. `failures` counts those of this answer
 * before this one. The only place that decides about retries. Pure but for `random`.
 */
export function retryDelayMs(failure: ModelFailure, failures: number, random: () => number): number | undefined {
  if (!RETRYABLE.has(failure.class) || failures + 1 >= MAX_ATTEMPTS) return undefined;
  const asked = failure.retryAfterMs ?? 0;
  if (asked > MOST_RETRY_AFTER_MS) return undefined;
  return Math.max(asked, delayMsOf(BACKOFF, failures, random));
}
