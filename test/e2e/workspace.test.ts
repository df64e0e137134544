import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { TestContext } from "node:test";
import type { LogEvent } from "@paddock/api/log/events";
import { workspaceClaimName } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, reasonOf, runningPod } from "./lab.ts";
import { get, kubectl, list, must } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { openGateway, readLog, userToken } from "./people.ts";
import type { PeopleClient } from "./people.ts";
import { processesOf } from "./processes.ts";

// The workspace that outlives pods, what happens at the limits of a sandbox, and namespaces and nodes that ask more of pods.

let namespace: string;
let token: string;
let gateway: PeopleClient;

const KEEP = "test -e kept && cat kept || { echo written-once > kept; echo made; }";

before(async () => {
  namespace = await openNamespace("workspace");
  token = await userToken(namespace);
  await deployModel(namespace, {
    kept: [call("bash", { command: KEEP }), call("bash", { command: "until [ -e /tmp/go ]; do sleep 0.2; done; echo went" }), call("bash", { command: KEEP }), say("{{lastToolResult}}")],
    unplaced: [call("bash", { command: "true" }), say("Done.")],
    memory: [call("bash", { command: `node -e 'const kept = []; for (;;) kept.push(Buffer.alloc(16777216, 1));'` }), call("bash", { command: "echo again" }), say("{{lastToolResult}}")],
    disk: [call("bash", { command: "head -c 200M /dev/zero > large; sleep 300" }), call("bash", { command: "ls; echo again" }), say("{{lastToolResult}}")],
    restricted: [call("bash", { command: "id -u; echo ran" }), say("{{lastToolResult}}")],
    mapped: [call("bash", { command: "cat /proc/self/uid_map; echo ran" }), say("{{lastToolResult}}")],
  });
  await apply(namespace, buildAgent("agent"));
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

const log = (session: string): Promise<LogEvent[]> => readLog(gateway, namespace, session, token);

function textOf(session: Session): string {
  return session.status?.result?.text ?? "";
}

async function lossesOf(session: string): Promise<string[]> {
  return (await log(session)).flatMap((event) => (event.type === "sandbox.lost" ? [event.data.reason] : []));
}

/** The one node, when it is this machine: then a folder of this machine can be a volume of the cluster. */
async function findOwnNode(): Promise<string | undefined> {
  const model = (await list<{ metadata: { uid: string }; spec: { nodeName?: string } }>("pods", namespace, "app=scripted-model"))[0];
  return model !== undefined && processesOf(model.metadata.uid).length > 0 ? model.spec.nodeName : undefined;
}

/** A volume for one claim of the namespace, bound when a pod needs it, as local disks are. */
async function offerVolume(t: TestContext, storageClass: string, node: string): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "paddock-workspace-"));
  chmodSync(path, 0o777);
  const classObject = {
    apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name: storageClass }, provisioner: "kubernetes.io/no-provisioner", volumeBindingMode: "WaitForFirstConsumer",
  };
  const volume = {
    apiVersion: "v1", kind: "PersistentVolume", metadata: { name: storageClass },
    spec: {
      capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], persistentVolumeReclaimPolicy: "Retain", storageClassName: storageClass, local: { path },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [node] }] }] } },
    },
  };
  t.after(async () => {
    await must(["delete", "persistentvolume,storageclass", storageClass, "--wait=false"]);
    rmSync(path, { recursive: true, force: true });
  });
  await apply(namespace, classObject, volume);
}

test("persistence: Session: the next sandbox finds the files of the one before, and the claim goes with the Session", async (t) => {
  const node = await findOwnNode();
  if (node === undefined) return t.skip("the cluster's node is not this machine: no folder of it can be a volume");
  const storageClass = `${namespace}-local`;
  await offerVolume(t, storageClass, node);
  await apply(namespace, buildEnvironment("lasting", { spec: withModel({ sandbox: { workspace: { size: "512Mi", persistence: "Session", storageClassName: storageClass } } }) }));
  await apply(namespace, buildSession("kept", "kept", { environment: "lasting" }));
  await eventually("the second command", async () => (await log("kept")).filter(({ type }) => type === "tool.started").length === 2);
  const first = await runningPod(namespace, "kept", "sandbox");
  const claim = await get<{ metadata: { ownerReferences?: readonly { kind: string; name: string }[] }; spec: { accessModes: string[] } }>("persistentvolumeclaim", workspaceClaimName("kept"), namespace);
  assert.deepEqual(claim?.metadata.ownerReferences?.map(({ kind, name }) => [kind, name]), [["Session", "kept"]]);
  await must(["delete", "pod", first.metadata.name, "-n", namespace, "--wait=false"]);

  const session = await finished(namespace, "kept", 240);
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.match(textOf(session), /written-once/, "the new sandbox found the file");
  const bound = (await log("kept")).flatMap((event) => (event.type === "sandbox.bound" ? [event.data.podUid] : []));
  assert.equal(new Set(bound).size, 2, "two sandboxes, one after the other");
  await must(["delete", "session", "kept", "-n", namespace]);
  await eventually("the claim to be gone", async () => (await get("persistentvolumeclaim", workspaceClaimName("kept"), namespace)) === undefined);
});

