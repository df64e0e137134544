import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Condition } from "@paddock/api/object";
import { startLocalGateway } from "../fakes/gateway.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { inLanes } from "../steps.ts";
import { createFate } from "./fate.ts";
import type { Blow } from "./fate.ts";
import type { Deed } from "./players.ts";
import { NAMESPACE, OURS, createWorld, until } from "./world.ts";
import type { World } from "./world.ts";

// The operator is struck at every single write of a story, in three ways, and another one takes over: the end is that of a story without a blow, and then there is silence.

interface Story {
  readonly name: string;
  readonly script?: readonly (readonly Deed[])[];
  /** Sets the stage; Agent and Environment are there. */
  begin(world: World): void;
  /** Something that happens on the way, asked again and again until it says true. */
  meanwhile?(world: World): boolean;
  isOver(world: World): boolean;
}

const SESSION = { agentRef: { name: "greeter" }, environmentRef: { name: "lab" }, prompt: "Hi" };

function conditionsOf(world: World, plural: string, name: (name: string) => boolean): readonly Condition[] {
  const found = world.api.store.list(`${OURS}/${plural}`).find(({ body }) => name(body.metadata.name));
  return ((found?.body.status as { conditions?: readonly Condition[] } | undefined)?.conditions ?? []);
}

const isReady = (world: World): boolean => conditionsOf(world, "environments", () => true).some(({ type, status }) => type === "Ready" && status === "True");
const isFinished = (world: World): boolean => conditionsOf(world, "sessions", () => true).some(({ type, status }) => type === "Finished" && status === "True");
const podsOf = (world: World): number => world.api.store.list("/api/v1/pods").length;
const sessionsOf = (world: World): number => world.api.store.list(`${OURS}/sessions`).length;
const isDone = (world: World): boolean => isFinished(world) && podsOf(world) === 0;
const startSession = (more: object = {}) => (world: World) => void world.make("Session", "hello", { ...SESSION, ...more });

const STORIES: readonly Story[] = [
  { name: "a session from nothing to its end", begin: startSession(), isOver: isDone },
  { name: "a runner that dies once", script: [["answer", "die"], ["answer", "finish"]], begin: startSession(), isOver: isDone },
  { name: "a session with a sandbox", script: [["sandbox", "answer", "finish"]], begin: startSession(), isOver: isDone },
  {
    name: "a session that is cancelled",
    script: [["answer", "stay"]],
    begin: startSession(),
    meanwhile: (world) => {
      if (world.deeds() === 0) return false;
      const key = { collection: `${OURS}/sessions`, namespace: NAMESPACE, name: "hello" };
      const body = world.api.store.get(key);
      world.api.store.update(key, { ...body, spec: { ...SESSION, cancel: true } }, false);
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
      world.api.store.delete({ collection: `${OURS}/sessions`, namespace: NAMESPACE, name: "hello" }, undefined);
      return true;
    },
    isOver: (world) => sessionsOf(world) === 0 && podsOf(world) === 0,
  },
  { name: "a session that is deleted after its end", begin: startSession({ ttlSecondsAfterFinished: 0 }), isOver: (world) => sessionsOf(world) === 0 && podsOf(world) === 0 },
  {
    name: "a schedule that fires",
    begin: (world) => {
      // Announced for the minute that has just begun: it is due as soon as an operator looks, and then not for an hour.
      const due = new Date(Date.now() - (Date.now() % 60_000));
      world.make("Schedule", "hourly", { schedule: `${due.getUTCMinutes()} * * * *`, startingDeadlineSeconds: 1800, sessionTemplate: { spec: SESSION } }, { status: { observedGeneration: 1, nextScheduleTime: due.toISOString() } });
    },
    isOver: (world) => isDone(world) && conditionsOf(world, "schedules", () => true).some(({ type, status }) => type === "LastRunSucceeded" && status === "True"),
  },
];

interface End {
  readonly state: unknown;
  /** Writes of the first operator. */
  readonly writes: readonly string[];
}

/** Tells a story to its end, with a blow or without, and until nothing is written any more. */
async function tell(gateway: LocalGateway, story: Story, blow?: Blow): Promise<End> {
  const world = await createWorld(gateway);
  try {
    world.play(story.script ?? [["answer", "finish"]]);
    world.make("Agent", "greeter", { model: { name: "m" }, instructions: "Greet." });
    world.make("Environment", "lab", { models: [{ name: "m", model: "m", baseURL: "https://models.example.com/v1" }] });
    const fate = createFate(blow);
    const survivor = createFate();
    survivor.arm();
    let current = await world.start(fate);
    await until(() => isReady(world));
    fate.arm();
    story.begin(world);
    let isMeanwhileOver = story.meanwhile === undefined;
    /** The dead are replaced; resolves to the writes so far. */
    const goOn = async (): Promise<number> => {
      if (current.fate.isDead()) {
        current.end();
        current = await world.start(survivor);
      }
      return fate.writes.length + survivor.writes.length;
    };
    await until(async () => {
      await goOn();
      if (!isMeanwhileOver) isMeanwhileOver = story.meanwhile?.(world) ?? true;
      return isMeanwhileOver && story.isOver(world);
    });
    await settle(world, goOn);
    return { state: await world.describe(), writes: fate.writes };
  } finally {
    await world.close();
  }
}

const LANES = 4;
const QUIET_MS = 80;

/** Waits until no record is left and nothing has been written for a while. */
async function settle(world: World, goOn: () => Promise<number>): Promise<void> {
  let before = -1;
  await until(async () => {
    const writes = await goOn();
    const isQuiet = before === writes && ((await world.describe()) as { records: number }).records === 0;
    before = writes;
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    return isQuiet && before === (await goOn());
  });
}

for (const story of STORIES) {
  describe(`${story.name}, with the operator struck`, () => {
    // One for each lane: an operator ends records whose Session it does not know.
    const gateways: LocalGateway[] = [];
    let reference: End;
    before(async () => {
      for (let lane = 0; lane < LANES; lane += 1) gateways.push(await startLocalGateway());
      reference = await told();
    });
    after(() => Promise.all(gateways.map((gateway) => gateway.close())));

    const told = async (blow?: Blow): Promise<End> => {
      const gateway = gateways.pop();
      if (gateway === undefined) throw new Error("more stories at once than gateways");
      return tell(gateway, story, blow).finally(() => gateways.push(gateway));
    };

    for (const how of ["dies before", "dies after", "loses the answer of"] as const) {
      it(`it ${how} each of its writes`, async () => {
        const { state, writes } = reference;
        assert.ok(writes.length >= 3, writes.join("\n"));
        // Most of a story is waiting: several are told at the same time, each in a world of its own.
        await inLanes([...writes.entries()], LANES, async ([index, write]) => {
          const end = await told({ at: index + 1, how });
          assert.deepEqual(end.state, state, `${how} write ${index + 1}: ${write}`);
        });
      });
    }
  });
}
