import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startLocalGateway } from "../fakes/gateway.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { inLanes } from "../steps.ts";
import { createFate } from "./fate.ts";
import type { Blow } from "./fate.ts";
import { STORIES, furnish, isFurnished } from "./stories.ts";
import type { Story } from "./stories.ts";
import { OURS, createWorld, until } from "./world.ts";
import type { World } from "./world.ts";

// The operator is struck at every single write of a story, in three ways, and another one takes over: the end is that of a story without a blow, and then there is silence.

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
    if (story.isBare !== true) furnish(world, story.environment);
    const fate = createFate(blow);
    const survivor = createFate();
    survivor.arm();
    let current = await world.start(fate);
    if (story.isBare !== true) await until(() => isFurnished(world));
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
      if (!isMeanwhileOver) isMeanwhileOver = (await story.meanwhile?.(world)) ?? true;
      return isMeanwhileOver && story.isOver(world);
    });
    // The end is the living operator's to see, and its silence is to be one of who could write.
    await until(async () => {
      await goOn();
      return current.operator.isLeading() && current.operator.unready().length === 0 && (await world.records()) === (story.records ?? 0);
    });
    const state = await settle(world, goOn);
    await story.check?.(world);
    const writes = [...fate.writes];
    await clear(world, goOn);
    return { state, writes };
  } finally {
    await world.close();
  }
}

const LANES = 4;
const QUIET_MS = 80;

/** Waits until nothing has been written or changed for a while; resolves to what there is then. */
async function settle(world: World, goOn: () => Promise<number>): Promise<unknown> {
  const look = async (): Promise<unknown> => [await goOn(), await world.describe()];
  for (let before = await look(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    const now = await look();
    if (JSON.stringify(now) === JSON.stringify(before)) return (now as [number, unknown])[1];
    before = now;
  }
}

/** The next story at this gateway finds no record of this one. */
async function clear(world: World, goOn: () => Promise<number>): Promise<void> {
  for (const { body } of world.api.store.list(`${OURS}/schedules`)) world.remove("Schedule", body.metadata.name);
  for (const { body } of world.api.store.list(`${OURS}/sessions`)) world.remove("Session", body.metadata.name);
  await until(async () => {
    await goOn();
    return (await world.records()) === 0;
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
        const failures: unknown[] = [];
        // Most of a story is waiting: several are told at the same time, each in a world of its own, and all to their ends.
        await inLanes([...writes.entries()], LANES, async ([index, write]) => {
          try {
            const end = await told({ at: index + 1, how });
            assert.deepEqual(end.state, state, `${how} write ${index + 1}: ${write}`);
          } catch (error) {
            failures.push(error);
          }
        });
        if (failures.length > 0) throw failures[0];
      });
    }
  });
}
