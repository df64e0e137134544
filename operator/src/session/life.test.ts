import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import type { SessionOutcome } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import type { NewEvent } from "@paddock/api/log/events";
import { LABELS } from "@paddock/api/names";
import type { BaseStatus } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action, Fault, Key, Manifest, Ports, Read, Source } from "../kernel/kind.ts";
import { type PassResult, reconcile } from "../kernel/reconcile.ts";
import { type ClaimView, type PodView, agents, environments, pods as podSource, records as recordSource, sessions, workspaceClaims } from "../sources.ts";
import { agent, at, claim, environment, keptRecord, pod, record, session, settings } from "./sample.ts";
import { sessionKind } from "./session.ts";

// A world of one session, small enough for a test: an API server and a gateway with their rules, a kubelet, a runner that follows a script,
// and the kind under the kernel's own pass. Only what the operator's rules meet is played.

/** What a runner does, one step per turn of the world. `answer` waits for the next message, `die` ends its pod, `hang` cuts its stream; `evict` is its node's deed. */
type Deed = "turn" | "tool" | "sandbox" | "answer" | "finish" | "die" | "hang" | "evict";

interface State {
  readonly session: Session;
  readonly pods: readonly PodView[];
  readonly record: RecordView | undefined;
  /** As it is now; the record holds it as it was. */
  readonly environment: Environment | undefined;
  /** Every call to the gateway fails. */
  readonly isGatewayAway?: boolean;
  /** The operator does not know the records. */
  readonly isUnsynced?: boolean;
  /** The Session was deleted. */
  readonly isGone?: boolean;
  readonly claims?: readonly ClaimView[];
  /** What the kubelet says of images; absent or "" when it can pull them. */
  readonly imageTrouble?: string;
}

/** Thrown by a write when the operator is to die: nothing after it in the pass is carried out. */
class Crash extends Error {}

interface SmallWorld {
  /** One pass of the operator over what `view` shows; never asks to be called again at once. Resolves to what it wrote, in words. */
  pass(view?: State): Promise<{ readonly wrote: readonly string[]; readonly result: PassResult }>;
  /** Kubelet and runner do one step; false when there was nothing to do. */
  step(): boolean;
  now(): Date;
  wait(ms: number): void;
  state(): State;
  change(change: Partial<State>): void;
  /** The operator dies at its n-th write from now on, counted from 1: before or after it is carried out. */
  crashAt(n: number, when: "before" | "after"): void;
}

