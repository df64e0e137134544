import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { buildAdmission } from "@paddock/api/admission/policies";
import { releaseOf } from "@paddock/api/admission/policy";
import type { Condition } from "@paddock/api/object";
import { type FakeApiServer, startFakeApiServer } from "../fakes/apiserver.ts";
import { type LocalGateway, startLocalGateway } from "../fakes/gateway.ts";
import { ROOT } from "../steps.ts";

// Operators as processes of their own, as they are in a cluster: between a fake API server, which tells them apart by their tokens, and a real gateway.

const MAIN = join(ROOT, "operator/src/main.ts");
const OURS = "/apis/paddock.dev/v1alpha1";
const LEASES = "/apis/coordination.k8s.io/v1/leases";
const RELEASE = "paddock-system";
const PLURALS = {
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings",
  MutatingAdmissionPolicy: "mutatingadmissionpolicies",
  MutatingAdmissionPolicyBinding: "mutatingadmissionpolicybindings",
} as const;

interface House {
  readonly api: FakeApiServer;
  readonly gateway: LocalGateway;
  readonly folder: string;
  /** Starts an operator; `pod` is its name and its token. Resolves once it has asked the API server for something. */
  start(pod: string): Promise<ChildProcess>;
}

async function open(t: TestContext): Promise<House> {
  const api = await startFakeApiServer();
  const gateway = await startLocalGateway();
  const folder = await mkdtemp(join(tmpdir(), "paddock-operators-"));
  const processes: ChildProcess[] = [];
  t.after(async () => {
    await Promise.all(processes.map(kill));
    await gateway.close();
    await api.close();
    await rm(folder, { recursive: true, force: true });
  });
  api.store.create("/api/v1/namespaces", "", { metadata: { name: "team" } });
  api.store.create("/api/v1/configmaps", RELEASE, { metadata: { name: "paddock-gateway-ca" }, data: { "ca.crt": gateway.ca } });
  for (const object of buildAdmission(releaseOf(RELEASE, []), { creatorStamp: true })) api.store.create(`/apis/${object.apiVersion}/${PLURALS[object.kind]}`, "", object);
  make(api, "agents", "greeter", { model: { name: "main" }, instructions: "Greet." });
  make(api, "environments", "lab", { models: [{ name: "main", model: "m", baseURL: "https://models.example.com/v1" }] });
  await writeFile(join(folder, "token"), gateway.reviews.operatorToken());
  const start = async (pod: string): Promise<ChildProcess> => {
    await writeFile(join(folder, pod), kubeconfigOf(api.url, pod));
    const env = {
      KUBECONFIG: join(folder, pod),
      PADDOCK_POD_NAME: pod,
      PADDOCK_LEASE_SECONDS: "3",
      PADDOCK_NAMESPACE: RELEASE,
      PADDOCK_GATEWAY_URL: gateway.url,
      PADDOCK_RUNNER_IMAGE: "runner:1",
      PADDOCK_SANDBOX_IMAGE: "sandbox:1",
      PADDOCK_TOKEN_FILE: join(folder, "token"),
      PADDOCK_METRICS_PORT: "0",
    };
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
    child.stdout?.resume();
    processes.push(child);
    await until(() => {
      assert.equal(child.exitCode, null, `${pod} ended`);
      return callsOf(api, pod).length > 0;
    });
    return child;
  };
  return { api, gateway, folder, start };
}

