import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ANNOTATIONS } from "@paddock/api/names";
import type { Session, SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Key, Read, Source } from "../kernel/kind.ts";
import { BY_ENVIRONMENT_LIVE, BY_ENVIRONMENT_OPEN, BY_UID, agents, environments, pods, sessions } from "../sources.ts";
import { isFinished } from "./claim.ts";
import { START, agent, at, environment, record, session, settings } from "./sample.ts";
import { sessionKind } from "./session.ts";
import { nextAfterSession, nextInLine } from "./slots.ts";

// One operator before an Environment with few slots: its caches show what the gateway has stored late and in any order, and sixteen workers decide on
// what they see at that moment.

const KEY: Key = { namespace: "demo", name: "standard" };

interface Caches {
  readonly sessions: Map<string, Session>;
  readonly records: Map<string, RecordView>;
}

function readerOf(caches: Caches, limit: number | undefined): Read {
  const limited = { ...environment, spec: { ...environment.spec, ...(limit === undefined ? {} : { budget: { maxConcurrentSessions: limit } }) } };
  const named: Readonly<Record<string, (name: string) => unknown>> = {
    [agents.name]: () => agent, [environments.name]: () => limited, [sessions.name]: (name) => caches.sessions.get(name), [pods.name]: () => undefined,
  };
  const listed = (index: string, value: string): readonly unknown[] => {
    if (index === BY_ENVIRONMENT_LIVE) return [...caches.sessions.values()].filter((one) => !isFinished(one));
    if (index === BY_ENVIRONMENT_OPEN) return [...caches.records.values()].filter(({ activity }) => activity.kind !== "Finished");
    const found = index === BY_UID ? caches.records.get(value) : undefined;
    return found === undefined ? [] : [found];
  };
  return {
    get: <T>(source: Source<T>, { name }: Key) => named[source.name]?.(name) as T | undefined,
    list: <T>(_: Source<T>, index: string, value: string) => listed(index, value) as readonly T[],
    isSynced: () => true,
  };
}

function named(name: string, creator: string, more: { readonly status?: SessionStatus; readonly second?: number } = {}): Session {
  const creationTimestamp = at(more.second ?? 0).toISOString();
  return session({ metadata: { name, uid: name, creationTimestamp, annotations: { [ANNOTATIONS.createdBy]: creator } }, ...(more.status === undefined ? {} : { status: more.status }) });
}

const recordOf = (uid: string, change: Partial<RecordView> = {}): RecordView => record({ uid, name: uid, ...change });
const told = (reason: string): SessionStatus => ({ conditions: [{ type: "Succeeded", status: "Unknown", reason, message: "", lastTransitionTime: START }] });

/** What happens next, to the session whose turn it is by `who`. */
const happenings = fc.record({ what: fc.constantFrom("arrive", "pass", "pass", "pass", "land", "lose", "refuse", "show", "end", "leave"), who: fc.nat(5) });