function createSmallWorld(scripts: readonly (readonly Deed[])[], first: Session = session()): SmallWorld {
  let state: State = { session: first, pods: [], record: undefined, environment };
  let clockMs = 0;
  let made = 0;
  let crash: { left: number; readonly when: "before" | "after" } | undefined;
  let isDead = false;
  const begun = new Map<string, number>();
  const now = (): Date => at(clockMs / 1000);
  const change = (part: Partial<State>): void => void (state = { ...state, ...part });
  const changeRecord = (part: Partial<RecordView>): void => {
    if (state.record !== undefined) change({ record: { ...state.record, ...part, version: state.record.version + 1 } });
  };
  const changePod = (uid: string, part: Partial<PodView>): void => change({ pods: state.pods.map((item) => (item.metadata.uid === uid ? { ...item, ...part } : item)) });

  const create = ({ kind, metadata: { name, labels } }: Manifest): void => {
    if (kind === "PersistentVolumeClaim") return change({ claims: [...(state.claims ?? []), claim("Pending")] });
    const component = labels?.[LABELS.component] === "runner" ? "runner" : "sandbox";
    if (state.pods.some(({ metadata }) => metadata.name === name)) return;
    made += 1;
    change({ pods: [...state.pods, pod(name, component, { metadata: { uid: `${name}-${made}`, creationTimestamp: now().toISOString() } })] });
  };
  const append = (event: NewEvent): void => {
    const { record: log } = state;
    if (log === undefined) throw new Error("404: no record");
    if (log.activity.kind === "Finished") return;
    const lastSeq = log.lastSeq + 1;
    switch (event.type) {
      case "session.cancelled":
        if (!log.cancelled) changeRecord({ cancelled: true, lastSeq });
        return;
      case "sandbox.bound":
        if (log.sandbox.pending) changeRecord({ sandbox: { requested: log.sandbox.requested, pending: false, bound: event.data }, lastSeq });
        return;
      case "sandbox.lost":
        if (log.sandbox.lost !== event.data.podUid) changeRecord({ sandbox: { requested: log.sandbox.requested, pending: false, lost: event.data.podUid }, lastSeq });
        return;
      case "run.finished":
        finish(event.data.outcome, event.data.reason);
        return;
      default:
        throw new Error(`403: the operator may not append ${event.type}`);
    }
  };
  const finish = (outcome: SessionOutcome, message: string): void => {
    if (state.record === undefined) return;
    const result = { outcome, text: outcome === "Completed" ? "Done." : "", truncated: false, message };
    changeRecord({ activity: { kind: "Finished", outcome, at: now().toISOString() }, result, lastSeq: state.record.lastSeq + 1 });
  };

  const act = (action: Action): void => {
    if (state.isGatewayAway === true && !["create", "delete"].includes(action.verb)) throw new Error("503: the gateway is away");
    switch (action.verb) {
      case "create":
        return create(action.object);
      case "delete":
        return remove(action.resource, action.uid);
      case "bind":
        return bind(action.record.bundle.startTime);
      case "register":
        return action.registration.component === "runner" ? register(action.podUid) : undefined;
      case "append":
        return action.events.forEach(append);
      case "acknowledge":
        return acknowledge();
      default:
        throw new Error(`a Session asks for ${action.verb}`);
    }
  };
  const remove = (resource: "Pod" | "Session", uid: string): void => (resource === "Session" ? change({ isGone: true }) : terminate(uid));
  const terminate = (uid: string): void => {
    const target = state.pods.find(({ metadata }) => metadata.uid === uid);
    if (target !== undefined) changePod(uid, { metadata: { ...target.metadata, deletionTimestamp: now().toISOString() } });
  };
  const bind = (startTime: string): void => {
    if (state.record !== undefined) return;
    const { bundle } = state.environment?.spec.sandbox?.workspace?.persistence === "Session" ? keptRecord() : record();
    change({ record: record({ bundle: { ...bundle, startTime } }) });
  };
  const register = (podUid: string): void => {
    if (state.record === undefined || state.record.runner.podUid === podUid) return;
    changeRecord({ runner: { podUid, epoch: state.record.runner.epoch, connected: false, since: now().toISOString() } });
  };
  const acknowledge = (): void => {
    if (state.record?.activity.kind !== "Finished") throw new Error("409: the session runs");
    change({ record: undefined });
  };
  const writeStatus = (seen: Session, status: BaseStatus): void => {
    if (seen.metadata.resourceVersion !== state.session.metadata.resourceVersion) throw new Error("409: the object has been modified");
    const metadata = { ...state.session.metadata, resourceVersion: String(Number(seen.metadata.resourceVersion) + 1) };
    change({ session: { ...state.session, metadata, status } });
  };

  /** Carries out a write unless the operator has died, which it may do just before or after. */
  const guarded = (write: () => void): void => {
    if (isDead) throw new Crash();
    if (crash !== undefined) crash.left -= 1;
    const isDue = crash?.left === 0;
    if (isDue && crash?.when === "before") die();
    write();
    if (isDue) die();
  };
  const die = (): never => {
    crash = undefined;
    isDead = true;
    throw new Crash();
  };

  const pass: SmallWorld["pass"] = async (view = state) => {
    isDead = false;
    const wrote: string[] = [];
    const write: Ports<BaseStatus>["write"] = {
      act: (action) => attempt(() => {
        guarded(() => act(action));
        wrote.push(nameOf(action));
      }),
      status: (_, status) => attempt(() => {
        guarded(() => writeStatus(view.session, status));
        wrote.push(`status ${reasonOf(state.session) ?? ""}`);
      }),
    };
    const result = await reconcile(sessionKind(() => settings), state.session.metadata, { read: readerOf(view), write, announce: () => undefined, now, classify });
    assert.notEqual(result.requeueAfterMs, 0);
    return { wrote, result };
  };

  const step = (): boolean => {
    const terminating = state.pods.find(({ metadata }) => metadata.deletionTimestamp !== undefined);
    if (terminating !== undefined) {
      change({ pods: state.pods.filter((item) => item !== terminating) });
      if (state.record?.runner.podUid === terminating.metadata.uid) disconnect();
      return true;
    }
    const pending = state.pods.find(({ status }) => status.phase === "Pending");
    if (pending !== undefined && (state.imageTrouble ?? "") !== "") {
      const status: PodView["status"] = { phase: "Pending", startTime: pending.metadata.creationTimestamp, containerStatuses: [{ name: "main", state: { waiting: { reason: "ErrImagePull", message: state.imageTrouble ?? "" } } }] };
      if (isDeepStrictEqual(status, pending.status)) return false;
      changePod(pending.metadata.uid, { status });
      return true;
    }
    if (pending !== undefined) {
      const startedAt = now().toISOString();
      changePod(pending.metadata.uid, { status: { phase: "Running", podIP: "10.0.0.7", containerStatuses: [{ name: "main", state: { running: { startedAt } } }] } });
      return true;
    }
    return runnerStep();
  };
  const disconnect = (): void => {
    if (state.record?.runner.connected === true) changeRecord({ runner: { ...state.record.runner, connected: false, since: now().toISOString() } });
  };
  const runnerStep = (): boolean => {
    const { record: log } = state;
    const runner = state.pods.find(({ metadata, status }) => status.phase === "Running" && metadata.uid === log?.runner.podUid);
    if (runner === undefined || log === undefined || log.activity.kind !== "Active") return false;
    const { uid } = runner.metadata;
    const steps = begun.get(uid) ?? 0;
    if (steps === 0) {
      begun.set(uid, 1);
      changeRecord({ runner: { ...log.runner, connected: true, epoch: log.runner.epoch + 1, since: now().toISOString() }, lastSeq: log.lastSeq + 1 });
      return true;
    }
    const deed = scripts[log.runner.epoch - 1]?.[steps - 1];
    if (deed === undefined || (deed === "tool" && log.sandbox.bound === undefined)) return false;
    begun.set(uid, steps + 1);
    carryOut(deed, runner, log);
    return true;
  };
  const carryOut = (deed: Deed, runner: PodView, log: RecordView): void => {
    const lastSeq = log.lastSeq + 1;
    switch (deed) {
      case "turn":
        return changeRecord({ turns: log.turns + 1, lastSeq });
      case "tool":
        return changeRecord({ toolCalls: log.toolCalls + 1, lastSeq });
      case "sandbox":
        return changeRecord({ sandbox: { requested: log.sandbox.requested + 1, pending: true }, lastSeq });
      case "answer": {
        const { deadline: _, ...rest } = log;
        change({ record: rest });
        return changeRecord({ activity: { kind: "Waiting", for: "input", since: now().toISOString() }, answer: { text: "And now?", truncated: false }, turns: log.turns + 1, lastSeq });
      }
      case "evict": {
        const conditions = [{ type: "DisruptionTarget", status: "True", reason: "TerminationByKubelet", message: "The node was low on resource: memory." }];
        changePod(runner.metadata.uid, { status: { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory.", conditions } });
        return disconnect();
      }
      case "finish":
        return finish("Completed", "");
      case "hang":
        return disconnect();
      case "die":
        changePod(runner.metadata.uid, { status: { phase: "Failed", containerStatuses: [{ name: "main", state: { terminated: { exitCode: 1, finishedAt: now().toISOString() } } }] } });
        return disconnect();
    }
  };

  return { pass, step, now, change, state: () => state, wait: (ms) => void (clockMs += ms), crashAt: (n, when) => void (crash = { left: n, when }) };
}

/** Errors of writes as the operator's folders would classify them. */
function classify(error: unknown): Fault {
  return { kind: error instanceof Crash ? "unavailable" : "conflict", message: String(error), retry: true, cause: error };
}

function attempt(write: () => void): Promise<void> {
  return Promise.resolve().then(write);
}

function readerOf({ session: self, pods, record: log, environment: live, isGone = false, isUnsynced = false, claims = [] }: State): Read {
  const objects: Readonly<Record<string, readonly unknown[]>> = { [agents.name]: [agent], [environments.name]: live === undefined ? [] : [live], [sessions.name]: isGone ? [] : [self], [podSource.name]: pods, [workspaceClaims.name]: claims };
  const isNamed = ({ namespace, name }: Key) => (item: unknown): boolean => {
    const { metadata } = item as { readonly metadata: Key };
    return metadata.namespace === namespace && metadata.name === name;
  };
  return {
    get: <T>(source: Source<T>, key: Key) => objects[source.name]?.find(isNamed(key)) as T | undefined,
    list: <T>(source: Source<T>) => (source.name === recordSource.name ? (log === undefined ? [] : [log]) : (objects[source.name] ?? [])) as readonly T[],
    isSynced: (source) => source.name !== recordSource.name || !isUnsynced,
  };
}

function nameOf(action: Action): string {
  switch (action.verb) {
    case "create":
      return `create ${action.object.metadata.name}`;
    case "delete":
      return `delete ${action.resource === "Session" ? "Session " : ""}${action.key.name}`;
    case "append":
      return `append ${action.events.map(({ type }) => type).join(", ")}`;
    case "register":
      return `register ${action.registration.podName}`;
    default:
      return action.verb;
  }
}

function reasonOf(self: Session): string | undefined {
  return self.status?.conditions?.find(({ type }) => type === "Succeeded")?.reason;
}

/**
 * Lets operator and world take turns until nothing moves but time, and then lets time pass until the operator wants nothing any more.
 * Returns all writes in order. Throws when that takes suspiciously long.
 */
async function live(world: SmallWorld, views: (latest: State) => State = (latest) => latest): Promise<string[]> {
  const all: string[] = [];
  for (let turn = 0; turn < 500; turn += 1) {
    const before = world.state();
    const view = views(before);
    const { wrote, result } = await world.pass(view);
    all.push(...wrote);
    if (result.fault !== undefined || world.step() || !isDeepStrictEqual(world.state(), before) || view !== before) continue;
    if (result.requeueAfterMs === undefined) return all;
    world.wait(result.requeueAfterMs);
  }
  throw new Error(`the session has not come to rest: ${all.slice(-20).join("; ")}`);
}

const HELLO: readonly Deed[] = ["turn", "finish"];
const WORKSPACE: readonly Deed[] = ["turn", "sandbox", "tool", "turn", "finish"];
const isApiWrite = (write: string): boolean => /^(create|delete|status) /.test(write);

async function assertSilent(world: SmallWorld): Promise<void> {
  for (const ms of [0, 1_000, 100_000, 100_000_000]) {
    world.wait(ms);
    assert.deepEqual((await world.pass()).wrote, []);
  }
}

function assertOver(world: SmallWorld, reason: string): void {
  const { session: self, pods, record } = world.state();
  assert.equal(reasonOf(self), reason);
  assert.equal(self.status?.conditions?.find(({ type }) => type === "Finished")?.status, "True");
  assert.deepEqual([pods, record], [[], undefined]);
}

test("a short session: bound, counted, made, registered, told, deleted, acknowledged; four writes to the API server, then silence", async () => {
  const world = createSmallWorld([HELLO]);
  const writes = await live(world);
  assert.deepEqual(writes, ["bind", "status Starting", "create notes-r1", "register notes-r1", "delete notes-r1", "status Completed", "acknowledge"]);
  assert.equal(writes.filter(isApiWrite).length, 4);
  assertOver(world, "Completed");
  await assertSilent(world);
});

test("a session with a sandbox gets it when the log asks", async () => {
  const world = createSmallWorld([WORKSPACE]);
  const writes = await live(world);
  assert.deepEqual(writes, [
    "bind", "status Starting", "create notes-r1", "register notes-r1",
    "create notes-s1", "register notes-s1", "append sandbox.bound",
    "delete notes-r1", "delete notes-s1", "status Completed", "acknowledge",
  ]);
  assertOver(world, "Completed");
  await assertSilent(world);
});

test("a workspace that is kept has one claim for all sandboxes of the session, which the operator never takes away", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool", "sandbox", "tool", "finish"]]);
  world.change({ environment: { ...environment, spec: { ...environment.spec, sandbox: { workspace: { persistence: "Session" } } } } });
  const writes = await live(world);
  assertOver(world, "Completed");
  assert.deepEqual(writes.filter((write) => /^(create|delete) notes-[sw]/.test(write)), ["create notes-w", "create notes-s1", "delete notes-s1", "create notes-s2", "delete notes-s2"]);
  assert.equal(world.state().claims?.length, 1);
  await assertSilent(world);
});

test("a runner that dies is followed by another, and the session completes with two attempts", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool", "die"], ["turn", "finish"]]);
  const writes = await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 2);
  assert.deepEqual(writes.filter((write) => write.startsWith("create")), ["create notes-r1", "create notes-s1", "create notes-r2"]);
  await assertSilent(world);
});

