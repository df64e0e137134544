/** A stretch of time in which a zone's clock is a fixed distance from UTC. All in milliseconds; `end` is exclusive. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  /** Wall clock minus UTC. */
  readonly offset: number;
}

/** A zone's clock. Wall times are written as the epoch milliseconds that the same clock face has in UTC. */
export interface Zone {
  /** The segment that holds the instant. */
  segmentAt(instant: number): Segment;
}

const MINUTE = 60_000;
const DAY = 86_400_000;

/** The zone of that IANA name; undefined when there is none. Remembers what it has looked up. */
export function parseZone(name: string): Zone | undefined {
  const offsetAt = readOffsets(name);
  if (offsetAt === undefined) return undefined;
  const years = new Map<number, readonly Segment[]>();
  const segmentAt = (instant: number): Segment => {
    const year = new Date(instant).getUTCFullYear();
    const known = years.get(year) ?? readYear(offsetAt, year);
    years.set(year, known);
    const found = known.find(({ end }) => instant < end);
    if (found === undefined) throw new RangeError(`no segment of ${name} at ${instant}`);
    return found;
  };
  return { segmentAt };
}

// Day by day, because the shortest time a zone has kept a rule is weeks (Egypt and Morocco stop their summer time for Ramadan).
function readYear(offsetAt: (instant: number) => number, year: number): readonly Segment[] {
  const endOfYear = Date.UTC(year + 1, 0, 1);
  const segments: Segment[] = [];
  let start = Date.UTC(year, 0, 1);
  let offset = offsetAt(start);
  for (let day = start; day < endOfYear; day += DAY) {
    const next = Math.min(day + DAY, endOfYear);
    // At the very end of the year the next year's first segment begins, with whatever offset it has.
    const last = next === endOfYear ? next - MINUTE : next;
    const after = offsetAt(last);
    if (after === offset) continue;
    const end = changeBetween(offsetAt, day, last);
    segments.push({ start, end, offset });
    start = end;
    offset = after;
  }
  return [...segments, { start, end: endOfYear, offset }];
}

/** The minute of (low, high] from which on the offset is that of `high`. */
function changeBetween(offsetAt: (instant: number) => number, low: number, high: number): number {
  const after = offsetAt(high);
  let [before, from] = [low / MINUTE, high / MINUTE];
  while (from - before > 1) {
    const middle = Math.floor((before + from) / 2);
    if (offsetAt(middle * MINUTE) === after) from = middle;
    else before = middle;
  }
  return from * MINUTE;
}

const FACE = /^(\d+)\/(\d+)\/(\d+), (\d+):(\d+)$/;

function readOffsets(name: string): ((instant: number) => number) | undefined {
  try {
    const format = new Intl.DateTimeFormat("en-US", { timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" });
    return (instant) => {
      const [month = 1, day = 1, year = 1970, hour = 0, minute = 0] = (FACE.exec(format.format(instant))?.slice(1) ?? []).map(Number);
      return Date.UTC(year, month - 1, day, hour, minute) - instant;
    };
  } catch {
    return undefined;
  }
}
