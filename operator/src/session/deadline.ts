import type { RecordView } from "@paddock/api/wire/records";

/** Milliseconds until the time of what is under way is over, 0 or less when it is; undefined while the session waits, and until a runner goes on. */
export function deadlineLeftMs({ deadline }: RecordView, now: Date): number | undefined {
  return deadline === undefined ? undefined : Date.parse(deadline) - now.getTime();
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