test("a price that is edited while a session runs does not keep its next runner away", async () => {
  const world = createSmallWorld([["turn", "die"], ["turn", "finish"]]);
  while (world.state().record?.turns !== 1) {
    await world.pass();
    world.step();
  }
  const models = environment.spec.models.map((model) => ({ ...model, pricing: { inputPerMillion: "9", outputPerMillion: "9" } }));
  world.change({ environment: { ...environment, spec: { ...environment.spec, models } } });
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 2);
  assert.equal(world.state().session.status?.environmentRevision, record().bundle.environment.digest);
});

test("a runner that is cut off is replaced after a minute", async () => {
  const world = createSmallWorld([["turn", "hang"], ["finish"]]);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 2);
});

test("three runners without progress end the session", async () => {
  const world = createSmallWorld([["die"], ["die"], ["die"], ["finish"]]);
  const writes = await live(world);
  assertOver(world, "RunnerFailed");
  assert.deepEqual(writes.filter((write) => write.startsWith("create")), ["create notes-r1", "create notes-r2", "create notes-r3"]);
  await assertSilent(world);
});

test("runners that make progress may die more often than that", async () => {
  const world = createSmallWorld([["turn", "die"], ["turn", "die"], ["turn", "die"], ["turn", "die"], ["finish"]]);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 5);
});

