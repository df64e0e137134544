import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Ticks, parseTicks, ticksBetween } from "./cron.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
// In minutes.
const DAY = 24 * 60;

function ticksOf(expression: string, timeZone: string): Ticks {
  const reading = parseTicks(expression, timeZone);
  assert.ok("ticks" in reading, JSON.stringify(reading));
  return reading.ticks;
}

function instants(ticks: Ticks, after: number, until: number): number[] {
  const all: number[] = [];
  for (let tick = ticks.next(after); tick !== undefined && tick <= until; tick = ticks.next(tick)) all.push(tick);
  return all;
}

const texts = (ticks: readonly number[]): string[] => ticks.map((tick) => new Date(tick).toISOString().slice(0, 16));

// ---------------------------------------------------------------------------------------------------------------------------------------
// The oracle: every minute of two years as the zone's clock shows it, by Intl alone, and fields matched by the simplest means. In here times are minutes
// since the epoch, and a clock face is the minute at which a clock in UTC shows it.

interface Clock {
  readonly from: number;
  /** The face at each minute from `from` on. */
  readonly faces: Int32Array;
}

/** Intl is asked at each hour, and at each minute of an hour in which the clock was changed. */
function clockOf(timeZone: string, from: number, until: number): Clock {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "short" });
  const faceAt = (at: number): number => Date.parse(`${format.format(at * MINUTE).replace(" ", "T")}Z`) / MINUTE;
  const faces = new Int32Array(until - from);
  let first = faceAt(from);
  for (let hour = from; hour < until; hour += 60) {
    const next = faceAt(hour + 60);
    for (let at = hour; at < hour + 60; at += 1) faces[at - from] = next - first === 60 ? first + at - hour : faceAt(at);
    first = next;
  }
  return { from, faces };
}

function isIn(field: string, value: number): boolean {
  return field.split(",").some((item) => {
    const [range = "", step = "1"] = item.split("/");
    // Only minutes and hours are stepped from a star here: both begin at 0.
    if (range === "*") return value % Number(step) === 0;
    const [low = 0, high = low] = range.split("-").map(Number);
    return value >= low && value <= high && (value - low) % Number(step) === 0;
  });
}

/** Which faces belong to the expression: 1 for each that does, from midnight of the day that holds `from` on. */
function facesOf(expression: string, from: number, days: number): { readonly first: number; readonly due: Uint8Array } {
  const [minute = "", hour = ""] = expression.split(" ");
  const times = Uint8Array.from({ length: DAY }, (_, index) => Number(isIn(minute, index % 60) && isIn(hour, Math.floor(index / 60))));
  const first = from - (from % DAY);
  const due = new Uint8Array(days * DAY);
  for (let at = 0; at < due.length; at += DAY) if (isDay(expression, new Date((first + at) * MINUTE))) due.set(times, at);
  return { first, due };
}

function isDay(expression: string, face: Date): boolean {
  const [, , day = "", month = "", weekday = ""] = expression.split(" ");
  const [ofMonth, ofWeek] = [isIn(day, face.getUTCDate()), isIn(weekday, face.getUTCDay())];
  return isIn(month, face.getUTCMonth() + 1) && (day === "*" || weekday === "*" ? ofMonth && ofWeek : ofMonth || ofWeek);
}

/** What the rules of resources.md say, from all minutes of the clock: epoch milliseconds. */
function expected(expression: string, { from, faces }: Clock): number[] {
  const { first, due } = facesOf(expression, from - DAY, faces.length / DAY + 3);
  const isWildcard = expression.split(" ")[1]?.startsWith("*") === true;
  const found: number[] = [];
  let newest = (faces[0] ?? 0) - 1;
  for (let index = 0; index < faces.length; index += 1) {
    const face = faces[index] ?? 0;
    // Fixed: every time of day up to what is shown now that has not been yet: one, unless an hour was skipped; none in a repeated hour.
    let fires = false;
    for (let shown = isWildcard ? face : newest + 1; shown <= face; shown += 1) fires ||= due[shown - first] === 1;
    if (fires) found.push((from + index) * MINUTE);
    newest = Math.max(newest, face);
  }
  return found;
}

/** Epoch milliseconds at which the distance to UTC changes. */
function changesOf({ from, faces }: Clock): number[] {
  const changes: number[] = [];
  faces.forEach((face, index) => {
    if (index > 0 && face - (faces[index - 1] ?? 0) !== 1) changes.push((from + index) * MINUTE);
  });
  return changes;
}