test("one operator never lets in more than the limit, however late its caches are and whatever becomes of its binds", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.array(fc.constantFrom("ann", "bob", "cy"), { minLength: 6, maxLength: 6 }), fc.array(happenings, { minLength: 60, maxLength: 150 }), (limit, creators, script) => {
      const caches: Caches = { sessions: new Map(), records: new Map() };
      const stored = new Map<string, RecordView>();
      const underWay = new Set<string>();
      const kind = sessionKind(() => settings);
      const read = readerOf(caches, limit);
      const isThere = (uid: string): boolean => caches.sessions.has(uid);
      const put = (uid: string, who: number, status?: SessionStatus): void => void caches.sessions.set(uid, named(uid, creators[who] ?? "", { second: 5 - who, ...(status === undefined ? {} : { status }) }));
      const pass = (uid: string): void => {
        const world = kind.observe(read, { namespace: "demo", name: uid });
        if (world !== undefined && kind.decide(world, at(1)).actions.some(({ verb }) => verb === "bind")) underWay.add(uid);
      };
      // An answered bind makes its key rest until the cache shows it; a lost or refused one does not.
      const show = (uid: string, view: RecordView | undefined): void => {
        if (view === undefined || !isThere(uid)) return;
        caches.records.set(uid, view);
        underWay.delete(uid);
      };
      const refuse = (uid: string, who: number): void => {
        underWay.delete(uid);
        const world = kind.observe(read, { namespace: "demo", name: uid });
        assert.ok(world);
        kind.explain?.(world, { kind: "missing-reference", message: "", retry: false, cause: undefined });
        put(uid, who, told("ConfigMapNotFound"));
      };
      const deeds: Readonly<Record<string, (uid: string, who: number) => unknown>> = {
        arrive: (uid, who) => !isThere(uid) && !stored.has(uid) && put(uid, who),
        pass: (uid) => !underWay.has(uid) && pass(uid),
        land: (uid) => underWay.has(uid) && !stored.has(uid) && stored.set(uid, recordOf(uid)),
        lose: (uid) => underWay.delete(uid),
        refuse: (uid, who) => underWay.has(uid) && !stored.has(uid) && refuse(uid, who),
        show: (uid) => show(uid, stored.get(uid)),
        end: (uid) => stored.has(uid) && stored.set(uid, recordOf(uid, { activity: { kind: "Finished", outcome: "Completed", at: START } })),
        // Deleted before it was let in.
        leave: (uid) => !underWay.has(uid) && !stored.has(uid) && caches.sessions.delete(uid),
      };
      for (const { what, who } of script) {
        deeds[what]?.(`s${who}`, who);
        const running = [...stored.values()].filter(({ activity }) => activity.kind !== "Finished").length;
        assert.ok(running <= limit, `${running} run at the same time, ${limit} may`);
      }
    }),
    { numRuns: 2_000 },
  );
});

/** A whole run of the queue: passes only of sessions that were woken, records shown at once. Returns who was let in, in order. */
function run(limit: number, creators: readonly string[]): { readonly order: readonly string[]; readonly passes: number } {
  const caches: Caches = { sessions: new Map(), records: new Map() };
  const kind = sessionKind(() => settings);
  const read = readerOf(caches, limit);
  const woken: string[] = [];
  const order: string[] = [];
  let passes = 0;
  creators.forEach((creator, n) => {
    const name = `s${String(n).padStart(3, "0")}`;
    caches.sessions.set(name, named(name, creator, { second: n }));
    woken.push(name);
  });
  while (order.length < creators.length) {
    const name = woken.shift();
    if (name === undefined) {
      // Nobody has anything to do: the oldest running session ends, and its change wakes who is next.
      const done = order.find((one) => caches.records.get(one)?.activity.kind === "Active") ?? "";
      caches.records.set(done, recordOf(done, { activity: { kind: "Finished", outcome: "Completed", at: START } }));
      woken.push(...nextInLine(read, KEY).map((key) => key.name));
      assert.equal(woken.length, 1, "one slot was freed, one session is woken");
      continue;
    }
    passes += 1;
    const world = kind.observe(read, { namespace: "demo", name });
    if (world === undefined || world.record !== undefined) continue;
    if (!kind.decide(world, at(1)).actions.some(({ verb }) => verb === "bind")) continue;
    caches.records.set(name, recordOf(name));
    order.push(name);
  }
  return { order, passes };
}

test("each end lets in exactly one, and everybody gets a turn: as many passes as sessions and turns", () => {
  const creators = Array.from({ length: 60 }, (_, n) => (n < 50 ? "ann" : "bob"));
  const { order, passes } = run(5, creators);
  assert.equal(new Set(order).size, 60);
  assert.equal(passes, 60 + 55);
  // Bob came last and is behind the first of Ann's, not behind all of them.
  const bob = order.map((name, place) => ({ place, isBob: Number(name.slice(1)) >= 50 })).filter(({ isBob }) => isBob);
  assert.ok(bob.every(({ place }) => place < 25), JSON.stringify(bob));
});