test("a cancel of a runner that does not react ends within seconds", async () => {
  const world = createSmallWorld([["turn"]]);
  while (world.state().record?.turns !== 1) {
    await world.pass();
    world.step();
  }
  const cancelledAt = world.now().getTime();
  world.change({ session: { ...world.state().session, spec: { ...session().spec, cancel: true } } });
  const writes = await live(world);
  assertOver(world, "Cancelled");
  assert.deepEqual(writes.filter((write) => write.startsWith("append")), ["append session.cancelled", "append run.finished"]);
  assert.ok(world.now().getTime() - cancelledAt <= 3_000);
  await assertSilent(world);
});

for (const [name, isBefore] of [["before a cancel", true], ["and an operator that starts anew", false]] as const) {
  test(`with a gateway that is away ${name} the sandbox of a cancelled session goes at once and its runner within seconds; the log hears of it later`, async () => {
    const world = createSmallWorld([["turn", "sandbox", "tool"]]);
    await until(world, ({ record: log }) => log?.toolCalls === 1);
    world.change({ isGatewayAway: true });
    cancel(world);
    const writes: string[] = [];
    const cancelledAt = world.now().getTime();
    for (let second = 0; second < 10; second += 1) {
      const latest = world.state();
      writes.push(...(await world.pass(isBefore ? latest : { ...latest, record: undefined, isUnsynced: true })).wrote);
      world.step();
      if (second > 0) world.wait(1_000);
    }
    assert.deepEqual(writes, ["delete notes-s1", "status Running", "delete notes-r1"].map((write) => write.replace("Running", reasonOf(world.state().session) ?? "")));
    assert.deepEqual(world.state().pods, []);
    assert.ok(world.now().getTime() - cancelledAt <= 10_000);
    world.change({ isGatewayAway: false });
    await live(world);
    assertOver(world, "Cancelled");
    await assertSilent(world);
  });
}

