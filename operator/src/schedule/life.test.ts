import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { ANNOTATIONS } from "@paddock/api/names";
import type { Schedule, ScheduleSpec, ScheduleStatus } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { Action, Fault, Ports, Read, Source } from "../kernel/kind.ts";
import { reconcile } from "../kernel/reconcile.ts";
import { BY_SCHEDULE, BY_UID, records, schedules, sessions } from "../sources.ts";
import type { RunManifest } from "./run.ts";
import { scheduleKind } from "./schedule.ts";

// A Schedule through its life: real passes over a world in memory that keeps the API server's and the log's promises (one object per name,
// one input per id, status only on the version that was read), can be edited, and dies after any write.

const KEY = { namespace: "team", name: "nightly" };
const MINUTE = 60_000;
const at = (text: string): number => Date.parse(text);
const START = at("2026-11-21T10:00:30Z");

class Crash extends Error {}

const spec = (change: Partial<ScheduleSpec> = {}): ScheduleSpec => ({
  schedule: "0 * * * *",
  sessionTemplate: { spec: { agentRef: { name: "agent" }, environmentRef: { name: "environment" }, prompt: "go" } },
  ...change,
});

const conversation = (change: Partial<ScheduleSpec> = {}): ScheduleSpec =>
  spec({ sessionMode: "Resume", sessionTemplate: { spec: { agentRef: { name: "agent" }, environmentRef: { name: "environment" }, prompt: "go", mode: "Conversation" } }, ...change });

interface House {
  now: number;
  self: Schedule;
  /** Sessions there are. */
  readonly sessions: Map<string, Session>;
  /** Keys of every run there has ever been: created sessions and messages taken. */
  readonly runs: string[];
  /** Accepted writes. */
  readonly writes: string[];
  /** Dies right after this many more writes; the write itself is accepted. */
  dieAfter: number | undefined;
  refuses: Fault["kind"] | undefined;
  refusesCreates: Fault["kind"] | undefined;
  /** How the log shows conversations. */
  activity: "Active" | "Waiting";
  /** When the newest pass wants to be made again. */
  againMs: number | undefined;
  edit(change: Partial<ScheduleSpec>): void;
  trigger(value: string): void;
  finish(name: string, succeeded: boolean): void;
  pass(): Promise<void>;
  /** Passes until one writes nothing; fails when that does not come. */
  settle(): Promise<void>;
}

