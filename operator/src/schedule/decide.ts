import { ANNOTATIONS, shorten } from "@paddock/api/names";
import type { Schedule, ScheduleStatus } from "@paddock/api/schedule";
import type { Fault, Plan } from "../kernel/kind.ts";
import { type ScheduleClaim, claimReady, claimStalled, keptRefusal } from "./claim.ts";
import { type Ticks, parseTicks } from "./cron.ts";
import { type Fire, fire, hasServed } from "./fire.ts";
import { type Runs, pruneHistory, readRuns } from "./history.ts";
import { minuteKey, triggerKey } from "./names.ts";
import type { ScheduleWorld } from "./observe.ts";
import { type Timetable, latenessMs, readTimetable } from "./timetable.ts";

// Never twice, never lost. What fires is a key: the UTC minute of a time that status announced before it came, or the value of a trigger.
// The session's name follows from the Schedule's UID and the key, so that creating it is the deed and can be done only once: "already exists"
// with our UID as owner means done. Status moves on after the deed, in the same pass, and stays where it is when the deed failed.
// - Crash before the create: status still announces the time; whoever comes next serves it, within the deadline.
// - Crash between create and status: the same, and the create answers "already exists", or the cache shows the session: done, status moves on.
// - The status write is lost or refused as a conflict: the same again. The write carries the resource version that was decided on, so an edit
//   in between is seen first, and an edit ends what was announced unless its session is there.
// - A message to a conversation has an id made of the same UID and key, and the log keeps one of each: the same argument with "known".
// A time is given up only by status telling so (missed), and a new one is announced only from `now` on.

// A computer that sleeps does not count the time to the next tick, so no timer is trusted for longer; a pass without news costs no request.
const MAX_REST_MS = 60_000;

type Fields = Omit<ScheduleStatus, "conditions" | "observedGeneration">;

/** What to do about a Schedule: the first case that fits. Pure. */
export function decideSchedule(world: ScheduleWorld, date: Date): Plan<ScheduleStatus> {
  const { self } = world;
  const now = date.getTime();
  if (self.metadata.deletionTimestamp !== undefined) return { actions: [], claims: undefined };
  const runs = readRuns(world);
  const reading = parseTicks(self.spec.schedule, self.spec.timeZone ?? "UTC");
  if ("problem" in reading) return rest({ world, runs, ready: claimStalled("InvalidSchedule", reading.problem), fields: { ...fieldsOf(self, runs), nextScheduleTime: undefined } });
  const time = { world, runs, now, ticks: reading.ticks };
  const trigger = pendingTrigger(self);
  return trigger === undefined ? decideTime(time) : decideTrigger(time, trigger);
}

interface Time {
  readonly world: ScheduleWorld;
  readonly runs: Runs;
  readonly now: number;
  readonly ticks: Ticks;
}

function decideTime(time: Time): Plan<ScheduleStatus> {
  const { world, runs, now, ticks } = time;
  const { self } = world;
  if (self.spec.suspend === true) return rest({ world, runs, ready: suspended(self), fields: { ...fieldsOf(self, runs), nextScheduleTime: undefined } });
  const table = readTimetable(self, ticks, { now, hasRun: (tick) => hasServed(world, minuteKey(tick)) });
  if (table.due !== undefined) return decideDue(time, table, table.due);
  const fields = movedOn(fieldsOf(self, runs), table);
  if (table.next === undefined) return rest({ world, runs, ready: claimStalled("NeverFires", neverFires(self)), fields });
  return rest({ world, runs, ready: keptRefusal(self) ?? available(self), fields, requeueAfterMs: restMs(now, table.next) });
}

function decideDue({ world, runs, now }: Time, table: Timetable, due: number): Plan<ScheduleStatus> {
  const { self } = world;
  const firing = fire(world, minuteKey(due));
  // While it waits, or was refused, the due time stays announced; the older ones are gone for good.
  const waiting: Fields = { ...movedOn(fieldsOf(self, runs), { missed: table.missed, next: due }) };
  const requeueAfterMs = restMs(now, table.next, due + latenessMs(self) + 1);
  if (firing.verb === "wait") return rest({ world, runs, ready: keptRefusal(self) ?? claimReady("Available", firing.reason), fields: waiting, requeueAfterMs });
  const done = { ...served(movedOn(fieldsOf(self, runs), table), { world, runs, firing, now }), lastScheduleTime: timeText(due) };
  return act({ world, runs, firing, done, waiting, requeueAfterMs });
}

/** A trigger is served whatever the time and though the schedule is suspended, as a Job can be made from a suspended CronJob; it is not late, ever. */
function decideTrigger(time: Time, value: string): Plan<ScheduleStatus> {
  const { world, runs, now } = time;
  const { self } = world;
  const firing = fire(world, triggerKey(value));
  const before = fieldsOf(self, runs);
  if (firing.verb === "wait") {
    const plan = decideTime(time);
    const ready = claimReady(self.spec.suspend === true ? "Suspended" : "Available", `The trigger "${shorten(value, 64)}" waits: ${firing.reason}`);
    return { ...plan, claims: keptRefusal(self) === undefined && plan.actions.length === 0 ? [...ready, runs.lastRun] : plan.claims };
  }
  // An edit that came with the trigger begins a new timetable, and status is about to say that it was seen.
  const { missed, next, ran } = self.spec.suspend === true ? { missed: 0, next: undefined, ran: undefined } : afterTrigger(time);
  const fields = movedOn(before, { missed, next, ran });
  // Once it is served, status tells the trigger, and that write brings the pass that looks at the time. A refused one must rest like any other.
  return act({ world, runs, firing, done: { ...served(fields, { world, runs, firing, now }), observedTrigger: shorten(value, 256) }, waiting: fields, requeueAfterMs: MAX_REST_MS });
}

