import assert from "node:assert/strict";
import type { Condition } from "@paddock/api/object";
import { ANNOTATIONS } from "@paddock/api/names";
import type { Script } from "./players.ts";
import { NAMESPACE, OURS } from "./world.ts";
import type { World } from "./world.ts";

// What an operator does from a beginning to an end, told by what others do and by how it is over.

export interface Story {
  readonly name: string;
  readonly script?: Script;
  /** Agent and Environment are made by the story too. */
  readonly isBare?: boolean;
  /** Of the Environment, beside its model. */
  readonly environment?: object;
  /** Records that are left at the end; none when absent. */
  readonly records?: number;
  /** Sets the stage. */
  begin(world: World): void;
  /** Something that happens on the way, asked again and again until it says true. */
  meanwhile?(world: World): boolean | Promise<boolean>;
  isOver(world: World): boolean;
  /** What must hold at the end beside the state; throws. */
  check?(world: World): Promise<void>;
}

const SESSION = { agentRef: { name: "greeter" }, environmentRef: { name: "lab" }, prompt: "Hi" };
const MODEL = { name: "m", model: "m", baseURL: "https://models.example.com/v1" };

interface Seen {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly observedTrigger?: string };
}

function objectsOf(world: World, plural: string): readonly Seen[] {
  return world.api.store.list(`${OURS}/${plural}`).map(({ body }) => body as unknown as Seen);
}

function has({ status }: Seen, type: string, value: string): boolean {
  return status?.conditions?.some((condition) => condition.type === type && (condition.status === value || condition.reason === value)) === true;
}

/** All of these objects, at least one, have a condition of this type with this status or reason. */
function are(world: World, plural: string, type: string, value: string): boolean {
  const objects = objectsOf(world, plural);
  return objects.length > 0 && objects.every((object) => has(object, type, value));
}

const podsOf = (world: World): number => world.api.store.list("/api/v1/pods").length;
const sessionsOf = (world: World): number => objectsOf(world, "sessions").length;
const isDone = (world: World): boolean => are(world, "sessions", "Finished", "True") && podsOf(world) === 0;
const waits = (world: World): boolean => are(world, "sessions", "AwaitingInput", "True") && podsOf(world) === 0;
const triggerOf = (world: World): string => objectsOf(world, "schedules")[0]?.status?.observedTrigger ?? "";
const isGone = (world: World): boolean => sessionsOf(world) === 0 && podsOf(world) === 0;
const startSession = (more: object = {}) => (world: World) => void world.make("Session", "hello", { ...SESSION, ...more });

/** Makes Agent and Environment. */
export function furnish(world: World, environment: object = {}): void {
  world.make("Agent", "greeter", { model: { name: "m" }, instructions: "Greet.", tools: [{ name: "read" }] });
  world.make("Environment", "lab", { models: [MODEL], ...environment });
}

export function isFurnished(world: World): boolean {
  return are(world, "environments", "Ready", "True") && are(world, "agents", "Ready", "True");
}

/** The minute in which this file was read: the same for all tellings, due as soon as an operator looks, and then not for an hour. */
const DUE = new Date(Date.now() - (Date.now() % 60_000));

function startSchedule(world: World, more: object = {}, session: object = {}): void {
  const spec = { schedule: `${DUE.getUTCMinutes()} * * * *`, startingDeadlineSeconds: 3600, sessionTemplate: { spec: { ...SESSION, ...session } }, ...more };
  world.make("Schedule", "hourly", spec, { status: { observedGeneration: 1, nextScheduleTime: DUE.toISOString() } });
}

/** A person's decision on every Approval that waits; admission has let it through. */
function decide(world: World, decision: "Approved" | "Denied"): true {
  for (const { body } of world.api.store.list(`${OURS}/approvals`)) {
    const key = { collection: `${OURS}/approvals`, namespace: NAMESPACE, name: body.metadata.name };
    world.api.store.update(key, { ...body, status: { ...(body.status as object | undefined), decision: { decision, decidedBy: "bob" } } }, true);
  }
  return true;
}

function suspend(world: World, isWanted: boolean): void {
  world.edit("Session", "hello", ({ spec }) => ({ spec: { ...(spec as object), suspend: isWanted } }));
}

function isAskedToStop(world: World): boolean {
  return world.api.store.list(`${OURS}/sessions`).some(({ body }) => (body.spec as { readonly suspend?: boolean }).suspend === true);
}