test("a session that never ends is ended at its deadline", async () => {
  const world = createSmallWorld([["turn"]]);
  await live(world);
  assertOver(world, "DeadlineExceeded");
  await assertSilent(world);
});

test("a sandbox that the runner replaces goes when the next one is made", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool", "sandbox", "tool", "finish"]]);
  const writes = await live(world);
  assertOver(world, "Completed");
  assert.deepEqual(writes.filter((write) => write.includes("notes-s")), [
    "create notes-s1", "register notes-s1", "delete notes-s1", "create notes-s2", "register notes-s2", "delete notes-s2",
  ]);
});

/** Operator and world take turns, without time passing, until the state is as wanted. */
async function until(world: SmallWorld, isSo: (state: State) => boolean): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) {
    if (isSo(world.state())) return;
    await world.pass();
    world.step();
  }
  throw new Error("the world has not come to the state that was waited for");
}

/** The next message to a Conversation. */
function say(world: SmallWorld): void {
  const { record: log } = world.state();
  if (log?.activity.kind !== "Waiting") return;
  const { answer: _, ...rest } = log;
  const deadline = new Date(world.now().getTime() + 600_000).toISOString();
  world.change({ record: { ...rest, activity: { kind: "Active" }, deadline, version: log.version + 1, lastSeq: log.lastSeq + 1 } });
}

