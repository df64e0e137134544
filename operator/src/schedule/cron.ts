import { Cron } from "croner";
import { nearestZones } from "./zone-names.ts";
import { type Zone, parseZone } from "./zone.ts";

// When a cron expression fires. croner knows the calendar (fields, lists, steps, "day of month or day of week"), asked as if every day had
// 24 hours; which instant a wall time is in a zone whose clock jumps is decided here (docs/decisions/0011).

/** When a schedule fires. Instants are epoch milliseconds at the start of a minute. */
export interface Ticks {
  /** The first tick after the instant, never the instant itself; undefined when there is none any more. */
  next(after: number): number | undefined;
}

export type Reading = { readonly ticks: Ticks } | { readonly problem: string };

const MINUTE = 60_000;
const HOUR = 3_600_000;
// No zone is further from UTC.
const MAX_OFFSET = 15 * HOUR;
// The calendar repeats every 28 years but around the end of some centuries.
const HORIZON = 41 * 366 * 24 * HOUR;
const REMEMBERED = 4096;

const readings = new Map<string, Reading>();

/** Reads an expression of five fields in a time zone. `problem` is a sentence for people. The same text is read once. */
export function parseTicks(expression: string, timeZone: string): Reading {
  const key = `${timeZone} ${expression}`;
  const known = readings.get(key) ?? read(expression, timeZone);
  remember(readings, key, known);
  return known;
}

function read(expression: string, timeZone: string): Reading {
  const zone = parseZone(timeZone);
  if (zone === undefined) return { problem: unknownZone(timeZone) };
  const fields = expression.trim().toUpperCase().split(/\s+/);
  try {
    // An offset, because a zone, even UTC, is asked of Intl at each step.
    const cron = new Cron(fields.map(spellOut).join(" "), { mode: "5-part", utcOffset: 0, paused: true });
    const nextWall = (wall: number): number | undefined => cron.nextRun(new Date(wall))?.getTime();
    return { ticks: remembering(isWildcard(fields[1] ?? "") ? realTimeTicks(zone, nextWall) : fixedTicks(zone, nextWall)) };
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, "") : String(error);
    return { problem: `spec.schedule "${expression}" cannot be read (${reason}): write minute, hour, day of month, month and day of week, e.g. "30 6 * * 1-5"` };
  }
}

function unknownZone(timeZone: string): string {
  const near = nearestZones(timeZone);
  const hint = near.length === 0 ? 'an IANA name such as Europe/Berlin or UTC' : `did you mean ${near.join(", ")}?`;
  return `spec.timeZone "${timeZone}" is not a known time zone: ${hint}`;
}

// A value with a step counts from the value to the end of the range, as in a CronJob; croner wants the range.
const FIELD_MAX = [59, 23, 31, 12, 6];
function spellOut(field: string, index: number): string {
  return field
    .split(",")
    .map((item) => item.replace(/^([0-9A-Z]+)\//, `$1-${FIELD_MAX[index] ?? 0}/`))
    .join(",");
}

/** As in cron: an hour field that begins with a star, or has such an item, means "whenever the clock shows it". */
function isWildcard(hours: string): boolean {
  return hours.split(",").some((item) => item.startsWith("*"));
}

type NextWall = (wall: number) => number | undefined;

/** Every instant at which the clock shows a time of the expression: twice in a repeated hour, never in a skipped one. */
function realTimeTicks(zone: Zone, nextWall: NextWall): Ticks["next"] {
  return (after) => {
    let from = Math.floor(after / MINUTE) * MINUTE + MINUTE;
    while (from < after + HORIZON) {
      const { end, offset } = zone.segmentAt(from);
      const wall = nextWall(from + offset - 1000);
      if (wall === undefined) return undefined;
      if (wall < end + offset) return wall - offset;
      from = end;
    }
    return undefined;
  };
}

/** Each time of the expression once: the first of a repeated hour, and the first instant there is after a skipped one. */
function fixedTicks(zone: Zone, nextWall: NextWall): Ticks["next"] {
  return (after) => {
    let wall = nextWall(after + zone.segmentAt(after).offset);
    // Only the second pass of a repeated hour makes this loop: times that have had their turn already.
    while (wall !== undefined && instantOf(zone, wall) <= after) wall = nextWall(wall);
    return wall === undefined ? undefined : instantOf(zone, wall);
  };
}

function instantOf(zone: Zone, wall: number): number {
  let segment = zone.segmentAt(wall - MAX_OFFSET);
  while (wall >= segment.end + segment.offset) segment = zone.segmentAt(segment.end);
  return Math.max(wall - segment.offset, segment.start);
}

// A thousand schedules of one expression that are due together ask the same.
function remembering(next: Ticks["next"]): Ticks {
  const answers = new Map<number, number | undefined>();
  return {
    next: (after) => {
      // All ticks are whole minutes: every instant of a minute has the same answer.
      const minute = Math.floor(after / MINUTE) * MINUTE;
      if (answers.has(minute)) return answers.get(minute);
      const answer = next(minute);
      remember(answers, minute, answer, 64);
      return answer;
    },
  };
}

function remember<K, V>(memory: Map<K, V>, key: K, value: V, max = REMEMBERED): void {
  memory.delete(key);
  memory.set(key, value);
  const [oldest] = memory.keys();
  if (memory.size > max && oldest !== undefined) memory.delete(oldest);
}

export interface Gap {
  /** Excluded. */
  readonly after: number;
  /** Included. */
  readonly until: number;
  /** How many ticks are counted at most. */
  readonly bound: number;
}

/**
 * The newest tick in a stretch of time and how many there are, counted up to `bound`. The work does not grow with the stretch: the newest is
 * found by halving it, and what is beyond the bound is not counted. Pure.
 */
export function ticksBetween(ticks: Ticks, { after, until, bound }: Gap): { readonly newest: number | undefined; readonly count: number } {
  let count = 0;
  let newest: number | undefined;
  for (let tick = ticks.next(after); tick !== undefined && tick <= until; tick = ticks.next(tick)) {
    newest = tick;
    count += 1;
    if (count === bound) return { newest: newestTick(ticks, tick, until), count };
  }
  return { newest, count };
}

/** The newest tick not after `until`; `tick` is one. A minute that has a later tick before `until` lies before the newest. */
function newestTick(ticks: Ticks, tick: number, until: number): number {
  const isBefore = (minute: number): boolean => (ticks.next(minute * MINUTE) ?? Number.POSITIVE_INFINITY) <= until;
  let [low, high] = [tick / MINUTE - 1, Math.floor(until / MINUTE)];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (isBefore(middle)) low = middle;
    else high = middle;
  }
  return high * MINUTE;
}
