import assert from "node:assert/strict";
import { test } from "node:test";
import type { Claim } from "@paddock/api/conditions";
import type { BaseStatus } from "@paddock/api/object";
import { classifyWith } from "./faults.ts";
import type { Action, Fault, Kind, Plan, Ports, Read, Self } from "./kind.ts";
import { reconcile } from "./reconcile.ts";

interface LampStatus extends BaseStatus {
  readonly lit?: boolean;
}

interface LampWorld {
  readonly self: Self<LampStatus>;
}

const KEY = { namespace: "team", name: "lamp" };
const READY: Claim = { type: "Ready", status: "True", reason: "Lit", message: "" };
const STUCK: Claim = { type: "Stalled", status: "True", reason: "Blown", message: "change the bulb" };
const CREATE: Action = { verb: "create", object: { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "team" } } };
const NO_READ: Read = { get: () => undefined, list: () => [], isSynced: () => true };

function lamp(status?: LampStatus, generation = 1): Self<LampStatus> {
  const metadata = { name: "lamp", namespace: "team", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z", generation };
  return { apiVersion: "example.dev/v1", kind: "Lamp", metadata, ...(status === undefined ? {} : { status }) };
}

class Refused extends Error {}

/** A lamp in a world of its own: status writes come back as the next pass's status. */
function world(plan: Plan<LampStatus> | (() => Plan<LampStatus>), options: { fail?: Error; fault?: Partial<Fault>; explain?: readonly Claim[]; at?: string } = {}) {
  const state = { self: lamp(), acted: [] as Action[], statuses: [] as LampStatus[], announced: [] as string[], time: options.at ?? "2026-05-05T10:00:00.500Z", fail: options.fail };
  const kind: Kind<LampWorld, LampStatus> = {
    name: "Lamp",
    observe: () => ({ self: state.self }),
    decide: () => (typeof plan === "function" ? plan() : plan),
    ...(options.explain === undefined ? {} : { explain: () => options.explain ?? [] }),
  };
  const ports: Ports<LampStatus> = {
    read: NO_READ,
    announce: (_self, announcements) => state.announced.push(...announcements.map(({ reason }) => reason)),
    now: () => new Date(state.time),
    classify: classifyWith((error) => (error instanceof Refused ? { kind: "unavailable", message: error.message, retry: true, cause: error, ...options.fault } : undefined)),
    write: {
      act: async (action) => {
        if (state.fail !== undefined) throw state.fail;
        state.acted.push(action);
      },
      status: async (self, status) => {
        state.statuses.push(status);
        state.self = { ...self, status: structuredClone(status) };
      },
    },
  };
  return { state, pass: () => reconcile(kind, KEY, ports) };
}

test("converges and then writes nothing", async () => {
  let made = false;
  const { state, pass } = world(() => ({ actions: made ? [] : [CREATE], claims: [READY], status: { lit: true } }));
  assert.deepEqual(await pass(), { writes: 2 });
  made = true;
  state.time = "2026-05-05T11:00:00Z";
  assert.deepEqual(await pass(), { writes: 0 });
  assert.deepEqual(state.self.status, {
    lit: true,
    observedGeneration: 1,
    conditions: [{ ...READY, observedGeneration: 1, lastTransitionTime: "2026-05-05T10:00:00Z" }],
  });
});

test("a condition keeps its time while its status stays, whatever its reason says", async () => {
  let claim = READY;
  const { state, pass } = world(() => ({ actions: [], claims: [claim] }));
  await pass();
  claim = { ...READY, reason: "Dimmed" };
  state.time = "2026-05-05T11:00:00Z";
  await pass();
  assert.deepEqual(state.self.status?.conditions?.map(({ reason, lastTransitionTime }) => [reason, lastTransitionTime]), [["Dimmed", "2026-05-05T10:00:00Z"]]);
  claim = { ...READY, status: "False" };
  await pass();
  assert.equal(state.self.status?.conditions?.[0]?.lastTransitionTime, "2026-05-05T11:00:00Z");
});

test("an abnormal condition that is not claimed any more disappears", async () => {
  let claims = [READY, STUCK];
  const { state, pass } = world(() => ({ actions: [], claims }));
  await pass();
  claims = [READY];
  await pass();
  assert.deepEqual(state.self.status?.conditions?.map(({ type }) => type), ["Ready"]);
});

test("the first fault ends the actions, is told in status and goes to the back-off", async () => {
  const { state, pass } = world({ actions: [CREATE, CREATE], claims: [READY] }, { fail: new Refused("no"), explain: [{ ...READY, status: "False", reason: "Broken" }, STUCK] });
  const result = await pass();
  assert.equal(result.fault?.kind, "unavailable");
  assert.equal(result.writes, 1);
  assert.deepEqual(state.acted, []);
  assert.deepEqual(state.self.status?.conditions?.map(({ type, reason }) => `${type}=${reason}`), ["Ready=Broken", "Stalled=Blown"]);
  assert.equal((await pass()).writes, 0);
});

test("what a fault explains overlays the conditions that stand when the plan leaves status alone", async () => {
  const { state, pass } = world({ actions: [CREATE], claims: undefined }, { fail: new Refused("no"), explain: [STUCK] });
  state.self = lamp({ lit: true, conditions: [{ ...READY, lastTransitionTime: "2026-01-01T00:00:00Z" }] });
  await pass();
  assert.equal(state.self.status?.lit, true);
  assert.deepEqual(state.self.status?.conditions?.map(({ type }) => type), ["Ready", "Stalled"]);
});

test("a fault that only people can cure is looked at again rarely instead of backing off", async () => {
  const { pass } = world({ actions: [CREATE], claims: undefined, requeueAfterMs: 9e9 }, { fail: new Refused("no"), fault: { retry: false } });
  const result = await pass();
  assert.equal(result.fault?.retry, false);
  assert.ok((result.requeueAfterMs ?? 0) >= 300_000);
});

test("an error of our own is a fault too, never a crash", async () => {
  const { pass } = world(() => {
    throw new TypeError("undefined is not a function");
  });
  const result = await pass();
  assert.equal(result.fault?.kind, "programming");
  assert.equal(result.fault?.retry, true);
});

test("an object that is gone needs nothing", async () => {
  const { pass } = world({ actions: [CREATE], claims: [READY] });
  assert.equal((await pass()).writes, 2);
  const ports: Ports<LampStatus> = { read: NO_READ, announce: () => assert.fail(), now: () => new Date(), classify: classifyWith(), write: { act: () => assert.fail(), status: () => assert.fail() } };
  assert.deepEqual(await reconcile({ name: "Lamp", observe: () => undefined, decide: () => assert.fail() }, KEY, ports), { writes: 0 });
});

test("members that are undefined do not make a status differ", async () => {
  const status = { lit: undefined } as unknown as LampStatus;
  const { state, pass } = world({ actions: [], claims: [READY], status });
  await pass();
  state.self = lamp(JSON.parse(JSON.stringify(state.self.status)) as LampStatus);
  assert.equal((await pass()).writes, 0);
});

test("an edit that changes nothing else moves observedGeneration once", async () => {
  const { state, pass } = world({ actions: [], claims: [READY] });
  await pass();
  state.self = { ...state.self, metadata: { ...state.self.metadata, generation: 2 } };
  assert.equal((await pass()).writes, 1);
  assert.equal(state.self.status?.observedGeneration, 2);
  assert.equal((await pass()).writes, 0);
});

test("a write that was not sent because another operator leads leaves status alone and is looked at soon", async () => {
  const { state, pass } = world({ actions: [CREATE], claims: [READY] }, { fail: new Refused("not the leader"), fault: { kind: "not-leader", retry: false } });
  const { fault, requeueAfterMs = 0 } = await pass();
  assert.equal(fault?.kind, "not-leader");
  assert.ok(requeueAfterMs >= 1000 && requeueAfterMs <= 1250, String(requeueAfterMs));
  assert.deepEqual(state.statuses, []);
});

for (const kind of ["missing-reference", "access-denied"] as const) {
  test(`${kind} is looked at again after seconds, however often`, async () => {
    const { state, pass } = world({ actions: [CREATE], claims: [READY] }, { fail: new Refused("no"), fault: { kind, retry: false } });
    for (let tries = 0; tries < 20; tries += 1) {
      const { requeueAfterMs = 0 } = await pass();
      assert.ok(requeueAfterMs >= 5000 && requeueAfterMs <= 6250, String(requeueAfterMs));
    }
    assert.equal(state.statuses.length, 1);
  });
}

test("a problem is announced once its status is written, and only when it is another one", async () => {
  const broken: Claim = { type: "Ready", status: "False", reason: "NoBulb", message: "the lamp has no bulb" };
  let claims: readonly Claim[] = [{ type: "Ready", status: "Unknown", reason: "Pending", message: "" }];
  const { state, pass } = world(() => ({ actions: [], claims }));
  await pass();
  assert.deepEqual(state.announced, []);
  claims = [broken];
  await pass();
  await pass();
  assert.deepEqual(state.announced, ["NoBulb"]);
  claims = [{ ...broken, message: "the lamp still has no bulb" }];
  await pass();
  assert.deepEqual(state.announced, ["NoBulb"]);
  claims = [READY];
  await pass();
  claims = [broken];
  await pass();
  assert.deepEqual(state.announced, ["NoBulb", "NoBulb"]);
});