function cancel(world: SmallWorld): void {
  const { session: self } = world.state();
  world.change({ session: { ...self, spec: { ...self.spec, cancel: true } } });
}

const messageOf = (world: SmallWorld): string => world.state().session.status?.conditions?.find(({ type }) => type === "Succeeded")?.message ?? "";
const conversation = (idleTimeoutSeconds?: number): Session => session({ spec: { mode: "Conversation", ...(idleTimeoutSeconds === undefined ? {} : { idleTimeoutSeconds }) } });
const stateOf = (world: SmallWorld, type: string): string | undefined => world.state().session.status?.conditions?.find((condition) => condition.type === type)?.status;

test("a Conversation that has waited too long has no pods and costs nothing; the next message gets it a runner that is no failure", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool", "answer"], ["turn", "answer"], ["answer"]], conversation());
  const writes = await live(world);
  assert.deepEqual(writes.slice(-5), ["append sandbox.bound", "status AwaitingInput", "status AwaitingInput", "delete notes-r1", "delete notes-s1"]);
  assert.deepEqual([world.state().pods, reasonOf(world.state().session), stateOf(world, "AwaitingInput")], [[], "AwaitingInput", "True"]);
  assert.equal(world.state().session.status?.answer?.text, "And now?");
  await assertSilent(world);

  say(world);
  const second = await live(world);
  assert.deepEqual(second.slice(0, 4), ["status Starting", "create notes-r2", "append sandbox.lost", "register notes-r2"]);
  assert.deepEqual(world.state().session.status?.runner, { attempts: 2, replacesPodUID: world.state().session.status?.runner?.replacesPodUID });
  await assertSilent(world);

  cancel(world);
  await live(world);
  assertOver(world, "Cancelled");
  assert.equal(stateOf(world, "AwaitingInput"), "False");
  await assertSilent(world);
});

test("a message that comes before the idle time is over goes to the runner that is there", async () => {
  const world = createSmallWorld([["turn", "answer", "turn", "finish"]], conversation(60));
  await until(world, ({ session: self }) => reasonOf(self) === "AwaitingInput");
  world.wait(59_000);
  assert.deepEqual((await world.pass()).result.requeueAfterMs, 1_000);
  say(world);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 1);
});

test("a runner that dies while its Conversation waits is not replaced before the next message", async () => {
  const world = createSmallWorld([["turn", "answer"], ["finish"]], conversation());
  await until(world, ({ record: log }) => log?.activity.kind === "Waiting");
  world.change({ pods: world.state().pods.map((one) => ({ ...one, status: { phase: "Failed" } })) });
  const writes = await live(world);
  assert.deepEqual(writes.filter((write) => write.startsWith("create")), []);
  assert.deepEqual(world.state().pods, []);
  say(world);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.failuresInARow, undefined);
});