// A time that is due stays announced: the pass after this one serves it.
function afterTrigger({ world, now, ticks }: Time): Pick<Timetable, "missed" | "next"> & { readonly ran: number | undefined } {
  const { due, missed, next, ran } = readTimetable(world.self, ticks, { now, hasRun: (tick) => hasServed(world, minuteKey(tick)) });
  return { missed, next: due ?? next, ran };
}

interface Acting {
  readonly world: ScheduleWorld;
  readonly runs: Runs;
  readonly firing: Fire;
  /** Status when all went well, and when it did not. */
  readonly done: Fields;
  readonly waiting: Fields;
  readonly requeueAfterMs: number;
}

function act({ world: { self }, runs, firing, done, waiting, requeueAfterMs }: Acting): Plan<ScheduleStatus> {
  const ready = self.spec.suspend === true ? suspended(self) : done.nextScheduleTime === undefined ? claimStalled("NeverFires", neverFires(self)) : available(self);
  const lastRun: ScheduleClaim = self.spec.sessionMode === "Resume" ? { type: "LastRunSucceeded", status: "True", reason: "Succeeded", message: `Session ${firing.conversation?.name ?? ""} has taken the prompt.` } : runs.lastRun;
  return {
    actions: firing.actions,
    claims: [...ready, lastRun],
    status: done,
    requeueAfterMs,
    onFault: ({ kind }: Fault) => ({
      claims: [...(keptRefusal(self) ?? ready), runs.lastRun],
      status: kind === "log-conflict" && firing.otherwise !== undefined ? { ...waiting, conversation: firing.otherwise } : waiting,
    }),
  };
}

interface Resting {
  readonly world: ScheduleWorld;
  readonly runs: Runs;
  readonly ready: readonly ScheduleClaim[];
  readonly fields: Fields;
  readonly requeueAfterMs?: number;
}

function rest({ world, runs, ready, fields, requeueAfterMs }: Resting): Plan<ScheduleStatus> {
  return { actions: pruneHistory(world, runs), claims: [...ready, runs.lastRun], status: fields, ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }) };
}

function fieldsOf({ status, spec }: Schedule, { active, lastCompletionTime, lastSuccessfulTime }: Runs): Fields {
  const { conditions: _, observedGeneration: __, conversation, ...before } = status ?? {};
  return { ...before, active: active.length, lastCompletionTime, lastSuccessfulTime, conversation: spec.sessionMode === "Resume" ? conversation : undefined };
}

function movedOn(fields: Fields, { missed, next, ran }: { readonly missed: number; readonly next: number | undefined; readonly ran?: number | undefined }): Fields {
  return {
    ...fields,
    nextScheduleTime: next === undefined ? undefined : timeText(next),
    missed: missed === 0 ? fields.missed : (fields.missed ?? 0) + missed,
    ...(ran === undefined ? {} : { lastScheduleTime: timeText(ran) }),
  };
}

interface Served {
  readonly world: ScheduleWorld;
  readonly runs: Runs;
  readonly firing: Fire;
  readonly now: number;
}

/** Counts what the actions make, so that seeing the session needs no second write. */
function served(fields: Fields, { world: { self }, runs, firing, now }: Served): Fields {
  const created = firing.actions.filter(({ verb }) => verb === "create").length;
  return {
    ...fields,
    active: runs.active.length - firing.replaced + created,
    conversation: firing.conversation,
    ...(self.spec.sessionMode === "Resume" ? { lastSuccessfulTime: timeText(now) } : {}),
  };
}

function pendingTrigger({ metadata, status }: Schedule): string | undefined {
  const value = metadata.annotations?.[ANNOTATIONS.trigger] ?? "";
  return value === "" || shorten(value, 256) === status?.observedTrigger ? undefined : value;
}

function available({ spec }: Schedule): readonly ScheduleClaim[] {
  return claimReady("Available", `Fires at "${spec.schedule}" in ${spec.timeZone ?? "UTC"}.`);
}

function suspended({ metadata: { name, namespace } }: Schedule): readonly ScheduleClaim[] {
  return claimReady("Suspended", `spec.suspend is true: nothing fires but the annotation ${ANNOTATIONS.trigger}, as in kubectl annotate schedule ${name} -n ${namespace} --overwrite ${ANNOTATIONS.trigger}="$(date +%s)"`);
}

function neverFires({ spec }: Schedule): string {
  return `spec.schedule "${spec.schedule}" never fires: no year has such a day. Write a day of the month that its months have`;
}

function timeText(instant: number): string {
  return `${new Date(instant).toISOString().slice(0, 19)}Z`;
}

function restMs(now: number, ...instants: readonly (number | undefined)[]): number {
  const left = instants.filter((instant) => instant !== undefined).map((instant) => instant - now);
  return Math.max(1, Math.min(MAX_REST_MS, ...left));
}
