import assert from "node:assert/strict";
import { before, test } from "node:test";
import { openUser, grant } from "./identities.ts";
import { list, must } from "./kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, runningPod } from "./lab.ts";
import type { Pod } from "./lab.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";

// Pods whose owner somebody takes away: the garbage collector leaves them alone then, so that something else has to.

let namespace: string;

before(async () => {
  namespace = await openNamespace("orphans");
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  await deployModel(namespace, { left: [call("bash", { command: "sleep 600" }), say("late")], held: [call("bash", { command: "sleep 600" }), say("late")] });
});

test("a Session that is deleted without its pods still takes them with it", async () => {
  await apply(namespace, buildSession("left", "left"));
  await runningPod(namespace, "left", "sandbox");
  await must(["delete", "session", "left", "-n", namespace, "--cascade=orphan"]);
  await eventually("the pods to be gone", async () => (await list<Pod>("pods", namespace, "paddock.dev/session=left")).length === 0, 60);
});

test("nobody takes a pod of Paddock's from its owner, by which it is stopped", async () => {
  await apply(namespace, buildSession("held", "held"));
  const { metadata } = await runningPod(namespace, "held", "sandbox");
  const person = await openUser("stripper");
  await grant(namespace, person, [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "patch"] }]);
  const strip = JSON.stringify([{ op: "remove", path: "/metadata/ownerReferences" }]);
  assert.match(await person.refusal(["patch", "pod", metadata.name, "-n", namespace, "--type=json", "-p", strip]), /metadata\.ownerReferences of Paddock's pods/);
  await person.must(["label", "pod", metadata.name, "-n", namespace, "example.com/team=blue"]);
  await must(["delete", "session", "held", "-n", namespace]);
});