test("a Queued session says place, count, limit and whom to ask once, and is not rewritten when the queue moves", () => {
  const caches: Caches = { sessions: new Map(), records: new Map([["s0", recordOf("s0")]]) };
  for (const [n, name] of ["s0", "s1", "s2"].entries()) caches.sessions.set(name, named(name, "ann", { second: n }));
  const kind = sessionKind(() => settings);
  const decide = (name: string) => {
    const world = kind.observe(readerOf(caches, 1), { namespace: "demo", name });
    assert.ok(world);
    return kind.decide(world, at(5));
  };
  const first = decide("s2").claims?.find(({ type }) => type === "Succeeded");
  assert.equal(first?.reason, "Queued");
  assert.match(first.message, /at most 1 session at the same time \(its spec\.budget\.maxConcurrentSessions\).*place 2 of 2.*kubectl auth can-i update environments\/standard -n demo/);
  caches.sessions.set("s2", named("s2", "ann", { second: 2, status: { conditions: [{ ...first, status: "Unknown", lastTransitionTime: START }] } }));
  caches.sessions.delete("s1");
  assert.deepEqual([decide("s2").claims, decide("s2").actions], [undefined, []]);
});

test("a pass over one of ten thousand in a queue does not go through the queue", () => {
  const caches: Caches = { sessions: new Map(), records: new Map([["s0", recordOf("s0")]]) };
  for (let n = 0; n < 10_000; n += 1) caches.sessions.set(`s${n}`, named(`s${n}`, "ann", { second: n }));
  const reader = readerOf(caches, 1);
  let looked = 0;
  const counting: Read = { ...reader, list: <T>(source: Source<T>, index: string, value: string) => ((looked += 1), reader.list(source, index, value)), get: <T>(source: Source<T>, key: Key) => ((looked += 1), reader.get(source, key)) };
  const kind = sessionKind(() => settings);
  const world = kind.observe(counting, { namespace: "demo", name: "s9999" });
  assert.ok(world);
  assert.equal(kind.decide(world, at(5)).claims?.[0]?.reason, "Queued");
  assert.deepEqual(nextInLine(counting, KEY), []);
  assert.ok(looked < 100, `${looked} look-ups`);
});

test("a Conversation without pods holds no slot, and waits for one when it is woken", () => {
  const released: SessionStatus = { startTime: START, lastEventSeq: 2, runner: { attempts: 1 } };
  const caches: Caches = { sessions: new Map(), records: new Map() };
  caches.sessions.set("talk", named("talk", "ann", { status: released }));
  caches.sessions.set("task", named("task", "ann", { second: 1 }));
  caches.records.set("talk", recordOf("talk", { activity: { kind: "Waiting", for: "input", since: START } }));
  const kind = sessionKind(() => settings);
  const decide = (name: string) => {
    const world = kind.observe(readerOf(caches, 1), { namespace: "demo", name });
    assert.ok(world);
    return kind.decide(world, at(5));
  };
  assert.deepEqual(decide("task").actions.map(({ verb }) => verb), ["bind"]);
  caches.records.set("task", recordOf("task"));
  caches.records.set("talk", recordOf("talk"));
  const waiting = decide("talk");
  assert.deepEqual([waiting.actions, waiting.claims?.[0]?.reason, waiting.status?.runner], [[], "Queued", { attempts: 1 }]);
  caches.records.set("task", recordOf("task", { activity: { kind: "Finished", outcome: "Completed", at: START } }));
  const woken = decide("talk");
  assert.deepEqual([woken.claims?.[0]?.reason, woken.status?.runner?.podName, woken.status?.runner?.attempts], ["Starting", "talk-r2", 2]);
});

test("joining the queue and going on running wake nobody; leaving it, ending and being hindered wake who is next", () => {
  const caches: Caches = { sessions: new Map(), records: new Map() };
  caches.sessions.set("next", named("next", "ann"));
  const read = readerOf(caches, 1);
  const wakes = (self: Session): readonly string[] => nextAfterSession(self, read).map(({ name }) => name);
  const other = named("other", "bob", { second: 1 });
  assert.deepEqual(wakes(other), ["next"], "it is in no cache any more");
  caches.sessions.set("other", other);
  assert.deepEqual(wakes(other), []);
  assert.deepEqual(wakes({ ...other, status: told("ConfigMapNotFound") }), ["next"]);
  assert.deepEqual(wakes({ ...other, spec: { ...other.spec, cancel: true } }), ["next"]);
  caches.records.set("other", recordOf("other"));
  assert.deepEqual(wakes(other), [], "a full Environment, and a session that runs on");
});
