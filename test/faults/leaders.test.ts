import assert from "node:assert/strict";
import { test } from "node:test";
import { startLocalGateway } from "../fakes/gateway.ts";
import { startArmed } from "./stage.ts";
import { furnish, isFurnished } from "./stories.ts";
import { createWorld, until } from "./world.ts";
import { PODS, everMade, hasFinished, podNames, startSession } from "./stage.ts";

const LEASE = { leaseSeconds: 2 };

test("an operator whose connections freeze, neither closed nor answered, writes nothing once they thaw: another one leads", async (t) => {
  const gateway = await startLocalGateway();
  const world = await createWorld(gateway);
  t.after(async () => {
    await world.close();
    await gateway.close();
  });
  world.play([["answer", "stay"]]);
  furnish(world);
  const first = await startArmed(world, LEASE);
  await until(() => isFurnished(world) && first.operator.isLeading());
  startSession(world, "hello");
  await until(() => world.deeds() === 1);
  const second = await startArmed(world, LEASE);
  await until(() => second.operator.unready().length === 0);
  assert.equal(second.operator.isLeading(), false);
  first.fate.freeze();
  await until(() => second.operator.isLeading());
  assert.equal(first.operator.isLeading(), false);
  startSession(world, "other");
  world.edit("Session", "hello", ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
  await until(() => hasFinished(world, "hello") && podNames(world) === "other-r1" && world.deeds() === 2);
  const before = [...first.fate.writes];
  first.fate.thaw();
  // It has heard of all this once its caches are what the second one's are, and that it does not lead once it has asked for the lease again.
  startSession(world, "third");
  await until(() => first.operator.unready().length === 0 && podNames(world) === "other-r1,third-r1");
  world.edit("Session", "other", ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
  await until(() => hasFinished(world, "other") && podNames(world) === "third-r1");
  assert.deepEqual(first.fate.writes, before);
  assert.deepEqual([first.operator.isLeading(), second.operator.isLeading()], [false, true]);
  assert.deepEqual(everMade(world, PODS).toSorted(), ["hello-r1", "other-r1", "third-r1"]);
});