function withModel(spec: object): object {
  return { network: { inCluster: [{ podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] }] }, ...spec };
}

test("a storage class that does not exist: the Session says so and what to change", async () => {
  await apply(namespace, buildEnvironment("classless", { spec: withModel({ sandbox: { workspace: { persistence: "Session", storageClassName: "no-such-class" } } }) }));
  await apply(namespace, buildSession("unplaced", "unplaced", { environment: "classless" }));
  await eventually("the Session to name the class", async () => {
    const session = await get<Session>("session", "unplaced", namespace);
    return session?.status?.conditions?.some(({ message }) => message.includes("no-such-class"));
  });
  const session = await get<Session>("session", "unplaced", namespace);
  const message = session?.status?.conditions?.find((condition) => condition.message.includes("no-such-class"))?.message ?? "";
  assert.match(message, /storageClassName/, message);
  await must(["delete", "session", "unplaced", "-n", namespace]);
});

test("a command that takes all memory ends, alone or with its sandbox, with that reason, and the session goes on", async (t) => {
  await apply(namespace, buildEnvironment("small", { spec: withModel({ sandbox: { resources: { requests: { memory: "128Mi" }, limits: { memory: "192Mi" } } } }) }));
  await apply(namespace, buildSession("memory", "memory", { environment: "small" }));
  const session = await finished(namespace, "memory", 240);
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.match(textOf(session), /again/);
  const losses = await lossesOf("memory");
  const [result] = (await log("memory")).flatMap((event) => (event.type === "tool.finished" ? [event.data] : []));
  t.diagnostic(`lost: ${losses.join(" | ") || "(not: the kernel ended the command alone)"}; the command: ${result?.status ?? ""}`);
  // The kernel ends the largest process; whether the tool server survives it is the kernel's choice. The reason is said either way.
  if (losses.length > 0) assert.match(losses.join(), /memory|OOM/i);
  else assert.match(result?.content ?? "", /kill|137|memory/i, result?.content);
});

test("a workspace beyond its size is evicted: the sandbox is lost with that reason", async (t) => {
  await apply(namespace, buildEnvironment("narrow", { spec: withModel({ sandbox: { workspace: { size: "64Mi" } } }) }));
  await apply(namespace, buildSession("disk", "disk", { environment: "narrow" }));
  const session = await finished(namespace, "disk", 400);
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  const losses = await lossesOf("disk");
  t.diagnostic(`lost: ${losses.join(" | ")}`);
  assert.match(losses.join(), /workspace|ephemeral|evict/i);
  assert.doesNotMatch(textOf(session), /large/, "the workspace ended with the pod");
});

test("in a namespace that admits only restricted pods a session with tools completes", async () => {
  const restricted = await openNamespace("restricted");
  await must(["label", "namespace", restricted, "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest"]);
  const { code, stderr } = await kubectl(["run", "loose", "-n", restricted, "--image=none.invalid/none", "--restart=Never"]);
  assert.ok(code !== 0 && stderr.includes("PodSecurity"), "control: an ordinary pod is refused");
  // The model's server is an ordinary pod, so it stays in the other namespace.
  const network = { inCluster: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } }, podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] }] };
  await apply(restricted, buildAgent("agent"), buildEnvironment("environment", { model: { baseURL: `http://scripted-model.${namespace}.svc:8080/v1` }, spec: { network } }));
  await apply(restricted, buildSession("restricted", "restricted"));
  const session = await finished(restricted, "restricted");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.match(textOf(session), /10001\s+ran/);
});

test("userNamespaces: the sandbox's user is nobody on the node, or the status says why not", async (t) => {
  await apply(namespace, buildEnvironment("mapped", { spec: withModel({ sandbox: { userNamespaces: true } }) }));
  await apply(namespace, buildSession("mapped", "mapped", { environment: "mapped" }));
  const session = await eventually("the session to end or to say why it waits", async () => {
    const found = await get<Session>("session", "mapped", namespace);
    const words = found?.status?.conditions?.map(({ message }) => message).join() ?? "";
    return (reasonOf(found ?? ({} as Session)) === "Completed" || /user namespace/i.test(words)) && found;
  });
  if (reasonOf(session) !== "Completed") return t.diagnostic(`this cluster's runtime has no user namespaces: ${JSON.stringify(session.status?.conditions)}`);
  const [, outside] = /^\s*0\s+(\d+)\s+\d+/m.exec(textOf(session)) ?? [];
  assert.ok(Number(outside) >= 65_536, textOf(session));
});