function open(initial: ScheduleSpec): House {
  let version = 1;
  let born = 0;
  const inputs = new Map<string, Set<string>>();
  const bump = (metadata: Schedule["metadata"]): Schedule["metadata"] => ({ ...metadata, resourceVersion: String((version += 1)) });
  const uidOf = (name: string): string => house.sessions.get(name)?.metadata.uid ?? "";
  const accepted = (what: string): void => {
    house.writes.push(what);
    if (house.dieAfter === undefined) return;
    house.dieAfter -= 1;
    if (house.dieAfter <= 0) throw new Crash();
  };
  const act = async (action: Action): Promise<void> => {
    if (house.refuses !== undefined) throw Object.assign(new Error("refused"), { kind: house.refuses });
    if (action.verb === "create" && house.refusesCreates !== undefined) throw Object.assign(new Error("refused"), { kind: house.refusesCreates });
    if (action.verb === "create") return create(action.object as RunManifest);
    if (action.verb === "delete") {
      house.sessions.delete(action.key.name);
      return accepted(`delete ${action.key.name}`);
    }
    assert.equal(action.verb, "append");
    if (action.verb === "append") append(action.uid, action.events[0]?.data as { id: string });
  };
  const create = ({ metadata, spec: session }: RunManifest): void => {
    const there = house.sessions.get(metadata.name);
    if (there !== undefined) {
      if (there.metadata.ownerReferences?.[0]?.uid === house.self.metadata.uid) return;
      throw Object.assign(new Error("not ours"), { kind: "name-conflict" });
    }
    born += 1;
    const uid = `session-${born}`;
    house.sessions.set(metadata.name, { apiVersion: "v1", kind: "Session", metadata: { ...metadata, uid, resourceVersion: "1", creationTimestamp: new Date(house.now).toISOString() }, spec: session });
    inputs.set(uid, new Set());
    house.runs.push(metadata.annotations[ANNOTATIONS.scheduledAt] ?? "");
    accepted(`create ${metadata.name}`);
  };
  const append = (uid: string, { id }: { readonly id: string }): void => {
    const taken = inputs.get(uid);
    const session = [...house.sessions.values()].find(({ metadata }) => metadata.uid === uid);
    if (taken?.has(id) === true) return accepted(`append ${id}`);
    if (taken === undefined || session === undefined || isDone(session)) throw Object.assign(new Error("finished"), { kind: "log-conflict" });
    taken.add(id);
    house.runs.push(id.slice(id.indexOf("/") + 1));
    accepted(`append ${id}`);
  };
  const status = async (self: { readonly metadata: { readonly resourceVersion: string } }, next: ScheduleStatus): Promise<void> => {
    if (self.metadata.resourceVersion !== house.self.metadata.resourceVersion) throw Object.assign(new Error("modified"), { kind: "conflict" });
    // As the API server's JSON reader does it: half a character becomes U+FFFD.
    const stored = JSON.parse(JSON.stringify(next), (_, value: unknown) => (typeof value === "string" ? value.toWellFormed() : value)) as ScheduleStatus;
    house.self = { ...house.self, metadata: bump(house.self.metadata), status: stored };
    accepted("status");
  };
  const read: Read = {
    get: <T>(source: Source<T>) => (source.name === schedules.name ? (house.self as T) : undefined),
    list: <T>(source: Source<T>, index: string, value: string): readonly T[] => {
      if (source.name === sessions.name && index === BY_SCHEDULE) return [...house.sessions.values()].filter(({ metadata }) => metadata.ownerReferences?.some(({ uid }) => uid === value)) as T[];
      if (source.name === records.name && index === BY_UID) return (inputs.has(value) ? [{ uid: value, activity: { kind: house.activity, for: "input" } }] : []) as T[];
      return [];
    },
    isSynced: () => true,
  };
  const classify = (error: unknown): Fault => {
    if (error instanceof Crash) throw error;
    const { kind, message } = error as Fault;
    if (kind === undefined) throw error;
    return { kind, message, retry: kind === "unavailable" || kind === "conflict" || kind === "log-conflict", cause: error };
  };
  const ports: Ports<ScheduleStatus> = { read, write: { act, status }, announce: () => undefined, now: () => new Date(house.now), classify };
  const metadata = { ...KEY, uid: "schedule-uid", resourceVersion: "1", generation: 1, creationTimestamp: new Date(START).toISOString(), annotations: {} };
  const house: House = {
    now: START,
    self: { apiVersion: "paddock.dev/v1alpha1", kind: "Schedule", metadata, spec: initial },
    sessions: new Map(),
    runs: [],
    writes: [],
    dieAfter: undefined,
    refuses: undefined,
    refusesCreates: undefined,
    activity: "Waiting",
    againMs: undefined,
    edit: (change) => {
      house.self = { ...house.self, metadata: { ...bump(house.self.metadata), generation: (house.self.metadata.generation ?? 0) + 1 }, spec: { ...house.self.spec, ...change } };
    },
    trigger: (value) => {
      house.self = { ...house.self, metadata: { ...bump(house.self.metadata), annotations: { ...house.self.metadata.annotations, [ANNOTATIONS.trigger]: value } } };
    },
    finish: (name, succeeded) => {
      const session = house.sessions.get(name);
      assert.ok(session, `${uidOf(name)} ${name}`);
      const condition = (type: string, value: "True" | "False") => ({ type, status: value, reason: succeeded ? "Completed" : "ModelError", message: "", lastTransitionTime: "" });
      const conditions = [condition("Finished", "True"), condition("Succeeded", succeeded ? "True" : "False")];
      house.sessions.set(name, { ...session, status: { conditions, completionTime: new Date(house.now).toISOString() } });
    },
    pass: async () => {
      try {
        house.againMs = (await reconcile(scheduleKind(), KEY, ports)).requeueAfterMs;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        house.dieAfter = undefined;
      }
    },
    settle: async () => {
      for (let passes = 0; passes < 12; passes += 1) {
        const before = house.writes.length;
        const seen = house.self;
        await house.pass();
        if (house.writes.length === before && house.self === seen) return;
      }
      assert.fail(`no silence: ${house.writes.slice(-6).join(", ")}`);
    },
  };
  return house;
}