// Two years each; for zones that changed their rules, the years around the change.
const ZONES: readonly (readonly [zone: string, year: number, why: string])[] = [
  ["Europe/Berlin", 2025, "changes at 01:00 UTC"],
  ["America/New_York", 2025, "changes at 02:00 local"],
  ["America/St_Johns", 2010, "UTC-3:30, changed at 00:01 until 2011"],
  ["Australia/Lord_Howe", 2025, "moves by 30 minutes"],
  ["Australia/Sydney", 2025, "southern"],
  ["America/Santiago", 2021, "southern, at midnight, rule moved in 2022"],
  ["Africa/Cairo", 2014, "four changes a year, then none"],
  ["Africa/Cairo", 2022, "summer time back in 2023, at midnight"],
  ["Africa/Casablanca", 2025, "summer time stops for Ramadan"],
  ["Asia/Tehran", 2021, "summer time abolished in 2022"],
  ["America/Mexico_City", 2022, "summer time abolished in 2022"],
  ["Europe/Moscow", 2010, "permanent summer time in 2011"],
  ["Europe/Moscow", 2014, "moved back for good in 2014"],
  ["Asia/Amman", 2022, "stayed on summer time in 2022"],
  ["Asia/Kathmandu", 2025, "UTC+5:45"],
  ["UTC", 2025, "never changes"],
  ["Pacific/Apia", 2011, "skipped 30 December 2011"],
];

const EXPRESSIONS = ["30 2 * * *", "0 0 * * *", "*/20 1-3 * * 0,5", "15 1,2 1,15 * 1", "59 23 * * 0", "0 6 30 12 *", "5 0-23 28-31 * *", "30 */6 * * *", "0 */2 * * 0"];

describe("ticks in every zone", () => {
  for (const [zone, year, why] of ZONES) {
    const [from, until] = [Date.UTC(year, 0, 1), Date.UTC(year + 2, 0, 1)];
    const clock = clockOf(zone, from / MINUTE, until / MINUTE);

    it(`${zone} from ${year} (${why}) are those of the clock, minute by minute`, () => {
      assert.ok(clock.faces.length > 1_000_000);
      // Before the first day the oracle does not know what the clock has shown already.
      const start = from + 24 * HOUR;
      for (const expression of EXPRESSIONS) {
        const wanted = expected(expression, clock).filter((tick) => tick > start);
        assert.ok(wanted.length > 0, expression);
        assert.deepEqual(texts(instants(ticksOf(expression, zone), start, until - 1)), texts(wanted), expression);
      }
    });

    it(`${zone} from ${year}: every seventh minute of the hours around a change`, () => {
      const wanted = expected("*/7 * * * *", clock);
      for (const change of [...changesOf(clock), from + 1000 * HOUR]) {
        const [first, last] = [change - 3 * HOUR, change + 3 * HOUR];
        const near = wanted.filter((tick) => tick > first && tick <= last);
        assert.deepEqual(texts(instants(ticksOf("*/7 * * * *", zone), first, last)), texts(near));
      }
    });
  }
});

