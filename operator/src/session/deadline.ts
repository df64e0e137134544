import { deadlineAt } from "@paddock/api/log/state";
import type { RecordView } from "@paddock/api/wire/records";

/** Milliseconds until the session's time is over; 0 or less when it is. */
export function deadlineLeftMs({ bundle }: RecordView, now: Date): number {
  return deadlineAt(bundle) - now.getTime();
}

/** Milliseconds until `delayMs` after `at`; 0 or less when that has passed. */
export function leftMs(at: number, delayMs: number, now: Date): number {
  return at + delayMs - now.getTime();
}

/** The soonest of several times to look again; undefined ones do not count. */
export function earliest(delay: number, ...others: readonly (number | undefined)[]): number {
  return Math.min(delay, ...others.filter((other) => other !== undefined));
}