function isDone(session: Session): boolean {
  return session.status?.conditions?.some(({ type }) => type === "Finished") === true;
}

/** Time goes on and every pass that is due is made. */
async function go(house: House, text: string): Promise<void> {
  house.now = at(text);
  await house.settle();
}

const reasonOf = ({ self }: House, type = "Ready"): string | undefined => self.status?.conditions?.find((condition) => condition.type === type)?.reason;
const messageOf = ({ self }: House, type = "Ready"): string => self.status?.conditions?.find((condition) => condition.type === type)?.message ?? "";
const names = ({ sessions: map }: House): string[] => [...map.keys()];

describe("a Schedule", () => {
  it("announces its next time, then makes one session and one status write at it", async () => {
    const house = open(spec());
    await house.settle();
    assert.deepEqual(house.writes, ["status"]);
    assert.equal(house.self.status?.nextScheduleTime, "2026-11-21T11:00:00Z");
    await go(house, "2026-11-21T11:00:00Z");
    const [name = ""] = names(house);
    assert.match(name, /^nightly-[0-9a-f]{8}-202611211100$/);
    assert.deepEqual(house.writes.slice(1), [`create ${name}`, "status"]);
    assert.deepEqual({ ...house.self.status, conditions: undefined }, { active: 1, conditions: undefined, lastScheduleTime: "2026-11-21T11:00:00Z", nextScheduleTime: "2026-11-21T12:00:00Z", observedGeneration: 1 });
  });

  it("copies the creator and marks the session as its own", async () => {
    const house = open(spec({ sessionTemplate: { metadata: { labels: { team: "docs" }, annotations: { note: "x" } }, spec: spec().sessionTemplate.spec } }));
    house.self = { ...house.self, metadata: { ...house.self.metadata, annotations: { [ANNOTATIONS.createdBy]: "alice", [ANNOTATIONS.createdByGroups]: "dev,ops" } } };
    await go(house, "2026-11-21T11:00:00Z");
    const { labels, annotations, ownerReferences } = [...house.sessions.values()][0]?.metadata ?? {};
    assert.deepEqual(labels, { team: "docs", "app.kubernetes.io/managed-by": "paddock", "paddock.dev/schedule": "nightly" });
    assert.deepEqual(annotations, { note: "x", "paddock.dev/created-by": "alice", "paddock.dev/created-by-groups": "dev,ops", "paddock.dev/scheduled-at": "202611211100" });
    assert.deepEqual(ownerReferences, [{ apiVersion: "paddock.dev/v1alpha1", kind: "Schedule", name: "nightly", uid: "schedule-uid", controller: true }]);
  });

  it("tells how the last run ended, and keeps as many as it is told", async () => {
    const house = open(spec({ successfulSessionsHistoryLimit: 1, failedSessionsHistoryLimit: 0 }));
    for (const [hour, succeeded] of [[11, true], [12, true], [13, false]] as const) {
      await go(house, `2026-11-21T${hour}:00:00Z`);
      house.finish(names(house).at(-1) ?? "", succeeded);
      await go(house, `2026-11-21T${hour}:05:00Z`);
    }
    assert.deepEqual(house.runs, ["202611211100", "202611211200", "202611211300"]);
    assert.deepEqual(names(house).map((name) => name.slice(-4)), ["1200"]);
    assert.equal(house.self.status?.lastSuccessfulTime, "2026-11-21T12:00:00.000Z");
    assert.equal(house.self.status?.lastCompletionTime, "2026-11-21T13:00:00.000Z");
    assert.equal(reasonOf(house, "LastRunSucceeded"), "Failed");
    assert.match(messageOf(house, "LastRunSucceeded"), /ended as ModelError/);
    assert.equal(reasonOf(house), "Available");
    assert.equal(house.self.status?.active, 0);
  });

  it("fires the newest missed time inside the deadline and counts the others", async () => {
    const house = open(spec({ schedule: "* * * * *" }));
    await house.settle();
    await go(house, "2026-11-21T10:30:10Z");
    assert.deepEqual(house.runs, ["202611211030"]);
    assert.equal(house.self.status?.missed, 29);
  });

  it("fires nothing after the deadline", async () => {
    const house = open(spec({ startingDeadlineSeconds: 60 }));
    await house.settle();
    await go(house, "2026-11-21T11:01:01Z");
    assert.deepEqual([house.runs, house.self.status?.missed, house.self.status?.nextScheduleTime], [[], 1, "2026-11-21T12:00:00Z"]);
    await go(house, "2026-11-21T12:01:00.900Z");
    assert.deepEqual(house.runs, ["202611211200"]);
  });

  it("counts a year's absence without going through it", async () => {
    const house = open(spec({ schedule: "* * * * *" }));
    await house.settle();
    await go(house, "2027-11-21T11:00:01Z");
    assert.deepEqual([house.runs, house.self.status?.missed], [["202711211100"], 100]);
  });

  it("does not rest for a year when the clock was a year ahead for a moment", async () => {
    const house = open(spec());
    await house.settle();
    await go(house, "2027-11-21T10:30:00Z");
    await go(house, "2026-11-21T10:40:00Z");
    await go(house, "2026-11-21T11:00:00Z");
    assert.deepEqual(house.runs, ["202611211100"]);
    assert.equal(house.self.status?.nextScheduleTime, "2026-11-21T12:00:00Z");
  });

  it("does not fire again when the clock goes back after a run", async () => {
    const house = open(spec({ successfulSessionsHistoryLimit: 0 }));
    await house.settle();
    await go(house, "2026-11-21T11:00:01Z");
    house.finish(names(house)[0] ?? "", true);
    await go(house, "2026-11-21T11:00:40Z");
    assert.deepEqual(names(house), []);
    await go(house, "2026-11-21T10:59:00Z");
    await go(house, "2026-11-21T11:00:02Z");
    assert.deepEqual(house.runs, ["202611211100"]);
  });

  it("is silent about a failed run whose message is cut, and keeps no more runs than it may", async () => {
    const house = open(spec({ failedSessionsHistoryLimit: 0 }));
    await house.settle();
    await go(house, "2026-11-21T11:00:00Z");
    const [name = ""] = names(house);
    house.finish(name, false);
    const failed = house.sessions.get(name);
    const conditions = failed?.status?.conditions?.map((condition) => ({ ...condition, message: `${"x".repeat(511)}\u{1F600} and more` })) ?? [];
    if (failed !== undefined) house.sessions.set(name, { ...failed, status: { ...failed.status, conditions } });
    await go(house, "2026-11-21T11:05:00Z");
    assert.deepEqual(names(house), []);
    assert.ok(messageOf(house, "LastRunSucceeded").isWellFormed());
  });

  it("never fires for the past after an edit or a suspension", async () => {
    const house = open(spec());
    await house.settle();
    house.edit({ suspend: true });
    await go(house, "2026-11-21T10:59:00Z");
    assert.deepEqual([house.self.status?.nextScheduleTime, reasonOf(house)], [undefined, "Suspended"]);
    house.edit({ suspend: false });
    await go(house, "2026-11-21T11:00:20Z");
    assert.equal(house.self.status?.nextScheduleTime, "2026-11-21T12:00:00Z");
    house.edit({ schedule: "59 11 * * *" });
    await go(house, "2026-11-21T11:59:01Z");
    assert.deepEqual([house.runs, house.self.status?.nextScheduleTime, house.self.status?.missed], [[], "2026-11-22T11:59:00Z", undefined]);
  });

  it("Forbid waits for the running session, and then serves the newest time", async () => {
    const house = open(spec({ schedule: "*/2 * * * *" }));
    await house.settle();
    await go(house, "2026-11-21T10:02:00Z");
    await go(house, "2026-11-21T10:04:00Z");
    assert.match(messageOf(house), /Session nightly-\w+-202611211002 still runs .* Forbid/);
    await go(house, "2026-11-21T10:06:00Z");
    assert.deepEqual([house.runs.length, house.self.status?.missed, house.self.status?.nextScheduleTime], [1, 1, "2026-11-21T10:06:00Z"]);
    house.finish(names(house)[0] ?? "", true);
    await go(house, "2026-11-21T10:06:30Z");
    assert.deepEqual(house.runs, ["202611211002", "202611211006"]);
  });

  it("Allow runs both, Replace deletes the older one", async () => {
    for (const [concurrencyPolicy, left] of [["Allow", ["1100", "1200"]], ["Replace", ["1200"]]] as const) {
      const house = open(spec({ concurrencyPolicy }));
      await go(house, "2026-11-21T11:00:00Z");
      await go(house, "2026-11-21T12:00:00Z");
      assert.deepEqual(names(house).map((name) => name.slice(-4)), left);
      assert.equal(house.self.status?.active, left.length);
    }
  });

  it("Replace leaves the older session alone while the new one is refused", async () => {
    const house = open(spec({ concurrencyPolicy: "Replace" }));
    await go(house, "2026-11-21T11:00:00Z");
    house.refusesCreates = "access-denied";
    await go(house, "2026-11-21T12:00:00Z");
    assert.deepEqual(names(house).map((name) => name.slice(-4)), ["1100"]);
    house.refusesCreates = undefined;
    await go(house, "2026-11-21T12:01:00Z");
    assert.deepEqual(names(house).map((name) => name.slice(-4)), ["1200"]);
    assert.equal(house.self.status?.active, 1);
  });

  it("Replace ends the older session also after a crash between the two writes", async () => {
    for (const dieAfter of [1, 2, 3]) {
      const house = open(spec({ concurrencyPolicy: "Replace" }));
      await go(house, "2026-11-21T11:00:00Z");
      house.dieAfter = dieAfter;
      await go(house, "2026-11-21T12:00:00Z");
      assert.deepEqual(names(house).map((name) => name.slice(-4)), ["1200"], `write ${dieAfter}`);
      assert.deepEqual(house.runs, ["202611211100", "202611211200"], `write ${dieAfter}`);
    }
  });

  it("a trigger fires once for each value, also while suspended", async () => {
    const house = open(spec({ suspend: true, concurrencyPolicy: "Allow" }));
    await house.settle();
    house.trigger("one");
    await house.settle();
    await house.settle();
    house.trigger("two");
    await house.settle();
    assert.equal(house.runs.length, 2);
    assert.match(names(house)[0] ?? "", /-t[0-9a-f]{10}$/);
    assert.deepEqual([house.self.status?.observedTrigger, house.self.status?.lastScheduleTime, reasonOf(house)], ["two", undefined, "Suspended"]);
  });

  it("a trigger waits under Forbid, and says so", async () => {
    const house = open(spec());
    await go(house, "2026-11-21T11:00:00Z");
    house.trigger("now");
    await go(house, "2026-11-21T11:10:00Z");
    assert.match(messageOf(house), /The trigger "now" waits: Session .* still runs/);
    house.finish(names(house)[0] ?? "", true);
    await go(house, "2026-11-21T11:11:00Z");
    assert.equal(house.runs.length, 2);
  });

  it("a trigger that is refused is not tried again without a rest", async () => {
    for (const refusal of ["access-denied", "invalid", "namespace-terminating", "unavailable"] as const) {
      const house = open(spec());
      await house.settle();
      house.trigger("a");
      house.refuses = refusal;
      await house.settle();
      assert.ok((house.againMs ?? 0) >= 1_000, `${refusal}: again after ${house.againMs} ms`);
      house.refuses = undefined;
      await house.settle();
      assert.equal(house.runs.length, 1);
    }
  });

  it("tells an unknown zone, a day that never comes and a session of others, and recovers", async () => {
    const house = open(spec({ timeZone: "Europe/Berlni" }));
    await house.settle();
    assert.deepEqual([reasonOf(house), reasonOf(house, "Stalled")], ["InvalidSchedule", "InvalidSchedule"]);
    assert.match(messageOf(house), /Europe\/Berlin/);
    house.edit({ timeZone: "UTC", schedule: "0 0 30 2 *" });
    await house.settle();
    assert.match(messageOf(house), /never fires/);
    house.edit({ schedule: "0 11 * * *" });
    await house.settle();
    assert.deepEqual([reasonOf(house), reasonOf(house, "Stalled")], ["Available", undefined]);
  });

  it("never takes a session of others for its own, and does not delete it", async () => {
    const house = open(spec({ concurrencyPolicy: "Replace", successfulSessionsHistoryLimit: 0 }));
    await house.settle();
    const probe = open(spec());
    await go(probe, "2026-11-21T11:00:00Z");
    const [name = "", session] = [...probe.sessions.entries()][0] ?? [];
    assert.ok(session);
    house.sessions.set(name, { ...session, metadata: { ...session.metadata, ownerReferences: [] } });
    await go(house, "2026-11-21T11:00:00Z");
    assert.deepEqual([reasonOf(house), house.runs, names(house)], ["NameConflict", [], [name]]);
    assert.equal(house.self.status?.nextScheduleTime, "2026-11-21T11:00:00Z");
    await go(house, "2026-11-21T12:00:00Z");
    assert.deepEqual([house.runs, reasonOf(house), house.self.status?.missed], [["202611211200"], "Available", 1]);
  });

  it("stays Forbidden until a run is accepted", async () => {
    const house = open(spec());
    await house.settle();
    house.refuses = "access-denied";
    await go(house, "2026-11-21T11:00:00Z");
    assert.deepEqual([reasonOf(house), house.self.status?.nextScheduleTime], ["Forbidden", "2026-11-21T11:00:00Z"]);
    await go(house, "2026-11-21T11:30:00Z");
    assert.deepEqual([reasonOf(house), house.self.status?.missed], ["Forbidden", 1]);
    house.refuses = undefined;
    await go(house, "2026-11-21T12:00:00Z");
    assert.deepEqual([reasonOf(house), house.runs], ["Available", ["202611211200"]]);
  });

  it("loses no time while the API server is away", async () => {
    const house = open(spec());
    await house.settle();
    house.refuses = "unavailable";
    await go(house, "2026-11-21T11:00:00Z");
    assert.equal(house.self.status?.nextScheduleTime, "2026-11-21T11:00:00Z");
    house.refuses = undefined;
    await go(house, "2026-11-21T11:04:00Z");
    assert.deepEqual(house.runs, ["202611211100"]);
  });
});

