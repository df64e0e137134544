import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, test } from "node:test";
import { ANNOTATIONS } from "@paddock/api/names";
import { startLocalGateway } from "../fakes/gateway.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { createFate } from "./fate.ts";
import type { Blow } from "./fate.ts";
import { furnish, isFurnished } from "./stories.ts";
import { PODS, SESSIONS, SPEC, everMade, hasFinished, podNames, reasonOf, recentMinutes, sessionsIn, startSession } from "./stage.ts";
import { NAMESPACE, createWorld, until } from "./world.ts";
import type { Running, World } from "./world.ts";

// Troubles at random over a few sessions and a schedule. A round is named by its seed: with the same one the same troubles come in the same order.

const ROUNDS = 30;
const STEPS = 12;
const FIRST_SEED = randomInt(2 ** 31);

/** Numbers in [0, 1) by a seed; mulberry32, public domain. */
function randomBy(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Round {
  readonly world: World;
  readonly random: () => number;
  operator: Running;
  /** Messages that the trigger annotation has had. */
  triggers: number;
}

const OF_A_TICK = /^often-.*-[0-9]{12}$/;
const NAMES = ["one", "two", "three"];
const HOWS: readonly Blow["how"][] = ["dies before", "dies after", "loses the answer of"];

async function startOperator({ world, random }: Pick<Round, "world" | "random">): Promise<Running> {
  const fate = createFate({ at: 1 + Math.floor(random() * 8), how: pick(HOWS, random) });
  fate.arm();
  return world.start(fate);
}

/** `items` is not empty. */
function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)] as T;
}

const TROUBLES: Readonly<Record<string, (round: Round) => void>> = {
  drop: ({ world }) => world.api.drop(),
  cut: ({ world, random }) => world.api.cutWatches(random() < 0.5 ? "midLine" : "clean"),
  // Silence ends with the next drop or cut; the end of a round has both.
  mute: ({ world, random }) => world.api.muteWatches(pick([PODS, SESSIONS, undefined], random)),
  forget: ({ world }) => world.api.store.compact(),
  refuse: ({ world, random }) => world.api.failNext(/^(PUT|POST|DELETE|PATCH) \/apis\/paddock|pods/, pick([409, 500, 503], random), { count: 1 + Math.floor(random() * 3) }),
  lose: ({ world, random }) => world.api.loseNextAnswer(pick([/^POST .*pods$/, /^PUT .*status$/, /^DELETE /], random)),
  kill: ({ operator }) => operator.fate.kill(),
  begin: ({ world, random }) => {
    const name = pick(NAMES, random);
    if (!sessionsIn(world).includes(name)) startSession(world, name);
  },
  cancel: ({ world, random }) => {
    const name = pick(NAMES, random);
    if (sessionsIn(world).includes(name)) world.edit("Session", name, ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
  },
  remove: ({ world, random }) => {
    const name = pick(NAMES, random);
    if (sessionsIn(world).includes(name)) world.remove("Session", name);
  },
  drain: ({ world, random }) => {
    const pods = world.api.store.list(PODS);
    if (pods.length > 0) world.api.store.delete({ collection: PODS, namespace: NAMESPACE, name: pick(pods, random).body.metadata.name }, undefined);
  },
  trigger: (round) => {
    round.triggers += 1;
    round.world.edit("Schedule", "often", ({ metadata }) => ({ metadata: { ...metadata, annotations: { [ANNOTATIONS.trigger]: `t${round.triggers}` } } }));
  },
};

/** The dead are replaced, by others with fates of their own. */
async function revive(round: Round): Promise<void> {
  if (!round.operator.fate.isDead()) return;
  round.operator.end();
  round.operator = await startOperator(round);
}

async function play(gateway: LocalGateway, seed: number): Promise<void> {
  const random = randomBy(seed);
  const world = await createWorld(gateway);
  try {
    furnish(world);
    const { schedule, announced } = recentMinutes(0);
    const spec = { schedule, startingDeadlineSeconds: 1800, concurrencyPolicy: "Allow", successfulSessionsHistoryLimit: 100, failedSessionsHistoryLimit: 100, sessionTemplate: { spec: SPEC } };
    world.make("Schedule", "often", spec, { status: { observedGeneration: 1, nextScheduleTime: announced } });
    const round: Round = { world, random, operator: await startOperator({ world, random }), triggers: 0 };
    for (let step = 0; step < STEPS; step += 1) {
      TROUBLES[pick(Object.keys(TROUBLES), random)]?.(round);
      await revive(round);
      // Whatever comes next comes somewhere in the middle of what this one has begun.
      for (let turns = Math.floor(random() * 12); turns > 0; turns -= 1) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await recover(round);
    await assertEnd(round);
  } finally {
    await world.close();
  }
}

/** All is well again: a new operator, which sees everything. */
async function recover(round: Round): Promise<void> {
  const { world } = round;
  round.operator.end();
  const fate = createFate();
  fate.arm();
  round.operator = await world.start(fate);
  const told = (): string | undefined => (world.api.store.get({ collection: "/apis/paddock.dev/v1alpha1/schedules", namespace: NAMESPACE, name: "often" }).status as { observedTrigger?: string }).observedTrigger;
  const areFinished = (): boolean => sessionsIn(world).every((name) => hasFinished(world, name));
  const hasFired = (): boolean => everMade(world, SESSIONS).some((name) => OF_A_TICK.test(name));
  const isServed = (): boolean => hasFired() && (round.triggers === 0 || told() === `t${round.triggers}`);
  await until(async () => isFurnished(world) && isServed() && areFinished() && podNames(world) === "" && (await world.records()) === 0);
}

async function assertEnd({ world, operator }: Round): Promise<void> {
  const runs = everMade(world, SESSIONS).filter((name) => name.startsWith("often-"));
  assert.equal(new Set(runs).size, runs.length, `a session for each tick: ${runs.join()}`);
  assert.equal(runs.filter((name) => OF_A_TICK.test(name)).length, 1);
  const pods = everMade(world, PODS);
  assert.ok(pods.length >= runs.length);
  for (const { body } of world.api.store.list(SESSIONS)) {
    const ends = (await world.log(body.metadata.uid)).filter(({ type }) => type === "run.finished");
    // One that is cancelled before it was bound has no log.
    assert.ok(ends.length === 1 || (ends.length === 0 && reasonOf(world, body.metadata.name) === "Cancelled"), `${body.metadata.name}: ${ends.length} ends`);
  }
  const before = operator.fate.writes.length;
  const version = world.api.store.version();
  // A pass over everything: a list anew wakes what has changed, and nothing has.
  const asked = world.api.requests.length;
  world.api.cutWatches();
  await until(() => world.api.requests.length >= asked + 7 && operator.operator.unready().length === 0);
  assert.deepEqual([operator.fate.writes.slice(before), world.api.store.since(version).filter(({ object }) => !object.collection.endsWith("leases"))], [[], []]);
}

let gateway: LocalGateway;
before(async () => {
  gateway = await startLocalGateway();
});
after(() => gateway.close());

for (let round = 0; round < ROUNDS; round += 1) {
  const seed = FIRST_SEED + round;
  test(`troubles by seed ${seed}`, () => play(gateway, seed));
}
