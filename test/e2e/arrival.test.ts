import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Session } from "@paddock/api/session";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf, reasonOf, runningPod } from "./lab.ts";
import { get, must } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";

let namespace: string;

before(async () => {
  namespace = await openNamespace("arrival");
  await deployModel(namespace, { hello: [say("Hello.")], list: [call("bash", { command: "ls" }), say("done")], long: [call("bash", { command: "sleep 600" }), say("late")] });
});

async function statusOf(name: string): Promise<{ reason: string | undefined; message: string }> {
  const session = await get<Session>("session", name, namespace);
  const condition = session?.status?.conditions?.find(({ type }) => type === "Succeeded");
  return { reason: condition?.reason, message: condition?.message ?? "" };
}

test("a Session that comes first names what is missing and completes when it arrives", async () => {
  await apply(namespace, buildSession("early", "hello"));
  await eventually("AgentNotFound", async () => {
    const { reason, message } = await statusOf("early");
    return reason === "AgentNotFound" && message.includes("agent") && message.includes(namespace);
  });
  await apply(namespace, buildAgent("agent"));
  await eventually("EnvironmentNotFound", async () => {
    const { reason, message } = await statusOf("early");
    return reason === "EnvironmentNotFound" && message.includes("environment") && message.includes(namespace);
  });
  await apply(namespace, buildEnvironment("environment"));
  assert.equal(reasonOf(await finished(namespace, "early")), "Completed");
});

test("an Environment without the model that the Agent names is said, with what there is, and recovers", async () => {
  await apply(namespace, buildAgent("other", { model: { name: "big" } }), buildSession("no-model", "hello", { agent: "other" }));
  await eventually("ModelNotFound", async () => {
    const { reason, message } = await statusOf("no-model");
    return reason === "ModelNotFound" && message.includes("big") && message.includes("default");
  });
  await apply(namespace, buildAgent("other"));
  assert.equal(reasonOf(await finished(namespace, "no-model")), "Completed");
});

test("deleting a running Session removes its pods within 15 s", async (t) => {
  await apply(namespace, buildSession("doomed", "long"));
  await runningPod(namespace, "doomed", "sandbox");
  const startedAt = Date.now();
  await must(["delete", "session", "doomed", "-n", namespace]);
  await eventually("no pod of the deleted session", async () => {
    const pods = [...(await podsOf(namespace, "doomed", "runner")), ...(await podsOf(namespace, "doomed", "sandbox"))];
    return pods.length === 0;
  }, 15);
  t.diagnostic(`pods gone ${((Date.now() - startedAt) / 1000).toFixed(1)} s after the delete`);
});

test("cancel ends a running Session as Cancelled", async () => {
  await apply(namespace, buildSession("stopped", "long"));
  await runningPod(namespace, "stopped", "sandbox");
  await must(["patch", "session", "stopped", "-n", namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}']);
  assert.equal(reasonOf(await finished(namespace, "stopped")), "Cancelled");
});

test("a Session past its time ends as DeadlineExceeded", async () => {
  await apply(namespace, buildSession("slow", "long", { spec: { limits: { timeoutSeconds: 5 } } }));
  assert.equal(reasonOf(await finished(namespace, "slow")), "DeadlineExceeded");
});

test("a Session out of turns ends as MaxTurns", async () => {
  await apply(namespace, buildAgent("short", { limits: { maxTurns: 1 } }), buildSession("few", "list", { agent: "short" }));
  const session = await finished(namespace, "few");
  assert.equal(reasonOf(session), "MaxTurns");
  assert.match(session.status?.result?.message ?? "", /maxTurns/);
});