describe("a Schedule that resumes", () => {
  it("sends each prompt to one conversation, and to the next when that has ended", async () => {
    const house = open(conversation());
    await go(house, "2026-11-21T11:00:00Z");
    await go(house, "2026-11-21T12:00:00Z");
    assert.deepEqual(names(house).map((name) => name.slice(-3)), ["-g1"]);
    house.finish(names(house)[0] ?? "", true);
    await go(house, "2026-11-21T13:00:00Z");
    assert.deepEqual(names(house).map((name) => name.slice(-3)), ["-g1", "-g2"]);
    assert.deepEqual(house.runs, ["202611211100", "202611211200", "202611211300"]);
    assert.deepEqual([house.self.status?.conversation?.generation, reasonOf(house, "LastRunSucceeded"), house.self.status?.lastSuccessfulTime], [2, "Succeeded", "2026-11-21T13:00:00Z"]);
  });

  it("Forbid waits until the conversation has answered", async () => {
    const house = open(conversation());
    await go(house, "2026-11-21T11:00:00Z");
    house.activity = "Active";
    await go(house, "2026-11-21T12:00:00Z");
    assert.equal(house.runs.length, 1);
    house.activity = "Waiting";
    await go(house, "2026-11-21T12:02:00Z");
    assert.deepEqual(house.runs, ["202611211100", "202611211200"]);
  });
});