function kubeconfigOf(server: string, token: string): string {
  return JSON.stringify({
    apiVersion: "v1", kind: "Config", "current-context": "fake",
    clusters: [{ name: "fake", cluster: { server, "insecure-skip-tls-verify": true } }],
    users: [{ name: "fake", user: { token } }],
    contexts: [{ name: "fake", context: { cluster: "fake", user: "fake" } }],
  });
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

function make(api: FakeApiServer, plural: string, name: string, spec: unknown): string {
  const kind = { agents: "Agent", environments: "Environment", sessions: "Session" }[plural];
  return api.store.create(`${OURS}/${plural}`, "team", { apiVersion: "paddock.dev/v1alpha1", kind, metadata: { name }, spec }).metadata.uid;
}

const makeSession = (api: FakeApiServer, name: string): string => make(api, "sessions", name, { agentRef: { name: "greeter" }, environmentRef: { name: "lab" }, prompt: "Hi" });

const callsOf = (api: FakeApiServer, pod: string): string[] => api.requests.filter((_line, index) => api.callers[index] === `Bearer ${pod}`);

/** What a pod has written so far, its tries to get the lease aside. */
const writesOf = (api: FakeApiServer, pod: string): string[] => callsOf(api, pod).filter((line) => !line.startsWith("GET") && !line.includes("/leases"));

const holderOf = (api: FakeApiServer): string => (api.store.list(LEASES)[0]?.body.spec as { readonly holderIdentity?: string } | undefined)?.holderIdentity?.split("_")[0] ?? "";

const podNames = (api: FakeApiServer): string[] => api.store.list("/api/v1/pods").map(({ body }) => body.metadata.name);

function reasonOf(api: FakeApiServer, name: string): string | undefined {
  const status = api.store.list(`${OURS}/sessions`).find(({ body }) => body.metadata.name === name)?.body.status as { readonly conditions?: readonly Condition[] } | undefined;
  return status?.conditions?.find(({ type }) => type === "Succeeded")?.reason;
}

test("a leader that was stopped for longer than its lease writes nothing when it goes on, and stands by", async (t) => {
  const { api, start } = await open(t);
  const first = await start("op-a");
  await until(() => holderOf(api) === "op-a");
  makeSession(api, "one");
  await until(() => podNames(api).includes("one-r1") && reasonOf(api, "one") === "Starting");
  await start("op-b");
  await until(() => callsOf(api, "op-b").some((line) => line === `GET ${OURS}/sessions`));
  // The one work that is left half done: what the leader sees next it sees after it was stopped.
  first.kill("SIGSTOP");
  makeSession(api, "two");
  await until(() => holderOf(api) === "op-b");
  await until(() => podNames(api).includes("two-r1") && reasonOf(api, "two") === "Starting");
  const before = writesOf(api, "op-a");
  const leaseTries = callsOf(api, "op-a").filter((line) => line.includes("/leases")).length;
  first.kill("SIGCONT");
  // It has found out once it has asked for the lease; and it has seen what happened once its watches have brought it.
  await until(() => callsOf(api, "op-a").filter((line) => line.includes("/leases")).length > leaseTries + 2);
  makeSession(api, "three");
  await until(() => podNames(api).includes("three-r1"));
  assert.deepEqual(writesOf(api, "op-a"), before);
  assert.equal(holderOf(api), "op-b");
  assert.deepEqual(podNames(api).sort(), ["one-r1", "three-r1", "two-r1"]);
});

test("on SIGTERM the lease is given back, the process ends with 0 and the one that waits goes on", async (t) => {
  const { api, start } = await open(t);
  const first = await start("op-a");
  await until(() => holderOf(api) === "op-a");
  await start("op-b");
  await until(() => callsOf(api, "op-b").some((line) => line.includes("/leases")));
  const ended = once(first, "exit");
  first.kill("SIGTERM");
  assert.deepEqual(await ended, [0, null]);
  await until(() => holderOf(api) === "op-b");
  makeSession(api, "one");
  await until(() => podNames(api).includes("one-r1"));
});

test("a container that is started again in a killed one's pod leads at once", async (t) => {
  const { api, start } = await open(t);
  const first = await start("op-a");
  await until(() => holderOf(api) === "op-a");
  await kill(first);
  const { version } = api.store;
  const killedAt = version();
  await start("op-a");
  makeSession(api, "one");
  await until(() => podNames(api).includes("one-r1"));
  const lease = api.store.since(killedAt).find(({ object }) => object.collection === LEASES)?.object.body.spec as { readonly leaseTransitions: number };
  assert.equal(lease.leaseTransitions, 1);
});
