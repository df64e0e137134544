import { deadlineAt } from "@paddock/api/log/state";
import type { RecordView } from "@paddock/api/wire/records";

/** Milliseconds until the time of what is under way is over, 0 or less when it is; undefined while a Conversation waits. */
export function deadlineLeftMs({ activity, bundle, deadline }: RecordView, now: Date): number | undefined {
  if (deadline !== undefined) return Date.parse(deadline) - now.getTime();
  return activity.kind === "Active" ? deadlineAt(bundle) - now.getTime() : undefined;
}

/** Milliseconds until `delayMs` after `at`; 0 or less when that has passed. */
export function leftMs(at: number, delayMs: number, now: Date): number {
  return at + delayMs - now.getTime();
}

/** The soonest of several times to look again, as a member of a plan; undefined ones do not count. */
export function requeueAt(...delays: readonly (number | undefined)[]): { readonly requeueAfterMs?: number } {
  const given = delays.filter((delay) => delay !== undefined);
  return given.length === 0 ? {} : { requeueAfterMs: Math.min(...given) };
}
