import { isDeepStrictEqual } from "node:util";
import type { SessionOutcome } from "@paddock/api/conditions";
import type { NewEvent } from "@paddock/api/log/events";
import { LABELS } from "@paddock/api/names";
import type { BaseStatus } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action, Fault, Key, Ports, Read, Source } from "../kernel/kind.ts";
import { type PassResult, reconcile } from "../kernel/reconcile.ts";
import { type PodView, agents, environments, pods as podSource, records as recordSource, sessions } from "../sources.ts";
import { agent, at, environment, pod, record, session, settings } from "./sample.ts";
import { sessionKind } from "./session.ts";

// A world of one session, small enough for a test: an API server and a gateway with their rules, a kubelet, a runner that follows a script,
// and the kind under the kernel's own pass. Only what the operator's rules meet is played.

/** What a runner does, one step per turn of the world. `die` ends its pod, `hang` cuts its stream. */
export type Deed = "turn" | "tool" | "sandbox" | "finish" | "die" | "hang";

interface State {
  readonly session: Session;
  readonly pods: readonly PodView[];
  readonly record: RecordView | undefined;
}

/** Thrown by a write when the operator is to die: nothing after it in the pass is carried out. */
class Crash extends Error {}

export interface SmallWorld {
  /** One pass of the operator over what `view` shows. Resolves to what it wrote, in words. */
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

export function createSmallWorld(scripts: readonly (readonly Deed[])[], first: Session = session()): SmallWorld {
  let state: State = { session: first, pods: [], record: undefined };
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

  const create = (name: string, component: "runner" | "sandbox"): void => {
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
    switch (action.verb) {
      case "create":
        return create(action.object.metadata.name, action.object.metadata.labels?.[LABELS.component] === "runner" ? "runner" : "sandbox");
      case "delete":
        return terminate(action.uid);
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
  const terminate = (uid: string): void => {
    const target = state.pods.find(({ metadata }) => metadata.uid === uid);
    if (target !== undefined) changePod(uid, { metadata: { ...target.metadata, deletionTimestamp: now().toISOString() } });
  };
  const bind = (startTime: string): void => {
    if (state.record === undefined) change({ record: record({ bundle: { ...record().bundle, startTime } }) });
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
    const result = await reconcile(sessionKind(() => settings), state.session.metadata, { read: readerOf(view), write, now, classify });
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
    if (runner === undefined || log === undefined || log.activity.kind === "Finished") return false;
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

function readerOf({ session: self, pods, record: log }: State): Read {
  const objects: Readonly<Record<string, readonly unknown[]>> = { [agents.name]: [agent], [environments.name]: [environment], [sessions.name]: [self], [podSource.name]: pods };
  const isNamed = ({ namespace, name }: Key) => (item: unknown): boolean => {
    const { metadata } = item as { readonly metadata: Key };
    return metadata.namespace === namespace && metadata.name === name;
  };
  return {
    get: <T>(source: Source<T>, key: Key) => objects[source.name]?.find(isNamed(key)) as T | undefined,
    list: <T>(source: Source<T>) => (source.name === recordSource.name ? (log === undefined ? [] : [log]) : (objects[source.name] ?? [])) as readonly T[],
    isSynced: () => true,
  };
}

function nameOf(action: Action): string {
  switch (action.verb) {
    case "create":
      return `create ${action.object.metadata.name}`;
    case "delete":
      return `delete ${action.key.name}`;
    case "append":
      return `append ${action.events.map(({ type }) => type).join(", ")}`;
    case "register":
      return `register ${action.registration.podName}`;
    default:
      return action.verb;
  }
}

export function reasonOf(self: Session): string | undefined {
  return self.status?.conditions?.find(({ type }) => type === "Succeeded")?.reason;
}

/** Whether two states of the world are the same. */
export function isSame(a: State, b: State): boolean {
  return isDeepStrictEqual(a, b);
}
