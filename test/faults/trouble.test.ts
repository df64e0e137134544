import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ANNOTATIONS } from "@paddock/api/names";
import { startTcpProxy } from "../fakes/tcp-proxy.ts";
import { NAMESPACE, OURS, until } from "./world.ts";
import { PODS, SCHEDULES, SESSIONS, SPEC, conditionOf, everMade, hasFinished, openStage, podNames, podsAsked, reasonOf, recentMinutes, sessionsIn, startArmed, startSession } from "./stage.ts";

// What a cluster does to an operator besides killing it: watches that lie or stop, an API server that is away.

const stage = openStage();
const stay = (): void => stage.world.play([["answer", "stay"]]);

describe("watches", () => {
  it("that are cut in the middle of an event go on where they were", async () => {
    const { world, running } = stage;
    stay();
    startSession(world, "hello");
    await until(() => podNames(world) === "hello-r1");
    world.api.cutWatches("midLine");
    startSession(world, "other");
    await until(() => podNames(world) === "hello-r1,other-r1");
    assert.equal(podsAsked(running), 2);
  });

  it("that fall silent, and a cache that grows old, lead to no second pod and no lost one", async () => {
    const { world, running } = stage;
    stay();
    startSession(world, "hello");
    await until(() => world.deeds() > 0);
    world.api.muteWatches();
    world.api.store.delete({ collection: PODS, namespace: NAMESPACE, name: "hello-r1" }, undefined);
    startSession(world, "unseen");
    world.api.drop();
    await until(() => podNames(world) === "hello-r2,unseen-r1");
    assert.equal(podsAsked(running), 3);
  });

  it("that bring several changes at once: the last one counts", async () => {
    const { world } = stage;
    stay();
    startSession(world, "hello");
    await until(() => world.deeds() > 0);
    world.api.muteWatches();
    startSession(world, "cancelled");
    world.edit("Session", "cancelled", ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
    startSession(world, "gone");
    world.remove("Session", "gone");
    world.edit("Session", "hello", ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
    for (const instructions of ["One.", "Two.", "Three."]) world.edit("Agent", "greeter", ({ spec }) => ({ spec: { ...(spec as object), instructions } }));
    world.make("Schedule", "yearly", { schedule: "0 0 29 2 *", sessionTemplate: { spec: SPEC } });
    for (const value of ["first", "second"]) world.edit("Schedule", "yearly", ({ metadata }) => ({ metadata: { ...metadata, annotations: { [ANNOTATIONS.trigger]: value } } }));
    world.api.drop();
    await until(() => reasonOf(world, "hello") === "Cancelled" && reasonOf(world, "cancelled") === "Cancelled");
    await until(() => sessionsIn(world).length === 3 && world.deeds() === 2);
    assert.deepEqual(everMade(world, PODS).filter((name) => !name.startsWith("yearly")), ["hello-r1"]);
    assert.equal(everMade(world, SESSIONS).filter((name) => name.startsWith("yearly")).length, 1);
    await until(() => world.api.store.get({ collection: `${OURS}/agents`, namespace: NAMESPACE, name: "greeter" }).metadata.generation === 4);
  });

  for (const collection of [PODS, SESSIONS]) {
    it(`of ${collection} alone that fall silent lead to nothing done twice`, async () => {
      const { world, running } = stage;
      stay();
      startSession(world, "hello");
      await until(() => world.deeds() > 0);
      world.api.muteWatches(collection);
      startSession(world, "other");
      // The records' stream goes on and wakes the sessions again and again, over a cache that does not move.
      assert.equal(await stage.world.say("hello", "a"), true);
      assert.equal(await stage.world.say("hello", "b"), true);
      const before = [...everMade(world, PODS)];
      // A session that ends without a pod is passed after those that were woken before it.
      world.make("Session", "last", { ...SPEC, cancel: true });
      if (collection === PODS) await until(() => reasonOf(world, "last") === "Cancelled" && everMade(world, PODS).includes("other-r1"));
      else assert.deepEqual(before, ["hello-r1"]);
      world.api.cutWatches();
      await until(() => podNames(world) === "hello-r1,other-r1" && reasonOf(world, "last") === "Cancelled");
      assert.equal(podsAsked(running), 2);
      assert.deepEqual(everMade(world, PODS), ["hello-r1", "other-r1"]);
    });
  }

  it("whose history is gone are listed anew: what came, changed and went unseen is taken in, in every collection", async () => {
    const { world } = stage;
    stay();
    for (const name of ["gone", "hello", "idle"]) startSession(world, name);
    await until(() => world.deeds() === 3);
    world.api.muteWatches();
    world.api.store.deleteUnseen({ collection: SESSIONS, namespace: NAMESPACE, name: "gone" });
    world.api.store.deleteUnseen({ collection: PODS, namespace: NAMESPACE, name: "idle-r1" });
    world.api.store.deleteUnseen({ collection: "/apis/networking.k8s.io/v1/networkpolicies", namespace: NAMESPACE, name: "paddock-baseline" });
    world.edit("Session", "hello", ({ spec }) => ({ spec: { ...(spec as object), cancel: true } }));
    startSession(world, "new");
    world.api.store.compact();
    world.api.cutWatches();
    await until(() => podNames(world) === "idle-r2,new-r1" && reasonOf(world, "hello") === "Cancelled");
    await until(() => world.api.store.list("/apis/networking.k8s.io/v1/networkpolicies").some(({ body }) => body.metadata.name === "paddock-baseline"));
    await until(async () => (await world.records()) === 2);
  });
});

describe("a write whose answer is lost", () => {
  const ways: readonly (readonly [verb: string, match: RegExp])[] = [
    ["create of a pod", /^POST .*\/pods$/],
    ["create of a session", /^POST .*\/sessions$/],
    ["status of a session", /^PUT .*\/sessions\/[^/]+\/status$/],
    ["status of a schedule", /^PUT .*\/schedules\/[^/]+\/status$/],
    ["delete of a pod", /^DELETE .*\/pods\//],
    ["apply of a policy", /^PATCH .*\/networkpolicies\/paddock-baseline$/],
  ];
  for (const [verb, match] of ways) {
    it(`is made once: ${verb}`, async () => {
      const { world } = stage;
      world.api.loseNextAnswer(match);
      const { schedule, announced } = recentMinutes(0);
      world.make("Schedule", "hourly", { schedule, startingDeadlineSeconds: 1800, sessionTemplate: { spec: SPEC } }, { status: { observedGeneration: 1, nextScheduleTime: announced } });
      world.api.store.delete({ collection: "/apis/networking.k8s.io/v1/networkpolicies", namespace: NAMESPACE, name: "paddock-baseline" }, undefined);
      await until(() => conditionOf(world, "schedules", "hourly", "LastRunSucceeded")?.status === "True" && podNames(world) === "");
      await until(async () => (await world.records()) === 0 && conditionOf(world, "environments", "lab", "Ready")?.status === "True");
      assert.equal(everMade(world, SESSIONS).length, 1);
      assert.equal(everMade(world, PODS).length, 1);
      assert.equal(everMade(world, "/apis/networking.k8s.io/v1/networkpolicies").filter((name) => name === "paddock-baseline").length, 2);
    });
  }
});

describe("an API server", () => {
  it("that is away for a while is caught up with, and nothing is done twice", async () => {
    const { world, running } = stage;
    stay();
    startSession(world, "hello");
    await until(() => world.deeds() > 0);
    world.api.failNext(/./, 503, { count: 40 });
    world.api.drop();
    startSession(world, "other");
    await until(() => podNames(world) === "hello-r1,other-r1");
    assert.equal(podsAsked(running), 2);
  });

  it("that answers a write with a conflict is asked again over a newer cache", async () => {
    const { world, running } = stage;
    world.api.failNext(/PUT .*\/sessions\/hello\/status/, 409, { count: 2 });
    startSession(world, "hello");
    await until(() => hasFinished(world, "hello") && podNames(world) === "");
    assert.equal(reasonOf(world, "hello"), "Completed");
    assert.equal(podsAsked(running), 1);
  });

  it("that is restarted as one without streaming lists is listed in pages", async () => {
    const { world, running } = stage;
    stay();
    startSession(world, "hello");
    await until(() => world.deeds() > 0);
    await world.api.stop();
    world.api.setStreamingLists("refused");
    startSession(world, "other");
    world.api.store.compact();
    const before = world.api.requests.length;
    await world.api.resume();
    await until(() => podNames(world) === "hello-r1,other-r1");
    assert.equal(podsAsked(running), 2);
    // A streaming list that is refused, the page, the watch.
    assert.ok(world.api.requests.slice(before).filter((line) => line === `GET ${SESSIONS}`).length >= 3);
  });

  it("that was away for ten minutes: of the times that passed the newest fires, once, and what has changed is taken in", async () => {
    const { world } = stage;
    stay();
    for (const name of ["gone", "hello"]) startSession(world, name);
    const { schedule, announced } = recentMinutes(10);
    world.make("Schedule", "often", { schedule, suspend: true, sessionTemplate: { spec: SPEC } });
    await until(() => world.deeds() === 2 && conditionOf(world, "schedules", "often", "Ready")?.reason === "Suspended");
    await world.api.stop();
    // As if it had been announced before all this: the clock is the only thing here that cannot be set.
    const key = { collection: SCHEDULES, namespace: NAMESPACE, name: "often" };
    world.edit("Schedule", "often", ({ spec }) => ({ spec: { ...(spec as object), suspend: false } }));
    const { metadata: { generation } } = world.api.store.get(key);
    world.api.store.update(key, { ...world.api.store.get(key), status: { observedGeneration: generation, nextScheduleTime: announced } }, true);
    world.api.store.deleteUnseen({ collection: SESSIONS, namespace: NAMESPACE, name: "gone" });
    startSession(world, "new");
    world.api.store.compact();
    await world.api.resume();
    const runs = (): readonly string[] => sessionsIn(world).filter((name) => name.startsWith("often-"));
    const told = (): { readonly missed?: number } | undefined => world.api.store.get(key).status as { readonly missed?: number } | undefined;
    await until(() => runs().length === 1 && told()?.missed === 10);
    await until(() => podNames(world) === `hello-r1,new-r1,${runs()[0] ?? ""}-r1`);
    await until(async () => (await world.records()) === 3);
    assert.equal(runs().length, 1);
  });

  it("behind a connection on which nothing comes any more is reached anew, and nothing is missed", async () => {
    const { world } = stage;
    stay();
    stage.running.end();
    const proxies: Awaited<ReturnType<typeof startTcpProxy>>[] = [];
    const through = async (url: string): Promise<string> => {
      const proxy = await startTcpProxy({ host: "127.0.0.1", port: Number(new URL(url).port) });
      proxies.push(proxy);
      return `http://127.0.0.1:${proxy.port}`;
    };
    const lane = { connectTimeoutMs: 1_000, pingEveryMs: 100, pingTimeoutMs: 500 };
    stage.running = await startArmed(world, { through, patience: { lane } });
    const [proxy] = proxies;
    assert.ok(proxy);
    try {
      startSession(world, "hello");
      await until(() => world.deeds() > 0);
      const before = proxy.accepted();
      proxy.setMode("hole");
      startSession(world, "other");
      world.remove("Session", "hello");
      await until(() => proxy.accepted() > before);
      assert.equal(everMade(world, PODS).join(), "hello-r1");
      proxy.setMode("pass");
      await until(() => podNames(world) === "other-r1");
      await until(async () => (await world.records()) === 1);
      assert.deepEqual(everMade(world, PODS), ["hello-r1", "other-r1"]);
    } finally {
      stage.running.end();
      await proxy.close();
    }
  });
});
