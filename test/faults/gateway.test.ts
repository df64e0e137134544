import assert from "node:assert/strict";
import { it } from "node:test";
import { until } from "./world.ts";
import { PODS, everMade, hasFinished, openStage, podNames, reasonOf, startSession } from "./stage.ts";

// What becomes of sessions when the gateway is away, or comes back with less than it knew.

const stage = openStage();

it("a gateway that is away while sessions begin and end: they do so when it is back, once", async () => {
  const { world, gateway } = stage;
  world.play([["answer", "stay"], ["finish"]]);
  startSession(world, "hello");
  await until(() => world.deeds() === 1);
  await gateway.stop();
  startSession(world, "begun");
  startSession(world, "gone");
  world.remove("Session", "gone");
  world.api.store.delete({ collection: PODS, namespace: "team", name: "hello-r1" }, undefined);
  await until(() => reasonOf(world, "begun") === "Pending");
  await gateway.start();
  world.play([["answer", "finish"], ["finish"]]);
  await until(() => hasFinished(world, "hello") && hasFinished(world, "begun") && podNames(world) === "");
  await until(async () => (await world.records()) === 0);
  assert.deepEqual([reasonOf(world, "hello"), reasonOf(world, "begun")], ["Completed", "Completed"]);
  assert.deepEqual(everMade(world, PODS).toSorted(), ["begun-r1", "hello-r1", "hello-r2"]);
});

it("a gateway restored from an older store: what it has forgotten is lost, what had ended stays ended, and nothing runs again", async () => {
  const { world, gateway } = stage;
  world.play([["answer", "stay"]]);
  startSession(world, "going");
  const ended = startSession(world, "ended");
  await until(() => world.deeds() === 2);
  await gateway.stop();
  await gateway.backUp();
  await gateway.start();
  world.edit("Session", "ended", ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
  const forgotten = startSession(world, "forgotten");
  await until(() => hasFinished(world, "ended") && world.deeds() === 3);
  await until(async () => (await world.records()) === 2);
  await gateway.stop();
  await gateway.restore();
  await gateway.start();
  await until(() => reasonOf(world, "forgotten") === "LogLost" && podNames(world) === "going-r1");
  // Behind its terminal status the restored record is ended again.
  await until(async () => (await world.records()) === 1);
  assert.equal(reasonOf(world, "ended"), "Cancelled");
  assert.equal((await world.log(ended)).filter(({ type }) => type === "run.finished").length, 1);
  assert.deepEqual(await world.log(forgotten), []);
  assert.equal(hasFinished(world, "going"), false);
  assert.deepEqual(everMade(world, PODS).toSorted(), ["ended-r1", "forgotten-r1", "going-r1"]);
});

it("a record that is older than what status has told is lost, though it is there", async () => {
  const { world, gateway } = stage;
  world.play([["stay"]]);
  const uid = startSession(world, "hello");
  await until(async () => (await world.log(uid)).some(({ type }) => type === "runner.started"));
  await gateway.stop();
  await gateway.backUp();
  await gateway.start();
  // Each further attempt is counted in status, with how far the log had come.
  world.play([["answer", "answer", "stay"]]);
  world.api.store.delete({ collection: PODS, namespace: "team", name: "hello-r1" }, undefined);
  await until(() => world.deeds() === 2);
  world.api.store.delete({ collection: PODS, namespace: "team", name: "hello-r2" }, undefined);
  await until(() => podNames(world) === "hello-r3");
  await gateway.stop();
  await gateway.restore();
  await gateway.start();
  await until(() => reasonOf(world, "hello") === "LogLost" && podNames(world) === "");
  assert.deepEqual(everMade(world, PODS), ["hello-r1", "hello-r2", "hello-r3"]);
});
