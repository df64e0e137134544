import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ANNOTATIONS, LABELS, MANAGED_BY } from "@paddock/api/names";
import { runName, triggerKey } from "../../operator/src/schedule/names.ts";
import type { Schedule } from "@paddock/api/schedule";
import { NAMESPACE, OURS, until } from "./world.ts";
import { PODS, SCHEDULES, SESSIONS, SPEC, conditionOf, everMade, hasFinished, openStage, podNames, reasonOf, sessionsIn, startArmed, startSession } from "./stage.ts";

// Objects that are not what their name says: made again under it, or somebody else's.

const POLICIES = "/apis/networking.k8s.io/v1/networkpolicies";
const ACCOUNTS = "/api/v1/serviceaccounts";
const LAB = { models: [{ name: "m", model: "m", baseURL: "https://models.example.com/v1" }] };

const stage = openStage();
const stay = (): void => stage.world.play([["answer", "stay"]]);

interface Owned {
  readonly name: string;
  readonly ownerReferences?: readonly { readonly uid: string }[];
}

function ownersIn(collection: string): readonly string[] {
  return stage.world.api.store.list(collection).flatMap(({ body }) => ((body.metadata as unknown as Owned).ownerReferences ?? []).map(({ uid }) => uid));
}

function bodyOf(plural: string, name: string): unknown {
  return stage.world.api.store.get({ collection: `${OURS}/${plural}`, namespace: NAMESPACE, name });
}

function fire(value: string): void {
  stage.world.edit("Schedule", "yearly", ({ metadata }) => ({ metadata: { ...metadata, annotations: { [ANNOTATIONS.trigger]: value } } }));
}

const startSchedule = (): string => stage.world.make("Schedule", "yearly", { schedule: "0 0 29 2 *", sessionTemplate: { spec: SPEC } });

for (const when of ["while an operator looks", "while no operator runs"] as const) {
  const during = async (change: () => void): Promise<void> => {
    if (when === "while an operator looks") return change();
    stage.running.end();
    change();
    stage.running = await startArmed(stage.world);
  };

  describe(`made again under one name ${when}`, () => {
    it("a Session is another one: the first one's record ends, the second one runs", async () => {
      const { world } = stage;
      stay();
      const first = startSession(world, "hello");
      await until(() => world.deeds() > 0);
      let second = "";
      await during(() => {
        world.remove("Session", "hello");
        second = startSession(world, "hello");
      });
      await until(() => ownersIn(PODS).join() === second);
      await until(async () => (await world.records()) === 1);
      assert.equal((await world.log(first)).at(-1)?.type, "run.finished");
      assert.equal(hasFinished(world, "hello"), false);
    });

    it("an Agent is another one for sessions to come, and the same for those that run", async () => {
      const { world } = stage;
      stay();
      const bound = startSession(world, "hello");
      await until(() => world.deeds() > 0);
      await during(() => {
        world.remove("Agent", "greeter");
        world.make("Agent", "greeter", { model: { name: "m" }, instructions: "Be rude." });
      });
      const later = startSession(world, "other");
      await until(() => world.deeds() === 2);
      const digestOf = async (uid: string): Promise<unknown> => (await world.log(uid)).find(({ type }) => type === "session.bound")?.data;
      assert.notDeepEqual((await digestOf(bound) as { agentDigest: string }).agentDigest, (await digestOf(later) as { agentDigest: string }).agentDigest);
      assert.equal(podNames(world), "hello-r1,other-r1");
    });

    it("an Environment gets policies of its own before anything starts in it", async () => {
      const { world } = stage;
      let second = "";
      await during(() => {
        world.remove("Environment", "lab");
        second = world.make("Environment", "lab", LAB);
        startSession(world, "hello");
      });
      await until(() => hasFinished(world, "hello"));
      assert.equal(reasonOf(world, "hello"), "Completed");
      assert.deepEqual(ownersIn(POLICIES), [second, second]);
      const history = world.api.store.journal();
      const made = history.findIndex(({ type, object }) => type === "ADDED" && object.collection === PODS);
      const owned = history.slice(0, made).filter(({ object }) => object.collection === POLICIES && ((object.body.metadata as unknown as Owned).ownerReferences ?? []).some(({ uid }) => uid === second));
      assert.deepEqual([...new Set(owned.map(({ object }) => object.body.metadata.name))].sort(), ["paddock-lab-runner", "paddock-lab-sandbox"]);
    });

    it("a Schedule knows nothing of its predecessor's sessions, and fires for a trigger of the same value", async () => {
      const { world } = stage;
      startSchedule();
      fire("now");
      await until(() => conditionOf(world, "schedules", "yearly", "LastRunSucceeded")?.status === "True");
      const [first] = sessionsIn(world);
      await during(() => {
        world.remove("Schedule", "yearly");
        startSchedule();
        fire("now");
      });
      await until(() => !sessionsIn(world).includes(first ?? "") && conditionOf(world, "schedules", "yearly", "LastRunSucceeded")?.status === "True");
      assert.equal(everMade(world, SESSIONS).length, 2);
      await until(async () => (await world.records()) === 0);
    });
  });
}

