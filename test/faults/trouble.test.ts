import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import type { Condition } from "@paddock/api/object";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
import { startLocalGateway } from "../fakes/gateway.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import { createFate } from "./fate.ts";
import { NAMESPACE, OURS, createWorld, until } from "./world.ts";
import type { Running, World } from "./world.ts";

// What a cluster does to an operator besides killing it: watches that lie or stop, servers that are away, objects that are not what their name says.

const SESSIONS = `${OURS}/sessions`;
const PODS = "/api/v1/pods";
const SPEC = { agentRef: { name: "greeter" }, environmentRef: { name: "lab" }, prompt: "Hi" };

let gateway: LocalGateway;
let world: World;
let running: Running;

before(async () => {
  gateway = await startLocalGateway();
});
after(() => gateway.close());
beforeEach(async () => {
  world = await createWorld(gateway);
  world.make("Agent", "greeter", { model: { name: "m" }, instructions: "Greet." });
  world.make("Environment", "lab", { models: [{ name: "m", model: "m", baseURL: "https://models.example.com/v1" }] });
  running = await startArmed();
  await until(() => statusOf("environments", "lab", "Ready")?.status === "True");
});
afterEach(() => world.close());

async function startArmed(): Promise<Running> {
  const fate = createFate();
  fate.arm();
  return world.start(fate);
}

function statusOf(plural: string, name: string, type: string): Condition | undefined {
  const found = world.api.store.list(`${OURS}/${plural}`).find(({ body }) => body.metadata.name === name);
  return (found?.body.status as { conditions?: readonly Condition[] } | undefined)?.conditions?.find((condition) => condition.type === type);
}

const hasFinished = (name: string): boolean => statusOf("sessions", name, "Finished")?.status === "True";
const reasonOf = (name: string): string | undefined => statusOf("sessions", name, "Succeeded")?.reason;
const podNames = (): string[] => world.api.store.list(PODS).map(({ body }) => body.metadata.name).sort();
const start = (name: string): string => world.make("Session", name, SPEC);
const created = (name: string): number => running.fate.writes.filter((line) => line === `POST /api/v1/namespaces/${NAMESPACE}/pods`).length + (name === "" ? 1 : 0);

describe("watches", () => {
  it("that are cut in the middle of an event go on where they were", async () => {
    world.play([["answer", "stay"]]);
    start("hello");
    await until(() => podNames().length === 1);
    world.api.cutWatches("midLine");
    start("other");
    await until(() => podNames().join() === "hello-r1,other-r1");
    assert.equal(created("hello"), 2);
  });

  it("whose history is gone are listed anew: what was deleted unseen is gone, what came unseen is taken in", async () => {
    world.play([["answer", "stay"]]);
    start("hello");
    await until(() => world.deeds() > 0);
    world.api.store.deleteUnseen({ collection: SESSIONS, namespace: NAMESPACE, name: "hello" });
    world.api.store.compact();
    world.api.cutWatches();
    start("other");
    await until(() => podNames().join() === "other-r1");
    await until(async () => ((await world.describe()) as { records: number }).records === 1);
  });

  it("that fall silent, and a cache that grows old, lead to no second pod and no lost one", async () => {
    world.play([["answer", "stay"]]);
    start("hello");
    await until(() => world.deeds() > 0);
    world.api.muteWatches();
    // Nobody hears of it; the records still tell, so that passes run over an old cache.
    world.api.store.delete({ collection: PODS, namespace: NAMESPACE, name: "hello-r1" }, undefined);
    start("unseen");
    await new Promise((resolve) => setTimeout(resolve, 100));
    world.api.drop();
    await until(() => podNames().join() === "hello-r2,unseen-r1");
    assert.equal(created("hello"), 3);
  });
});

describe("an API server", () => {
  it("that is away for a while is caught up with, and nothing is done twice", async () => {
    world.play([["answer", "stay"]]);
    start("hello");
    await until(() => world.deeds() > 0);
    world.api.failNext(/./, 503, { count: 40 });
    world.api.drop();
    start("other");
    await until(() => podNames().join() === "hello-r1,other-r1");
    assert.equal(created("hello"), 2);
  });

  it("that answers a write with a conflict is asked again over a newer cache", async () => {
    world.api.failNext(/PUT .*\/sessions\/hello\/status/, 409, { count: 2 });
    start("hello");
    await until(() => hasFinished("hello") && podNames().length === 0);
    assert.equal(reasonOf("hello"), "Completed");
    assert.equal(created("hello"), 1);
  });
});

describe("an object", () => {
  it("that was deleted and made again under its name while no operator ran is another one", async () => {
    world.play([["answer", "stay"], ["answer", "stay"]]);
    const uid = start("hello");
    await until(() => world.deeds() > 0);
    running.end();
    world.api.store.delete({ collection: SESSIONS, namespace: NAMESPACE, name: "hello" }, undefined);
    const again = start("hello");
    assert.notEqual(again, uid);
    running = await startArmed();
    const owner = () => world.api.store.list(PODS).map(({ body }) => (body.metadata.ownerReferences as readonly { uid: string }[])[0]?.uid);
    await until(() => owner().join() === again);
    await until(async () => ((await world.describe()) as { records: number }).records === 1);
    assert.equal(statusOf("sessions", "hello", "Finished")?.status, "False");
  });

  it("of somebody else under a name of ours ends the session and stays untouched", async () => {
    world.api.store.create(PODS, NAMESPACE, { apiVersion: "v1", kind: "Pod", metadata: { name: "hello-r1", labels: { app: "other" } }, spec: {} });
    start("hello");
    await until(() => hasFinished("hello"));
    assert.equal(reasonOf("hello"), "NameConflict");
    assert.match(statusOf("sessions", "hello", "Succeeded")?.message ?? "", /hello-r1/);
    assert.deepEqual(podNames(), ["hello-r1"]);
  });

  it("that claims to be ours, by labels and owner, is not taken for a pod of the session", async () => {
    world.play([["answer", "stay"]]);
    const uid = start("hello");
    await until(() => world.deeds() > 0);
    const labels = { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: "runner", [LABELS.sessionUid]: uid };
    const ownerReferences = [{ apiVersion: "paddock.dev/v1alpha1", kind: "Session", name: "hello", uid, controller: true }];
    world.api.store.create(PODS, NAMESPACE, { apiVersion: "v1", kind: "Pod", metadata: { name: "intruder", labels, ownerReferences }, spec: {} });
    const before = running.fate.writes.length;
    start("other");
    await until(() => podNames().includes("other-r1"));
    assert.deepEqual(podNames(), ["hello-r1", "intruder", "other-r1"]);
    assert.deepEqual(running.fate.writes.slice(before).filter((line) => /intruder|hello/.test(line)), []);
  });
});
