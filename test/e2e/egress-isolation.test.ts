import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { TestContext } from "node:test";
import { LABELS } from "@paddock/api/names";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf, reasonOf } from "./lab.ts";
import { kubectl, must } from "./kubectl.ts";
import { call, deployModel, modelRequests, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { openGateway, readLog, userToken } from "./people.ts";
import { conditionOf } from "../forge/scene.ts";
import { metadataAddress, openSink } from "../cluster/sink.ts";
import type { Sink } from "../cluster/sink.ts";

// What a session does in a cluster whose network policies do not hold. The cluster of the tests enforces them, so its sandboxes are opened here
// by a means that the operator does not watch: a policy of Cilium's own kind. Only the addresses of the sink are opened, and only they can answer.

let namespace: string;

before(async () => {
  namespace = await openNamespace("unproven");
  await apply(namespace, buildAgent("agent"), buildEnvironment("verified"), buildEnvironment("unverified", { spec: { network: { ...MODEL, enforcement: "Unverified" } } }));
  await deployModel(namespace, Object.fromEntries(["closed", "open", "accepted"].map((name) => [name, [call("bash", { command: "echo ran" }), say("Done.")]])));
});

const MODEL = { inCluster: [{ podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] }] };

/** A policy by which sandboxes of the namespace reach the sink. */
function buildOpening(sink: Sink): object {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "opening" },
    spec: {
      endpointSelector: { matchLabels: { [LABELS.component]: "sandbox" } },
      egress: [{ toCIDR: sink.targets.map(({ host }) => `${host}/32`) }],
    },
  };
}

/** The sink with a listener on each of its addresses, or undefined, said aloud, where the cluster has neither sink nor Cilium. */
async function openWayOut(t: TestContext): Promise<Sink | undefined> {
  const { code } = await kubectl(["get", "crd", "ciliumnetworkpolicies.cilium.io"]);
  const sink = code === 0 ? await openSink() : undefined;
  if (sink === undefined) t.skip("this cluster has no sink or is not Cilium's: no sandbox can be opened without reaching something real");
  else t.after(() => sink.close());
  return sink;
}

async function isolatedOf(session: string): Promise<{ status?: string; reason?: string; message?: string }> {
  return (await conditionOf("session", session, namespace, "Isolated")) ?? {};
}

test("with the sink listening and its policies in force, a sandbox's probe finds nothing open", async (t) => {
  const sink = await openWayOut(t);
  if (sink === undefined) return;
  await apply(namespace, buildSession("closed", "closed", { environment: "verified" }));
  assert.equal(reasonOf(await finished(namespace, "closed")), "Completed");
  const { status, reason } = await isolatedOf("closed");
  assert.deepEqual([status, reason], ["True", "Proven"]);
  assert.deepEqual(sink.seen(), [], "control: not one packet");
});

test("a sandbox that reaches what it must not: NotIsolated with what answered and what to do, before any command ran", async (t) => {
  const sink = await openWayOut(t);
  if (sink === undefined) return;
  await apply(namespace, buildOpening(sink));
  t.after(() => must(["delete", "ciliumnetworkpolicy", "opening", "-n", namespace]));
  await apply(namespace, buildSession("open", "open", { environment: "verified" }));
  const session = await finished(namespace, "open");
  assert.equal(reasonOf(session), "NotIsolated", JSON.stringify(session.status));
  const { status, reason, message = "" } = await isolatedOf("open");
  assert.deepEqual([status, reason], ["False", "NotIsolated"], message);
  const words = `${message}\n${session.status?.result?.message ?? ""}`;
  assert.ok(words.includes(metadataAddress), words);
  assert.match(words, /Cilium|Calico/);
  assert.match(words, /network\.enforcement: Unverified/);
  assert.ok(sink.seen().length > 0, "control: the sandbox did reach the sink");
  assert.ok(sink.seen().every(({ data }) => data === ""), "nothing was sent to what it reached");

  const gateway = await openGateway();
  t.after(() => gateway.close());
  const events = await readLog(gateway, namespace, "open", await userToken(namespace));
  assert.equal(events.some(({ type }) => type === "tool.started"), false, "no command was started");
  assert.equal((await modelRequests(namespace)).filter(({ prompt }) => prompt === "open").length, 1);
  await eventually("its pods to be gone", async () => (await podsOf(namespace, "open", "sandbox")).length + (await podsOf(namespace, "open", "runner")).length === 0);
  await eventually("the Environment to say so", async () => (await conditionOf("environment", "verified", namespace, "Ready"))?.reason === "NetworkPolicyNotEnforced");
});

test("an Environment that accepts it by name goes on, and status says so", async (t) => {
  const sink = await openWayOut(t);
  if (sink === undefined) return;
  await apply(namespace, buildOpening(sink));
  t.after(() => must(["delete", "ciliumnetworkpolicy", "opening", "-n", namespace]));
  await apply(namespace, buildSession("accepted", "accepted", { environment: "unverified" }));
  const session = await finished(namespace, "accepted");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  const { status, reason, message = "" } = await isolatedOf("accepted");
  assert.deepEqual([status, reason], ["False", "Unverified"], message);
  assert.ok(message.includes(metadataAddress), message);
});