describe("of somebody else", () => {
  it("a pod under a name of ours ends the session and stays untouched", async () => {
    const { world } = stage;
    world.api.store.create(PODS, NAMESPACE, { apiVersion: "v1", kind: "Pod", metadata: { name: "hello-r1", labels: { app: "other" } }, spec: {} });
    startSession(world, "hello");
    await until(() => hasFinished(world, "hello"));
    assert.equal(reasonOf(world, "hello"), "NameConflict");
    assert.match(conditionOf(world, "sessions", "hello", "Succeeded")?.message ?? "", /hello-r1/);
    assert.equal(podNames(world), "hello-r1");
  });

  it("a pod that claims to be ours, by labels and owner, is not taken for one of the session", async () => {
    const { world, running } = stage;
    stay();
    const uid = startSession(world, "hello");
    await until(() => world.deeds() > 0);
    const labels = { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: "runner", [LABELS.sessionUid]: uid };
    const ownerReferences = [{ apiVersion: "paddock.dev/v1alpha1", kind: "Session", name: "hello", uid, controller: true }];
    world.api.store.create(PODS, NAMESPACE, { apiVersion: "v1", kind: "Pod", metadata: { name: "intruder", labels, ownerReferences }, spec: {} });
    const before = running.fate.writes.length;
    startSession(world, "other");
    await until(() => podNames(world).includes("other-r1"));
    assert.equal(podNames(world), "hello-r1,intruder,other-r1");
    assert.deepEqual(running.fate.writes.slice(before).filter((line) => /intruder|hello/.test(line)), []);
  });

  it("a Session under a Schedule's child name stays untouched, and the Schedule says so", async () => {
    const { world } = stage;
    startSchedule();
    const name = runName(bodyOf("schedules", "yearly") as Schedule, triggerKey("now"));
    startSession(world, name);
    await until(() => hasFinished(world, name));
    const before = bodyOf("sessions", name);
    fire("now");
    await until(() => conditionOf(world, "schedules", "yearly", "Ready")?.reason === "NameConflict");
    assert.match(conditionOf(world, "schedules", "yearly", "Ready")?.message ?? "", new RegExp(name));
    assert.deepEqual(bodyOf("sessions", name), before);
    fire("later");
    await until(() => conditionOf(world, "schedules", "yearly", "LastRunSucceeded")?.status === "True");
    assert.equal(sessionsIn(world).length, 2);
    assert.equal((world.api.store.get({ collection: SCHEDULES, namespace: NAMESPACE, name: "yearly" }).status as { observedTrigger?: string }).observedTrigger, "later");
  });

  for (const [what, collection, name] of [["a network policy", POLICIES, "paddock-lab-runner"], ["a service account", ACCOUNTS, "paddock-pod"]] as const) {
    it(`${what} under a name of ours keeps the Environment from being Ready and stays untouched, until it is gone`, async () => {
      const { world } = stage;
      world.remove("Environment", "lab");
      const key = { collection, namespace: NAMESPACE, name };
      await until(() => ownersIn(POLICIES).length === 0);
      const apiVersion = collection === POLICIES ? "networking.k8s.io/v1" : "v1";
      if (world.api.store.list(collection).some(({ body }) => body.metadata.name === name)) world.api.store.delete(key, undefined);
      const spec = { podSelector: { matchLabels: { app: "other" } } };
      world.api.store.create(collection, NAMESPACE, { apiVersion, kind: collection === POLICIES ? "NetworkPolicy" : "ServiceAccount", metadata: { name, labels: { app: "other" } }, ...(collection === POLICIES ? { spec } : {}) });
      const theirs = world.api.store.get(key);
      world.make("Environment", "lab", LAB);
      startSession(world, "hello");
      await until(() => conditionOf(world, "environments", "lab", "Ready")?.reason === "NameConflict" && reasonOf(world, "hello") === "EnvironmentNotReady");
      assert.deepEqual(world.api.store.get(key), theirs);
      assert.deepEqual(everMade(world, PODS), []);
      world.api.store.delete(key, undefined);
      // What has no label of ours is in no cache: an edit is what makes it look again at once.
      world.edit("Environment", "lab", () => ({ spec: { ...LAB, limits: { timeoutSeconds: 600 } } }));
      await until(() => hasFinished(world, "hello"));
      assert.equal(reasonOf(world, "hello"), "Completed");
    });
  }
});