type Step =
  | { readonly kind: "wait"; readonly seconds: number }
  | { readonly kind: "die"; readonly after: number }
  | { readonly kind: "edit"; readonly change: Partial<ScheduleSpec> }
  | { readonly kind: "trigger"; readonly isNew: boolean }
  | { readonly kind: "finish"; readonly succeeded: boolean };

function take(house: House, step: Step): void {
  switch (step.kind) {
    case "wait":
      house.now += step.seconds * 1000;
      return;
    case "die":
      house.dieAfter = step.after;
      return;
    case "edit":
      return house.edit(step.change);
    case "trigger":
      // A value that comes back after another one may fire once more: who writes it wants that.
      return house.trigger(step.isNew ? `v${house.self.metadata.resourceVersion}` : (house.self.metadata.annotations?.[ANNOTATIONS.trigger] ?? "v"));
    case "finish":
      for (const [name] of [...house.sessions].filter(([, session]) => !isDone(session))) house.finish(name, step.succeeded);
  }
}

/** Instants of runs that a time fired. */
function ticksOf(runs: readonly string[]): number[] {
  return runs.filter((key) => !key.startsWith("t")).map((key) => at(`${key.slice(0, 4)}-${key.slice(4, 6)}-${key.slice(6, 8)}T${key.slice(8, 10)}:${key.slice(10)}:00Z`));
}