describe("nextTick", () => {
  const next = (expression: string, zone: string, after: string): string | undefined => {
    const tick = ticksOf(expression, zone).next(Date.parse(after));
    return tick === undefined ? undefined : new Date(tick).toISOString();
  };

  it("runs a fixed time of the repeated hour once", () => {
    assert.deepEqual(texts(instants(ticksOf("30 2 * * *", "Europe/Berlin"), Date.parse("2026-10-24T12:00:00Z"), Date.parse("2026-10-26T12:00:00Z"))), ["2026-10-25T00:30", "2026-10-26T01:30"]);
  });

  it("runs a fixed time of the skipped hour at the first instant after it", () => {
    assert.equal(next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00.000Z");
  });

  it("runs all times of a skipped hour as one", () => {
    assert.deepEqual(texts(instants(ticksOf("*/15 2,3 * * *", "Europe/Berlin"), Date.parse("2026-03-29T00:00:00Z"), Date.parse("2026-03-29T01:20:00Z"))), ["2026-03-29T01:00", "2026-03-29T01:15"]);
  });

  it("runs every hour of a wildcard in real time, twice in the repeated one", () => {
    assert.deepEqual(texts(instants(ticksOf("30 * * * *", "Europe/Berlin"), Date.parse("2026-10-24T23:00:00Z"), Date.parse("2026-10-25T03:00:00Z"))), ["2026-10-24T23:30", "2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]);
  });

  it("is never the instant itself", () => {
    assert.equal(next("0 6 * * *", "UTC", "2026-01-01T06:00:00Z"), "2026-01-02T06:00:00.000Z");
    assert.equal(next("0 6 * * *", "UTC", "2026-01-01T05:59:59.999Z"), "2026-01-01T06:00:00.000Z");
  });

  it("takes a day of the month or a day of the week when both are given", () => {
    assert.equal(next("0 0 13 * 5", "UTC", "2026-11-11T00:00:00Z"), "2026-11-13T00:00:00.000Z");
    assert.equal(next("0 0 20 * 1", "UTC", "2026-11-13T00:00:00Z"), "2026-11-16T00:00:00.000Z");
  });

  it("knows 7 and SUN as Sunday, also at the end of a range", () => {
    for (const sunday of ["0", "7", "SUN", "sun"]) assert.equal(next(`0 0 * * ${sunday}`, "UTC", "2026-11-21T00:00:00Z"), "2026-11-22T00:00:00.000Z", sunday);
    assert.equal(next("0 0 * * SAT-SUN", "UTC", "2026-11-21T00:00:00Z"), "2026-11-22T00:00:00.000Z");
  });

  it("counts a step from its value to the end of the range", () => {
    assert.equal(next("5/15 * * * *", "UTC", "2026-01-01T00:21:00Z"), "2026-01-01T00:35:00.000Z");
  });

  it("is undefined for a day that no year has", () => {
    assert.equal(next("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z"), undefined);
    assert.equal(next("0 0 31 2,4,6 *", "Europe/Berlin", "2026-01-01T00:00:00Z"), undefined);
  });

  it("waits eight years for a leap day when it must", () => {
    assert.equal(next("0 0 29 2 *", "America/Santiago", "2096-03-01T12:00:00Z"), "2104-02-29T03:00:00.000Z");
  });
});

describe("ticksBetween", () => {
  const ticks = ticksOf("* * * * *", "Europe/Berlin");
  const after = Date.parse("2025-01-01T00:00:00Z");

  it("excludes where it begins and includes where it ends", () => {
    assert.deepEqual(ticksBetween(ticks, { after, until: after + 2 * MINUTE, bound: 10 }), { newest: after + 2 * MINUTE, count: 2 });
    assert.deepEqual(ticksBetween(ticks, { after, until: after + MINUTE - 1, bound: 10 }), { newest: undefined, count: 0 });
  });

  it("finds the newest of a year of minutes by asking few times", () => {
    let asked = 0;
    const counting: Ticks = { next: (at) => ((asked += 1), ticks.next(at)) };
    const until = after + 365 * 24 * HOUR + 30_000;
    assert.deepEqual(ticksBetween(counting, { after, until, bound: 100 }), { newest: until - 30_000, count: 100 });
    assert.ok(asked < 150, `${asked} questions`);
  });

  it("finds the same newest tick and count as a walk over all of them", () => {
    const expressions = ["* * * * *", "*/7 1-4 * * *", "30 2 * * 0", "0 */3 1 * *", "15 2 * 3,10 *"];
    fc.assert(
      fc.property(fc.constantFrom(...expressions), fc.integer({ min: 0, max: 500_000 }), fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 1, max: 9 }), (expression, from, length, bound) => {
        const some = ticksOf(expression, "America/New_York");
        const start = after + from * MINUTE;
        const until = start + length * MINUTE + 1;
        const all = instants(some, start, until);
        assert.deepEqual(ticksBetween(some, { after: start, until, bound }), { newest: all.at(-1), count: Math.min(all.length, bound) });
      }),
      { numRuns: 60 },
    );
  });
});

describe("parseTicks", () => {
  const problem = (expression: string, zone: string): string => {
    const reading = parseTicks(expression, zone);
    assert.ok("problem" in reading, expression);
    return reading.problem;
  };

  it("names zones close to one that does not exist", () => {
    assert.match(problem("0 0 * * *", "Europe/Berlni"), /spec\.timeZone "Europe\/Berlni" is not a known time zone: did you mean Europe\/Berlin/);
    assert.match(problem("0 0 * * *", "America/NewYork"), /America\/New_York/);
    assert.match(problem("0 0 * * *", "Berlin"), /Europe\/Berlin/);
    assert.match(problem("0 0 * * *", "UTCC"), /UTC/);
    assert.match(problem("0 0 * * *", "Qqqqqqqqqqqqqqqqqqqqq"), /an IANA name such as Europe\/Berlin or UTC/);
  });

  it("says what an expression should be that it cannot read", () => {
    assert.match(problem("5-1 * * * *", "UTC"), /spec\.schedule "5-1 \* \* \* \*" cannot be read .*write minute, hour/);
  });

  it("takes aliases of zones", () => {
    assert.ok("ticks" in parseTicks("0 0 * * *", "Europe/Kiev"));
    assert.ok("ticks" in parseTicks("0 0 * * *", "US/Pacific"));
  });
});