test("the operator may die at any write of a Conversation: it waits without pods, goes on and ends as without a crash", async () => {
  const play = async (world: SmallWorld): Promise<string[]> => {
    const writes = await live(world);
    assert.deepEqual(world.state().pods, []);
    await assertSilent(world);
    say(world);
    writes.push(...(await live(world)));
    assertOver(world, "Completed");
    await assertSilent(world);
    return writes;
  };
  const make = (): SmallWorld => createSmallWorld([["turn", "answer"], ["turn", "finish"]], conversation(30));
  const expected = await play(make());
  for (let n = 1; n <= expected.length; n += 1) {
    for (const when of ["before", "after"] as const) {
      const world = make();
      world.crashAt(n, when);
      await play(world);
      assert.equal(world.state().session.status?.runner?.attempts, 2, `attempts after a crash ${when} write ${n}`);
    }
  }
});

test("runners that their nodes evict are no failures of the session", async () => {
  const world = createSmallWorld([["evict"], ["evict"], ["evict"], ["evict"], ["turn", "finish"]]);
  await live(world);
  assertOver(world, "Completed");
  assert.equal(world.state().session.status?.runner?.attempts, 5);
});

test("a cluster that takes every runner away ends the session after ten, and says so", async () => {
  const world = createSmallWorld(Array.from({ length: 12 }, () => ["evict"] as const), session({ spec: { limits: { timeoutSeconds: 600 } } }));
  await live(world);
  assertOver(world, "RunnerFailed");
  assert.equal(world.state().session.status?.runner?.attempts, 10);
  assert.match(world.state().session.status?.result?.message ?? "", /took away 10 runner pods in a row.*Evicted: The node was low on resource/);
});

test("an image that cannot be pulled is told, then ends the session with image and answer", async () => {
  const world = createSmallWorld([HELLO]);
  world.change({ imageTrouble: "manifest unknown" });
  const writes = await live(world);
  assert.deepEqual(writes, ["bind", "status Starting", "create notes-r1", "register notes-r1", "status Starting", "append run.finished", "delete notes-r1", "status ImagePullFailed", "acknowledge"]);
  assertOver(world, "ImagePullFailed");
  assert.equal(world.now().getTime() - at(0).getTime(), 300_000);
  assert.match(world.state().session.status?.result?.message ?? "", /Image ghcr\.io\/paddock\/runner:0\.1\.0 could not be pulled\. .*manifest unknown/);
  await assertSilent(world);
});

test("an image that comes in time is only told", async () => {
  const world = createSmallWorld([HELLO]);
  world.change({ imageTrouble: "registry is away" });
  for (let turn = 0; turn < 50 && !/registry is away/.test(messageOf(world)); turn += 1) {
    const { wrote, result } = await world.pass();
    if (!world.step() && wrote.length === 0 && result.requeueAfterMs !== undefined) world.wait(result.requeueAfterMs);
  }
  assert.match(messageOf(world), /Pod notes-r1 is waiting: ImagePullBackOff: registry is away/);
  world.change({ imageTrouble: "" });
  await live(world);
  assertOver(world, "Completed");
});

test("a finished Session is kept without a TTL, and deleted after it when its record is acknowledged", async () => {
  const kept = createSmallWorld([HELLO]);
  await live(kept);
  assert.equal(kept.state().isGone, undefined);
  const world = createSmallWorld([HELLO], session({ spec: { ttlSecondsAfterFinished: 3_600 } }));
  const writes = await live(world);
  assert.deepEqual(writes.slice(-2), ["acknowledge", "delete Session notes"]);
  assert.equal(world.now().getTime() - Date.parse(world.state().session.status?.completionTime ?? ""), 3_600_000);
  await assertSilent(world);
});

test("a policy that opens the pods of an Environment stops what runs in it", async () => {
  const world = createSmallWorld([["turn", "sandbox"]]);
  await until(world, ({ record: log }) => log?.sandbox.bound !== undefined);
  const message = "NetworkPolicy demo/allow-all selects Paddock pods and allows Ingress";
  const conditions = [{ type: "Ready", status: "False" as const, reason: "NetworkPolicyConflict", message, observedGeneration: 1, lastTransitionTime: at(0).toISOString() }];
  world.change({ environment: { ...environment, status: { conditions } } });
  await live(world);
  assertOver(world, "NotIsolated");
  assert.match(world.state().session.status?.result?.message ?? "", /NetworkPolicy demo\/allow-all/);
  await assertSilent(world);
});