describe("never twice, never lost", () => {
  for (const [mode, initial] of [["New", spec()], ["Replace", spec({ concurrencyPolicy: "Replace" })], ["Resume", conversation()]] as const) {
    it(`${mode}: a crash after each write of a day's work ends as no crash does`, async () => {
      const day = async (house: House, dieAfter: number | undefined): Promise<void> => {
        house.dieAfter = dieAfter;
        await house.settle();
        for (const hour of ["11", "12", "13"]) {
          await go(house, `2026-11-21T${hour}:00:00Z`);
          house.finish(names(house).at(-1) ?? "", true);
          await go(house, `2026-11-21T${hour}:00:40Z`);
        }
      };
      const calm = open(initial);
      await day(calm, undefined);
      assert.equal(calm.runs.length, 3);
      for (let write = 1; write <= calm.writes.length; write += 1) {
        const house = open(initial);
        await day(house, write);
        assert.deepEqual(house.runs, calm.runs, `write ${write}`);
        assert.deepEqual(names(house), names(calm), `write ${write}`);
        assert.deepEqual(house.self.status, calm.self.status, `write ${write}`);
      }
    });
  }

  it("holds for any order of edits, suspensions, crashes, ends and jumps of the clock", async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant("wait" as const), seconds: fc.integer({ min: 1, max: 500 }) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), seconds: fc.integer({ min: -900, max: 90_000 }) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("die" as const), after: fc.integer({ min: 1, max: 4 }) }) },
      { weight: 1, arbitrary: fc.boolean().map((suspend) => ({ kind: "edit" as const, change: { suspend } })) },
      { weight: 1, arbitrary: fc.constantFrom("* * * * *", "*/5 * * * *", "30 * * * *", "0 11 * * *").map((schedule) => ({ kind: "edit" as const, change: { schedule } })) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("trigger" as const), isNew: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("finish" as const), succeeded: fc.boolean() }) },
    );
    const world = fc.record({ resume: fc.boolean(), concurrencyPolicy: fc.constantFrom("Allow" as const, "Forbid" as const), steps: fc.array(step, { maxLength: 40 }) });
    await fc.assert(
      fc.asyncProperty(world, async ({ resume, concurrencyPolicy, steps }) => {
        const house = open((resume ? conversation : spec)({ schedule: "*/3 * * * *", concurrencyPolicy }));
        // A run may be for no time before the newest edit was made, and for none that is still to come.
        let anchor = START;
        for (const each of steps) {
          const before = house.runs.length;
          take(house, each);
          if (each.kind === "edit" || house.now < anchor) anchor = house.now;
          await house.settle();
          for (const tick of ticksOf(house.runs.slice(before))) assert.ok(tick > anchor - MINUTE && tick <= house.now, `${new Date(tick).toISOString()} at ${new Date(house.now).toISOString()}`);
        }
        assert.equal(new Set(house.runs).size, house.runs.length, house.runs.join(" "));
      }),
      { numRuns: 300 },
    );
  });
});
