import { after, afterEach, before, beforeEach } from "node:test";
import type { Condition } from "@paddock/api/object";
import { startLocalGateway } from "../fakes/gateway.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { createFate } from "./fate.ts";
import { furnish, isFurnished } from "./stories.ts";
import { NAMESPACE, OURS, createWorld, until } from "./world.ts";
import type { Running, Start, World } from "./world.ts";

export const SESSIONS = `${OURS}/sessions`;
export const SCHEDULES = `${OURS}/schedules`;
export const PODS = "/api/v1/pods";
export const SPEC = { agentRef: { name: "greeter" }, environmentRef: { name: "lab" }, prompt: "Hi" };

/** What each test of a file begins with: a world of its own with an Agent, an Environment that is Ready, and an operator whose writes are told. */
export interface Stage {
  readonly gateway: LocalGateway;
  readonly world: World;
  running: Running;
}

/** Hooks of a file; the stage is there while a test runs. `how`: of the first operator. */
export function openStage(how?: Start): Stage {
  let gateway: LocalGateway | undefined;
  let world: World | undefined;
  let running: Running | undefined;
  before(async () => {
    gateway = await startLocalGateway();
  });
  after(() => gateway?.close());
  beforeEach(async () => {
    world = await createWorld(there(gateway));
    furnish(world);
    running = await startArmed(world, how);
    await until(() => isFurnished(there(world)));
  });
  afterEach(() => world?.close());
  return {
    get gateway() {
      return there(gateway);
    },
    get world() {
      return there(world);
    },
    get running() {
      return there(running);
    },
    set running(next) {
      running = next;
    },
  };
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the stage is there only while a test runs");
  return value;
}

/** An operator whose writes are told from the beginning. */
export async function startArmed(world: World, how?: Start): Promise<Running> {
  const fate = createFate();
  fate.arm();
  return world.start(fate, how);
}

export function conditionOf(world: World, plural: string, name: string, type: string): Condition | undefined {
  const found = world.api.store.list(`${OURS}/${plural}`).find(({ body }) => body.metadata.name === name);
  return (found?.body.status as { conditions?: readonly Condition[] } | undefined)?.conditions?.find((condition) => condition.type === type);
}

export const hasFinished = (world: World, name: string): boolean => conditionOf(world, "sessions", name, "Finished")?.status === "True";
export const reasonOf = (world: World, name: string): string | undefined => conditionOf(world, "sessions", name, "Succeeded")?.reason;
export const podNames = (world: World): string => world.api.store.list(PODS).map(({ body }) => body.metadata.name).sort().join();
export const startSession = (world: World, name: string, more: object = {}): string => world.make("Session", name, { ...SPEC, ...more });
export const sessionsIn = (world: World): readonly string[] => world.api.store.list(SESSIONS).map(({ body }) => body.metadata.name);

/** How often the API server was asked to create a pod. */
export const podsAsked = ({ fate }: Running): number => fate.writes.filter((line) => line === `POST /api/v1/namespaces/${NAMESPACE}/pods`).length;

/** How many pods and sessions there have been by name since the world began: names of children are made once. */
export function everMade(world: World, collection: string): readonly string[] {
  return world.api.store.journal().filter(({ type, object }) => type === "ADDED" && object.collection === collection).map(({ object }) => object.body.metadata.name);
}

/** Minutes of the hour, from `first` minutes ago to the one that has just begun: nothing else is due for a while. */
export function recentMinutes(first: number): { readonly schedule: string; readonly announced: string } {
  const now = Date.now() - (Date.now() % 60_000);
  const ticks = Array.from({ length: first + 1 }, (_, ago) => new Date(now - (first - ago) * 60_000));
  const minutes = ticks.map((tick) => tick.getUTCMinutes()).sort((a, b) => a - b);
  return { schedule: `${minutes.join()} * * * *`, announced: ticks[0]?.toISOString() ?? "" };
}
