import type { Schedule } from "@paddock/api/schedule";
import { type Ticks, ticksBetween } from "./cron.ts";

/** Seconds that a run may be late when spec does not say. */
const DEADLINE_SECONDS = 300;
/** Of each absence so many times are counted as missed; a year of minutes is not gone through to tell an exact number. */
export const MISSED_BOUND = 100;

/** By so much a clock that is being corrected may go back without a new announcement. */
const JITTER = 5_000;
/** A run further ahead than this was told by a clock that was wrong. */
const TRUSTED_AHEAD = 3_600_000;

/** What is due, and what comes then. Instants are epoch milliseconds. */
export interface Timetable {
  /** The newest time that has come and may still be served. */
  readonly due?: number;
  /** A time whose session is there though status has not told it yet. */
  readonly ran?: number;
  /** Times that passed without a run and will have none. */
  readonly missed: number;
  /** The next time to come, to be announced; undefined when there is none any more. */
  readonly next: number | undefined;
}

/**
 * The announced time decides: it was told in status before it came. Every edit of spec, and the end of a suspension, begins anew from `now`,
 * so that neither fires for the past. Of several times that have come only the newest can be due, and only within the deadline.
 * `hasRun` tells times whose session is there. Pure.
 */
export function readTimetable(self: Schedule, ticks: Ticks, { now, hasRun }: { readonly now: number; hasRun(tick: number): boolean }): Timetable {
  const announced = announcedAt(self);
  if (isEdited(self)) return { ...settle(announced, { now, hasRun }), next: ticks.next(now) };
  const first = announced === undefined ? ticks.next(isUnseen(self) ? Date.parse(self.metadata.creationTimestamp) : now) : soonestOf(self, ticks, { announced, now });
  if (first === undefined || first > now) return { missed: 0, next: first };
  return readPassed(self, ticks, { first, now, hasRun });
}

/**
 * The announced time, or a sooner one: a time that lies between shows that the clock was ahead when this one was announced, or that the zone's rules have
 * changed since. What the newest run was for does not come again, unless that is so far ahead that the same clock has told it.
 */
function soonestOf({ status }: Schedule, ticks: Ticks, { announced, now }: { readonly announced: number; readonly now: number }): number {
  if (announced <= now) return announced;
  const last = Date.parse(status?.lastScheduleTime ?? "");
  const sooner = ticks.next(last < now + TRUSTED_AHEAD ? Math.max(last, now + JITTER) : now + JITTER);
  return sooner === undefined ? announced : Math.min(sooner, announced);
}

/** At least one time, `first`, has come. */
function readPassed(self: Schedule, ticks: Ticks, { first, now, hasRun }: { readonly first: number; readonly now: number; hasRun(tick: number): boolean }): Timetable {
  const { newest = first, count } = ticksBetween(ticks, { after: first, until: now, bound: MISSED_BOUND });
  const next = ticks.next(now);
  // The announced one may have its session from before a crash; those after it were never announced.
  const older = count === 0 ? 0 : count - (hasRun(first) ? 1 : 0);
  const isInTime = newest + latenessMs(self) >= now;
  return isInTime || hasRun(newest) ? { due: newest, missed: older, next } : { missed: older + 1, next };
}

// An edit that comes together with a time ends it, unless its session has been made.
function settle(announced: number | undefined, { now, hasRun }: { readonly now: number; hasRun(tick: number): boolean }): Pick<Timetable, "missed" | "ran"> {
  if (announced === undefined || announced > now) return { missed: 0 };
  return hasRun(announced) ? { missed: 0, ran: announced } : { missed: 1 };
}

/** Until when a run of this time may start, in milliseconds after it: whole seconds count. */
export function latenessMs({ spec }: Schedule): number {
  return (spec.startingDeadlineSeconds ?? DEADLINE_SECONDS) * 1000 + 999;
}

/** The time that status tells for the next run; undefined when it tells none. */
export function announcedAt({ status }: Schedule): number | undefined {
  const time = Date.parse(status?.nextScheduleTime ?? "");
  return Number.isNaN(time) ? undefined : time;
}

function isUnseen({ status, metadata }: Schedule): boolean {
  return (status?.observedGeneration ?? -1) === -1 && metadata.generation === 1;
}

function isEdited(self: Schedule): boolean {
  return !isUnseen(self) && self.status?.observedGeneration !== self.metadata.generation;
}
