import assert from "node:assert/strict";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import type { Condition } from "@paddock/api/object";
import type { RecordRequest, RecordView } from "@paddock/api/wire/records";
import { type FakeApiServer, startFakeApiServer } from "../../test/fakes/apiserver.ts";
import { type Config, readConfig } from "./config.ts";
import { type Operator, startOperator } from "./operator.ts";
import { createLogger } from "./telemetry/log.ts";
import { createMetrics } from "./telemetry/metrics.ts";

// The whole operator between a fake API server and a gateway that keeps records in memory.

const WATCHES = 9;
const OURS = "/apis/paddock.dev/v1alpha1";

interface FakeGateway {
  readonly url: string;
  readonly requests: string[];
  readonly records: Map<string, RecordView>;
  change(uid: string, more: Partial<RecordView>): void;
  close(): Promise<void>;
}

async function startFakeGateway(): Promise<FakeGateway> {
  const records = new Map<string, RecordView>();
  const requests: string[] = [];
  const streams = new Set<ServerResponse>();
  let version = 0;

  const send = (type: string, data: unknown, to: Iterable<ServerResponse> = streams): void => {
    for (const stream of to) stream.write(`event: ${type}\nid: x:${version}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const put = (view: RecordView): RecordView => {
    version += 1;
    const stored = { ...view, version };
    records.set(view.uid, stored);
    send("record", stored);
    return stored;
  };
  const routes: readonly (readonly [RegExp, (response: ServerResponse, uid: string, body: string) => unknown])[] = [
    [/^GET \/v1\/records$/, (response) => follow(response)],
    [/^PUT \/v1\/records\/(.+)$/, (_response, uid, body) => ({ record: records.get(uid) ?? put(viewOf(JSON.parse(body) as RecordRequest)) })],
    [/^PUT \/v1\/pods\/(.+)$/, () => ({})],
    [/^POST \/v1\/records\/(.+)\/events$/, () => ({ events: [] })],
    [
      /^DELETE \/v1\/records\/(.+)$/,
      (_response, uid) => {
        version += 1;
        records.delete(uid);
        send("gone", { uid });
        return {};
      },
    ],
  ];
  const follow = (response: ServerResponse): undefined => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    streams.add(response);
    for (const view of records.values()) send("record", view, [response]);
    send("synced", {}, [response]);
    return undefined;
  };
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const line = `${request.method ?? ""} ${request.url ?? ""}`;
    let body = "";
    for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
    requests.push(line);
    for (const [pattern, answer] of routes) {
      const match = pattern.exec(line);
      if (match === null) continue;
      const reply = answer(response, match[1] ?? "", body);
      if (reply !== undefined) response.end(JSON.stringify(reply));
      return;
    }
    response.writeHead(404).end();
  };
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests, records,
    change: (uid, more) => {
      const view = records.get(uid);
      assert.ok(view);
      put({ ...view, lastSeq: view.lastSeq + 1, ...more });
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function viewOf({ bundle }: RecordRequest): RecordView {
  const { session, agent, environment, limits, startTime, traceId } = bundle;
  return {
    ...session, version: 0,
    activity: { kind: "Active" },
    bundle: { digest: "d", agentDigest: agent.digest, environment, limits, startTime, traceId },
    runner: { epoch: 0, connected: false, since: startTime },
    sandbox: { requested: 0, pending: false },
    cancelled: false, suspended: false, approvals: [], authors: [], lastSeq: 2, turns: 0, toolCalls: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0 },
    recentSteps: [],
  };
}

interface House {
  readonly api: FakeApiServer;
  readonly gateway: FakeGateway;
  /** Writes to the API server so far, the lease aside. */
  writes(): readonly string[];
  operator: Operator;
  start(): void;
}

async function open(t: TestContext): Promise<House> {
  const api = await startFakeApiServer();
  const gateway = await startFakeGateway();
  api.store.create("/api/v1/namespaces", "", { metadata: { name: "team" } });
  api.store.create("/api/v1/configmaps", "paddock-system", { metadata: { name: "paddock-gateway-ca" }, data: { "ca.crt": "PEM" } });
  const env = {
    PADDOCK_NAMESPACE: "paddock-system",
    PADDOCK_GATEWAY_URL: "https://paddock-gateway.paddock-system.svc:8443",
    PADDOCK_RUNNER_IMAGE: "runner:1",
    PADDOCK_SANDBOX_IMAGE: "sandbox:1",
  };
  const config: Config = { ...readConfig(env), gatewayDialUrl: gateway.url };
  const connection = { url: api.url, tls: async () => ({}), authorization: async () => undefined };
  const start = (): Operator => startOperator({ config, connection, token: async () => "t", metrics: createMetrics(), log: createLogger("silent"), readPolicy: async (wanted) => wanted });
  const house: House = {
    api, gateway,
    writes: () => api.requests.filter((line) => !line.startsWith("GET") && !line.includes("/leases")),
    operator: start(),
    start: () => {
      house.operator = start();
    },
  };
  t.after(async () => {
    await house.operator.stop();
    await gateway.close();
    await api.close();
  });
  return house;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function make(api: FakeApiServer, plural: string, name: string, spec: unknown): string {
  const kind = { agents: "Agent", environments: "Environment", sessions: "Session" }[plural];
  return api.store.create(`${OURS}/${plural}`, "team", { apiVersion: "paddock.dev/v1alpha1", kind, metadata: { name }, spec }).metadata.uid;
}

const makeAgent = (api: FakeApiServer): string => make(api, "agents", "greeter", { model: { name: "main" }, instructions: "Greet." });
const makeEnvironment = (api: FakeApiServer): string => make(api, "environments", "lab", { models: [{ name: "main", model: "m", baseURL: "https://models.example.com/v1" }] });
const makeKeyed = (api: FakeApiServer): string =>
  make(api, "environments", "lab", { models: [{ name: "main", model: "m", baseURL: "https://models.example.com/v1", apiKey: { secretKeyRef: { name: "models", key: "api-key" } } }] });
const makeSession = (api: FakeApiServer): string => make(api, "sessions", "hello", { agentRef: { name: "greeter" }, environmentRef: { name: "lab" }, prompt: "Hi" });

function reasonOf(api: FakeApiServer, plural: string, name: string, type: string): string | undefined {
  const found = api.store.list(`${OURS}/${plural}`).find(({ body }) => body.metadata.name === name);
  const status = found?.body.status as { readonly conditions?: readonly Condition[] } | undefined;
  return status?.conditions?.find((condition) => condition.type === type)?.reason;
}

const podNames = (api: FakeApiServer): string[] => api.store.list("/api/v1/pods").map(({ body }) => body.metadata.name);

/** Nothing is written, not even when everything is told to be looked at once more. */
async function staysSilent({ api, writes, operator }: House): Promise<void> {
  const before = writes();
  await until(() => operator.unready().length === 0);
  // Their watches begin anew, and the event loop goes round many times while nothing new is to be seen.
  api.cutWatches();
  await until(() => api.watches() === WATCHES);
  for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(writes(), before);
}

test("a session from nothing to its end: four writes, then silence", async (t) => {
  const house = await open(t);
  const { api, gateway } = house;
  makeAgent(api);
  makeEnvironment(api);
  await until(() => reasonOf(api, "environments", "lab", "Ready") === "Available" && reasonOf(api, "agents", "greeter", "Ready") === "Available");
  const policies = api.store.list("/apis/networking.k8s.io/v1/networkpolicies").map(({ body }) => body.metadata.name);
  assert.deepEqual(policies.sort(), ["paddock-baseline", "paddock-lab-runner", "paddock-lab-sandbox"]);
  await staysSilent(house);

  const before = house.writes().length;
  const uid = makeSession(api);
  await until(() => podNames(api).join() === "hello-r1");
  const pod = api.store.list("/api/v1/pods")[0]?.body.metadata;
  await until(() => gateway.requests.includes(`PUT /v1/pods/${pod?.uid ?? ""}`));
  gateway.change(uid, { runner: { podUid: pod?.uid ?? "", epoch: 1, connected: true, since: new Date().toISOString() } });
  const at = new Date().toISOString();
  gateway.change(uid, { turns: 1, activity: { kind: "Finished", outcome: "Completed", at }, result: { outcome: "Completed", text: "Hello.", truncated: false, message: "" } });
  await until(() => reasonOf(api, "sessions", "hello", "Finished") === "Completed" && podNames(api).length === 0);
  await until(() => gateway.records.size === 0);
  assert.deepEqual(house.writes().slice(before), [
    "PUT /apis/paddock.dev/v1alpha1/namespaces/team/sessions/hello/status",
    "POST /api/v1/namespaces/team/pods",
    "DELETE /api/v1/namespaces/team/pods/hello-r1",
    "PUT /apis/paddock.dev/v1alpha1/namespaces/team/sessions/hello/status",
  ]);
  await staysSilent(house);
});

test("a Session before its Agent and Environment says what is missing, and goes on by itself", async (t) => {
  const { api } = await open(t);
  makeSession(api);
  await until(() => reasonOf(api, "sessions", "hello", "Succeeded") === "AgentNotFound");
  makeAgent(api);
  await until(() => reasonOf(api, "sessions", "hello", "Succeeded") === "EnvironmentNotFound");
  makeEnvironment(api);
  await until(() => podNames(api).join() === "hello-r1");
});

test("a restarted operator changes nothing", async (t) => {
  const house = await open(t);
  const { api } = house;
  makeAgent(api);
  makeEnvironment(api);
  makeSession(api);
  await until(() => podNames(api).join() === "hello-r1");
  await staysSilent(house);
  const before = house.writes();
  await house.operator.stop();
  house.start();
  await until(() => house.operator.unready().length === 0);
  await staysSilent(house);
  assert.deepEqual(house.writes(), before);
});

test("the record of a deleted Session is cancelled and finished", async (t) => {
  const { api, gateway } = await open(t);
  makeAgent(api);
  makeEnvironment(api);
  const uid = makeSession(api);
  await until(() => podNames(api).join() === "hello-r1");
  api.store.delete({ collection: `${OURS}/sessions`, namespace: "team", name: "hello" }, undefined);
  await until(() => gateway.requests.includes(`POST /v1/records/${uid}/events`));
  gateway.change(uid, { cancelled: true, activity: { kind: "Finished", outcome: "Cancelled", at: new Date().toISOString() } });
  await until(() => gateway.records.size === 0);
});

const POLICIES = "/apis/networking.k8s.io/v1/networkpolicies";

function makePolicy(api: FakeApiServer, name: string, matchLabels: Readonly<Record<string, string>>): void {
  const spec = { podSelector: { matchLabels }, policyTypes: ["Ingress"], ingress: [{}] };
  api.store.create(POLICIES, "team", { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name }, spec });
}

test("a foreign network policy that opens the pods stops an Environment until it is gone", async (t) => {
  const { api } = await open(t);
  const reason = (): string | undefined => reasonOf(api, "environments", "lab", "Ready");
  makeEnvironment(api);
  await until(() => reason() === "Available");
  makePolicy(api, "shop", { app: "shop" });
  makePolicy(api, "open", {});
  await until(() => reason() === "NetworkPolicyConflict");
  api.store.delete({ collection: POLICIES, namespace: "team", name: "open" }, undefined);
  await until(() => reason() === "Available");
});

test("a Secret that a runner misses is told by the Environment until the runner has it", async (t) => {
  const house = await open(t);
  const { api, gateway } = house;
  const reason = (): string | undefined => reasonOf(api, "environments", "lab", "Ready");
  makeAgent(api);
  makeKeyed(api);
  const uid = makeSession(api);
  await until(() => podNames(api).join() === "hello-r1");
  gateway.change(uid, { problem: { problem: "CredentialMissing", subject: "secret models, key api-key", message: "" } });
  await until(() => reason() === "SecretNotFound");
  assert.deepEqual(podNames(api), ["hello-r1"], "a runner is what finds out when it is over");
  const view = gateway.records.get(uid);
  assert.ok(view);
  const { problem: _, ...rest } = view;
  gateway.records.set(uid, rest);
  gateway.change(uid, {});
  await until(() => reason() === "Available");
});

test("an account of somebody else's under our name is told, and an Environment recovers when it is gone", async (t) => {
  const { api } = await open(t);
  const reason = (): string | undefined => reasonOf(api, "environments", "lab", "Ready");
  api.store.create("/api/v1/serviceaccounts", "team", { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "paddock-pod" } });
  makeEnvironment(api);
  await until(() => reason() === "NameConflict");
  api.store.delete({ collection: "/api/v1/serviceaccounts", namespace: "team", name: "paddock-pod" }, undefined);
  // No watch of ours shows what is not labelled: it is looked at again every 30 s, or as here when a watch begins anew.
  api.cutWatches();
  await until(() => reason() === "Available");
});

test("a label that somebody else gives a pod counts when a foreign network policy selects by it", async (t) => {
  const { api } = await open(t);
  const reason = (): string | undefined => reasonOf(api, "environments", "lab", "Ready");
  makeAgent(api);
  makeEnvironment(api);
  makePolicy(api, "mesh", { mesh: "on" });
  makeSession(api);
  await until(() => podNames(api).join() === "hello-r1" && reason() === "Available");
  const key = { collection: "/api/v1/pods", namespace: "team", name: "hello-r1" };
  const pod = api.store.get(key);
  api.store.update(key, { ...pod, metadata: { ...pod.metadata, labels: { ...pod.metadata.labels, mesh: "on" } } }, false);
  await until(() => reason() === "NetworkPolicyConflict");
});

test("pods of a Session that is gone go without the garbage collector, and the baseline comes back while they leave", async (t) => {
  const { api } = await open(t);
  makeAgent(api);
  makeEnvironment(api);
  await until(() => reasonOf(api, "environments", "lab", "Ready") === "Available");
  makeSession(api);
  await until(() => podNames(api).join() === "hello-r1");
  const at = (plural: string, name: string) => ({ collection: `/apis/paddock.dev/v1alpha1/${plural}`, namespace: "team", name });
  // What somebody else has labelled as ours stays, and needs the baseline.
  api.store.create("/api/v1/pods", "team", { metadata: { name: "left", labels: { "app.kubernetes.io/managed-by": "paddock", "paddock.dev/component": "sandbox" } } });
  api.store.delete(at("environments", "lab"), undefined);
  api.store.delete(at("sessions", "hello"), undefined);
  await until(() => podNames(api).join() === "left");
  api.store.delete({ collection: POLICIES, namespace: "team", name: "paddock-baseline" }, undefined);
  await until(() => api.store.list(POLICIES).some(({ body }) => body.metadata.name === "paddock-baseline"));
});