function trigger(world: World, value: string): true {
  world.edit("Schedule", "hourly", ({ metadata }) => ({ metadata: { ...metadata, annotations: { [ANNOTATIONS.trigger]: value } } }));
  return true;
}

export const STORIES: readonly Story[] = [
  {
    name: "an Environment and an Agent from nothing",
    isBare: true,
    begin: furnish,
    isOver: isFurnished,
  },
  { name: "a session from nothing to its end", begin: startSession(), isOver: isDone },
  { name: "a runner that dies once", script: [["answer", "die"], ["answer", "finish"]], begin: startSession(), isOver: isDone },
  { name: "a runner whose node evicts it", script: [["answer", "evict"], ["answer", "finish"]], begin: startSession(), isOver: isDone },
  { name: "a session with a sandbox", script: [["sandbox", "answer", "finish"]], begin: startSession(), isOver: isDone },
  {
    name: "a session that takes prompt and files from a ConfigMap",
    begin: (world) => {
      world.api.store.create("/api/v1/configmaps", NAMESPACE, { metadata: { name: "texts" }, data: { prompt: "Hi there", notes: "Be kind." } });
      const { prompt: _, ...spec } = SESSION;
      const from = (key: string) => ({ configMapKeyRef: { name: "texts", key } });
      world.make("Session", "hello", { ...spec, promptFrom: from("prompt"), files: [{ path: "notes.md", ...from("notes") }] });
    },
    isOver: isDone,
  },
  {
    name: "a session that is cancelled",
    script: [["answer", "stay"]],
    begin: startSession(),
    meanwhile: (world) => {
      if (world.deeds() === 0) return false;
      world.edit("Session", "hello", () => ({ spec: { ...SESSION, cancel: true } }));
      return true;
    },
    isOver: isDone,
  },
  {
    name: "a session that is deleted while it runs",
    script: [["answer", "stay"]],
    begin: startSession(),
    meanwhile: (world) => {
      if (world.deeds() === 0) return false;
      world.remove("Session", "hello");
      return true;
    },
    isOver: isGone,
  },
  { name: "a session that is deleted after its end", begin: startSession({ ttlSecondsAfterFinished: 0 }), isOver: isGone },
  {
    name: "two sessions and one slot",
    environment: { budget: { maxConcurrentSessions: 1 } },
    begin: (world) => {
      for (const name of ["hello", "other"]) world.make("Session", name, SESSION);
    },
    isOver: (world) => isDone(world) && sessionsOf(world) === 2,
    check: async (world) => {
      const logs = await Promise.all(objectsOf(world, "sessions").map(({ metadata }) => world.log(metadata.uid)));
      const [first, second] = logs.map((log) => ({ from: log[0]?.at ?? "never", to: log.at(-1)?.at ?? "never" })).sort((a, b) => a.from.localeCompare(b.from));
      assert.ok(first !== undefined && second !== undefined && first.to <= second.from, JSON.stringify(logs.map((log) => log.map(({ type, at }) => `${at} ${type}`))));
    },
  },
  {
    name: "a conversation that waits, gives up its pods and is woken by a message",
    script: [["answer", "wait"]],
    records: 1,
    begin: startSession({ mode: "Conversation", idleTimeoutSeconds: 0 }),
    meanwhile: (world) => waits(world) && world.say("hello", "second"),
    isOver: (world) => world.deeds() === 4 && waits(world),
  },
  {
    name: "a call that waits for approval without pods, is approved and made",
    environment: { permissions: [{ tool: "read", decision: "Ask" }] },
    script: [["ask"], ["sandbox", "use", "answer", "finish"]],
    begin: startSession({ idleTimeoutSeconds: 0 }),
    meanwhile: (world) => are(world, "sessions", "AwaitingApproval", "True") && podsOf(world) === 0 && decide(world, "Approved"),
    isOver: (world) => isDone(world) && are(world, "approvals", "Resolved", "Approved") && are(world, "sessions", "Succeeded", "Completed"),
    check: async (world) => {
      const log = await world.log(objectsOf(world, "sessions")[0]?.metadata.uid ?? "");
      const once = log.filter(({ type }) => type.startsWith("approval.") || type === "tool.started");
      assert.deepEqual(once.map(({ type }) => type), ["approval.requested", "approval.resolved", "tool.started"]);
      assert.ok(once.some((event) => event.type === "approval.resolved" && event.data.by === "bob" && event.data.decision === "Approved"));
    },
  },
  {
    name: "a session that is cancelled while a call waits for approval",
    environment: { permissions: [{ tool: "read", decision: "Ask" }] },
    script: [["ask"]],
    begin: startSession({ idleTimeoutSeconds: 0 }),
    meanwhile: (world) => {
      if (!are(world, "approvals", "Resolved", "Pending")) return false;
      world.edit("Session", "hello", () => ({ spec: { ...SESSION, idleTimeoutSeconds: 0, cancel: true } }));
      return true;
    },
    isOver: (world) => isDone(world) && are(world, "approvals", "Resolved", "Withdrawn"),
  },
  {
    name: "a conversation that is suspended while it waits, and goes on when it is resumed",
    script: [["answer", "wait"]],
    records: 1,
    begin: startSession({ mode: "Conversation", idleTimeoutSeconds: 0 }),
    meanwhile: async (world) => {
      if (waits(world) && !isAskedToStop(world)) suspend(world, true);
      if (!are(world, "sessions", "Suspended", "True") || !(await world.say("hello", "second"))) return false;
      suspend(world, false);
      return true;
    },
    isOver: (world) => world.deeds() === 4 && waits(world) && !are(world, "sessions", "Suspended", "True"),
  },
  {
    name: "a daily budget that is told before anything spends it, and again when it is raised",
    environment: { models: [{ ...MODEL, pricing: { inputPerMillion: "1", outputPerMillion: "1" } }], budget: { costUSDPerDay: "5.00" } },
    begin: (world) => {
      world.edit("Environment", "lab", ({ spec }) => ({ spec: { ...(spec as object), budget: { costUSDPerDay: "50.00" } } }));
      startSession()(world);
    },
    isOver: (world) => isDone(world) && isFurnished(world),
    check: async (world) => {
      const told = await world.budgets();
      assert.deepEqual(told.map(({ costUSDPerDay }) => costUSDPerDay).slice(-1), ["50.00"]);
    },
  },
  {
    name: "a session whose pods are opened by somebody's network policy",
    script: [["answer", "stay"]],
    begin: startSession(),
    meanwhile: (world) => {
      if (world.deeds() === 0) return false;
      const spec = { podSelector: {}, policyTypes: ["Ingress"], ingress: [{}] };
      world.api.store.create("/apis/networking.k8s.io/v1/networkpolicies", NAMESPACE, { metadata: { name: "open" }, spec });
      return true;
    },
    isOver: (world) => isDone(world) && are(world, "sessions", "Succeeded", "NotIsolated") && are(world, "environments", "Ready", "NetworkPolicyConflict"),
  },
  {
    name: "a schedule that fires",
    begin: startSchedule,
    isOver: (world) => isDone(world) && are(world, "schedules", "LastRunSucceeded", "True"),
  },
  {
    name: "a schedule that goes on with one conversation",
    script: [["answer", "wait"]],
    records: 1,
    begin: (world) => startSchedule(world, { sessionMode: "Resume" }, { mode: "Conversation", idleTimeoutSeconds: 0 }),
    meanwhile: (world) => waits(world) && trigger(world, "again"),
    isOver: (world) => world.deeds() === 4 && waits(world) && triggerOf(world) === "again",
  },
  {
    name: "a schedule that replaces what still runs",
    script: [["answer", "stay"]],
    begin: (world) => startSchedule(world, { concurrencyPolicy: "Replace" }),
    meanwhile: (world) => {
      if (world.deeds() === 0) return false;
      world.play([["answer", "finish"]]);
      return trigger(world, "again");
    },
    isOver: (world) => isDone(world) && sessionsOf(world) === 1 && triggerOf(world) === "again" && are(world, "schedules", "LastRunSucceeded", "True"),
  },
  {
    name: "a schedule that keeps one session of two",
    begin: (world) => startSchedule(world, { successfulSessionsHistoryLimit: 1 }),
    meanwhile: (world) => isDone(world) && trigger(world, "again"),
    isOver: (world) => isDone(world) && sessionsOf(world) === 1 && triggerOf(world) === "again" && objectsOf(world, "sessions")[0]?.metadata.name.includes("-t") === true,
  },
];