for (const [name, gone] of [["deleted", undefined], ["being deleted", { ...environment, metadata: { ...environment.metadata, deletionTimestamp: at(1).toISOString() } }]] as const) {
  test(`a session whose Environment is ${name} has no pods, says so, and goes on in one of that name`, async () => {
    const world = createSmallWorld([["turn", "sandbox", "tool"], ["turn", "finish"]]);
    await until(world, ({ record: log }) => log?.toolCalls === 1);
    world.change({ environment: gone });
    for (let turn = 0; turn < 10; turn += 1) {
      await world.pass();
      world.step();
    }
    assert.deepEqual([world.state().pods, reasonOf(world.state().session)], [[], "EnvironmentNotFound"]);
    assert.match(messageOf(world), /Environment standard was deleted.*goes on when there is an Environment of that name again/);
    assert.deepEqual((await world.pass()).wrote, [], "silence");
    world.change({ environment });
    await live(world);
    assertOver(world, "Completed");
    assert.equal(world.state().session.status?.runner?.failuresInARow, undefined);
    await assertSilent(world);
  });
}

test("a session whose Environment stays away ends at its deadline", async () => {
  const world = createSmallWorld([["turn", "sandbox", "tool"]]);
  await until(world, ({ record: log }) => log?.toolCalls === 1);
  world.change({ environment: undefined });
  await live(world);
  assertOver(world, "DeadlineExceeded");
  await assertSilent(world);
});

for (const [name, scripts, outcome] of [
  ["with a sandbox", [WORKSPACE], "Completed"],
  ["whose runner dies", [["turn", "sandbox", "tool", "die"], ["turn", "finish"]], "Completed"],
  ["that fails", [["die"], ["die"], ["die"]], "RunnerFailed"],
] as const) {
  test(`the operator may die at any write of a session ${name}: the end is the same, and no pod is made twice`, async () => {
    const reference = createSmallWorld(scripts);
    const expected = await live(reference);
    const pods = expected.filter((write) => write.startsWith("create"));
    for (let n = 1; n <= expected.length; n += 1) {
      for (const when of ["before", "after"] as const) {
        const world = createSmallWorld(scripts);
        world.crashAt(n, when);
        const writes = await live(world);
        assertOver(world, outcome);
        assert.equal(world.state().session.status?.runner?.attempts, reference.state().session.status?.runner?.attempts, `attempts after a crash ${when} write ${n}`);
        // A write that was carried out and then not noted is the one that may be missing from the list.
        const missing = when === "after" ? expected[n - 1] : undefined;
        assert.deepEqual([...new Set([...writes, missing].filter((write) => write?.startsWith("create")))].sort(), [...pods].sort());
        await assertSilent(world);
      }
    }
  });
}

test("caches that lag behind, each source by itself, change nothing about the end", async () => {
  const lag = fc.record({ session: fc.nat(3), pods: fc.nat(3), record: fc.nat(3) });
  await fc.assert(
    fc.asyncProperty(fc.array(lag, { maxLength: 40 }), async (lags) => {
      const world = createSmallWorld([["turn", "sandbox", "tool", "die"], ["turn", "finish"]]);
      const history: State[] = [];
      const shown = { session: 0, pods: 0, record: 0 };
      let turn = 0;
      await live(world, (latest) => {
        history.push(latest);
        const behind = lags[turn];
        turn += 1;
        if (behind === undefined) return latest;
        // A cache never goes back.
        for (const source of ["session", "pods", "record"] as const) shown[source] = Math.max(shown[source], history.length - 1 - behind[source]);
        const entry = (source: keyof typeof shown) => history[shown[source]] ?? latest;
        return { session: entry("session").session, pods: entry("pods").pods, record: entry("record").record, environment: latest.environment };
      });
      assertOver(world, "Completed");
      assert.equal(world.state().session.status?.runner?.attempts, 2);
    }),
    { numRuns: 200 },
  );
});
