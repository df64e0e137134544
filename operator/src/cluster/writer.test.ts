import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type ApiTarget, writerCases } from "../../../test/conformance/apiserver-cases.ts";
import { watchCases } from "../../../test/conformance/watch-cases.ts";
import { startFakeApiServer } from "../../../test/fakes/apiserver.ts";
import { ApiError, classifyClusterError } from "./errors.ts";
import { createApiClient } from "./http.ts";
import { readConfigValue, readNamespaceUid, readObject } from "./reads.ts";
import { createClusterWriter } from "./writer.ts";

async function open(t: TestContext) {
  const server = await startFakeApiServer();
  const seen: string[] = [];
  const connection = { url: server.url, tls: async () => ({}), authorization: async () => "Bearer t" };
  const client = createApiClient(connection, { onRequest: ({ verb, resource }, code) => seen.push(`${verb} ${resource} ${code}`) });
  t.after(async () => {
    client.close();
    await server.close();
  });
  return { server, client, seen };
}

async function openFake(): Promise<ApiTarget> {
  const server = await startFakeApiServer();
  const connection = { url: server.url, tls: async () => ({}), authorization: async () => undefined };
  const client = createApiClient(connection);
  server.reviewAccess(({ groups }) => groups?.includes("system:masters") === true);
  return {
    client, connection,
    operator: { client, connection },
    namespace: "team",
    forget: () => server.store.compact(),
    close: () => {
      client.close();
      return server.close();
    },
  };
}

writerCases("fake", openFake);
watchCases("fake", openFake);

const ACCOUNT = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "a", namespace: "team", labels: { "app.kubernetes.io/managed-by": "paddock" } } };

for (const [kind, collection] of [["Approval", "/apis/paddock.dev/v1alpha1/approvals"], ["PersistentVolumeClaim", "/api/v1/persistentvolumeclaims"]] as const) test(`${kind}: that of an earlier Session of the same name is waited for, one that an orphaning deletion left behind is in the way`, async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  const build = (owners: readonly string[]) => ({
    apiVersion: "v1", kind,
    metadata: { ...ACCOUNT.metadata, ownerReferences: owners.map((uid) => ({ apiVersion: "paddock.dev/v1alpha1", kind: "Session", name: "notes", uid, controller: true })) },
  });
  const refusal = async (): Promise<string | undefined> => writer.act({ verb: "create", object: build(["later"]) }).then(() => undefined, (error: unknown) => classifyClusterError(error)?.kind);
  server.store.create(collection, "team", build(["earlier"]));
  assert.equal(await refusal(), "conflict");
  server.store.delete({ collection, namespace: "team", name: "a" }, undefined);
  server.store.create(collection, "team", build([]));
  assert.equal(await refusal(), "name-conflict");
});

test("a pod is not deleted while its Session is found to be there after all, and with the grace that is asked for", async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  const session = { namespace: "team", name: "notes" };
  const { metadata } = server.store.create("/apis/paddock.dev/v1alpha1/sessions", "team", { apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata: { name: "notes" } });
  const pod = server.store.create("/api/v1/pods", "team", { apiVersion: "v1", kind: "Pod", metadata: { name: "notes-s1" } });
  const remove = (uid: string) => writer.act({ verb: "delete", resource: "Pod", key: { namespace: "team", name: "notes-s1" }, uid: pod.metadata.uid, graceSeconds: 0, unless: { session, uid } });
  await remove(metadata.uid);
  assert.equal(server.store.list("/api/v1/pods").length, 1);
  await remove("earlier");
  assert.equal(server.store.list("/api/v1/pods").length, 0);
});

test("a create whose answer is lost is an ambiguous failure, and repeating it is success", async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  server.loseNextAnswer(/POST/);
  const error = await writer.act({ verb: "create", object: ACCOUNT }).then(() => undefined, (thrown: unknown) => thrown);
  assert.equal(classifyClusterError(error)?.kind, "unavailable");
  assert.equal((error as { ambiguous?: boolean }).ambiguous, true);
  await writer.act({ verb: "create", object: ACCOUNT });
  assert.equal(server.store.list("/api/v1/serviceaccounts").length, 1);
});

test("429 is waited out as long as the server asks, once per answer", async (t) => {
  const { server, client, seen } = await open(t);
  server.failNext(/POST/, 429, { count: 2, headers: { "retry-after": "0" } });
  await createClusterWriter(client, new Map()).act({ verb: "create", object: ACCOUNT });
  assert.equal(server.requests.filter((line) => line.startsWith("POST")).length, 3);
  assert.deepEqual(seen, ["create serviceaccounts 201"]);
});

test("faults by answer", async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  const kinds: unknown[] = [];
  for (const status of [403, 422, 500, 503, 409]) {
    server.failNext(/POST/, status);
    await writer.act({ verb: "create", object: ACCOUNT }).catch((error: unknown) => kinds.push([status, classifyClusterError(error)?.kind, classifyClusterError(error)?.retry]));
  }
  assert.deepEqual(kinds, [
    [403, "forbidden", false],
    [422, "invalid", false],
    [500, "unavailable", true],
    [503, "unavailable", true],
    [409, "conflict", true],
  ]);
  assert.equal(classifyClusterError(new TypeError("ours")), undefined);
});

test("a pod beyond a ResourceQuota is not left for minutes after other pods have ended", () => {
  const refused = (message: string) => classifyClusterError(new ApiError(403, "POST pods", JSON.stringify({ reason: "Forbidden", message })));
  const used = 'pods "a-r1" is forbidden: exceeded quota: team, requested: pods=1, used: pods=10, limited: pods=10';
  const uncounted = 'pods "a-r1" is forbidden: status unknown for quota: team, resources: pods';
  for (const message of [used, uncounted]) assert.deepEqual([refused(message)?.kind, refused(message)?.retry], ["forbidden", true], message);
  assert.equal(refused('pods is forbidden: User "paddock" cannot create resource "pods"')?.retry, false, "a missing right is people's affair");
});

test("the client comes back on a new connection after the old one broke", async (t) => {
  const { server, client } = await open(t);
  server.loseNextAnswer(/POST/);
  await client.request({ verb: "create", resource: "pods", method: "POST", path: "/api/v1/namespaces/team/pods", body: { metadata: { name: "p" } } }).catch(() => undefined);
  assert.notEqual(await readObject(client, "Pod", { namespace: "team", name: "p" }), undefined);
  assert.equal(server.connections(), 2);
});

test("no server: a failure that says where, and nothing was carried out", async () => {
  const client = createApiClient({ url: "http://127.0.0.1:1", tls: async () => ({}), authorization: async () => undefined });
  await assert.rejects(readObject(client, "Pod", { namespace: "team", name: "p" }), /cannot connect to the API server at http:\/\/127.0.0.1:1/);
  client.close();
});

test("live reads: namespaces by UID, one value of a ConfigMap, undefined when missing", async (t) => {
  const { server, client } = await open(t);
  server.store.create("/api/v1/configmaps", "team", { metadata: { name: "ca" }, data: { "ca.crt": "PEM" } });
  assert.equal(await readConfigValue(client, { namespace: "team", name: "ca" }, "ca.crt"), "PEM");
  assert.equal(await readConfigValue(client, { namespace: "team", name: "ca" }, "other"), undefined);
  assert.equal(await readConfigValue(client, { namespace: "team", name: "none" }, "ca.crt"), undefined);
  const { metadata } = server.store.create("/api/v1/namespaces", "", { metadata: { name: "team" } });
  assert.equal(await readNamespaceUid(client, "team"), metadata.uid);
});

test("who asks for the same access while it is being asked shares the answer, and a later one asks anew", async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  const access = { user: "alice", groups: ["dev"], namespace: "team", verb: "use", group: "paddock.dev", resource: "environments", name: "standard" };
  const reviews = () => server.requests.filter((line) => line.endsWith("/subjectaccessreviews")).length;
  await Promise.all(["a", "b", "c"].map((name) => writer.act({ verb: "create", object: { ...ACCOUNT, metadata: { ...ACCOUNT.metadata, name } }, access })));
  assert.equal(reviews(), 1);
  await writer.act({ verb: "create", object: ACCOUNT, access });
  assert.equal(reviews(), 2);
});

test("a create with an access check is refused with a sentence that says what to ask for", async (t) => {
  const { server, client } = await open(t);
  const access = { user: "alice", groups: ["dev"], namespace: "team", verb: "use", group: "paddock.dev", resource: "environments", name: "standard" };
  const writer = createClusterWriter(client, new Map());
  server.reviewAccess(({ user, groups = [] }) => user === "alice" && groups.includes("ops"));
  const error = await writer.act({ verb: "create", object: ACCOUNT, access }).catch((thrown: unknown) => thrown);
  const fault = classifyClusterError(error);
  assert.deepEqual([fault?.kind, fault?.retry], ["access-denied", false]);
  assert.match(fault?.message ?? "", /User alice may not use environments\.paddock\.dev standard in namespace team.*kubectl auth can-i use environments\.paddock\.dev\/standard -n team/);
  assert.equal(server.store.list("/api/v1/serviceaccounts").length, 0);
  await writer.act({ verb: "create", object: ACCOUNT, access: { ...access, groups: ["ops"] } });
  assert.equal(server.store.list("/api/v1/serviceaccounts").length, 1);
});

test("the status of a finished Session, of which the cache holds only a part, is never written", async (t) => {
  const { server, client } = await open(t);
  const condition = { type: "Finished", status: "True", reason: "Completed", message: "", lastTransitionTime: "" } as const;
  const metadata = { name: "s", namespace: "team", uid: "u", resourceVersion: "1", creationTimestamp: "" };
  const self = { apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata, status: { conditions: [condition] } };
  await assert.rejects(createClusterWriter(client, new Map()).status(self, {}), TypeError);
  assert.deepEqual(server.requests, []);
});

test("a preflight makes nothing, is refused as a create is, and a taken name is no refusal", async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  assert.equal(await writer.act({ verb: "preflight", object: ACCOUNT }), undefined);
  assert.equal(server.store.list("/api/v1/serviceaccounts").length, 0);
  await writer.act({ verb: "create", object: ACCOUNT });
  await writer.act({ verb: "preflight", object: ACCOUNT });
  server.failNext(/POST/, 403);
  const error = await writer.act({ verb: "preflight", object: ACCOUNT }).catch((thrown: unknown) => thrown);
  assert.equal(classifyClusterError(error)?.kind, "forbidden");
});

test("503 is waited out only when the server says how long, and a long wait is left to the queue", async (t) => {
  const { server, client } = await open(t);
  const writer = createClusterWriter(client, new Map());
  const posts = () => server.requests.filter((line) => line.startsWith("POST")).length;
  server.failNext(/POST/, 503, { headers: { "retry-after": "0" } });
  await writer.act({ verb: "create", object: ACCOUNT });
  assert.equal(posts(), 2);
  server.failNext(/POST/, 429, { headers: { "retry-after": "3600" } });
  const error = await writer.act({ verb: "create", object: ACCOUNT }).catch((thrown: unknown) => thrown);
  assert.equal(classifyClusterError(error)?.kind, "unavailable");
  assert.equal(posts(), 3);
});

test("with the server full of our requests, pods go before ends, ends before progress, dry runs last", async (t) => {
  const server = await startFakeApiServer();
  const client = createApiClient({ url: server.url, tls: async () => ({}), authorization: async () => undefined }, { inFlight: 1 });
  t.after(async () => {
    client.close();
    await server.close();
  });
  const writer = createClusterWriter(client, new Map());
  const metadata = { namespace: "team", uid: "u", resourceVersion: "1", creationTimestamp: "" };
  const session = (name: string) => ({ apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata: { ...metadata, name } });
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "team" } };
  const finished = { type: "Finished", status: "True", reason: "Completed", message: "", lastTransitionTime: "" } as const;
  const busy = client.request({ verb: "list", resource: "pods", method: "GET", path: "/api/v1/pods" });
  // The slot is taken in a later turn of the event loop than the call; what is written now waits behind it.
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([
    busy,
    writer.act({ verb: "preflight", object: { ...pod, kind: "ConfigMap" } }),
    writer.status(session("progress"), {}),
    writer.status(session("ends"), { conditions: [finished] }),
    writer.act({ verb: "create", object: pod }),
  ]);
  assert.deepEqual(server.requests, [
    "GET /api/v1/pods",
    "POST /api/v1/namespaces/team/pods",
    "PUT /apis/paddock.dev/v1alpha1/namespaces/team/sessions/ends/status",
    "PUT /apis/paddock.dev/v1alpha1/namespaces/team/sessions/progress/status",
    "POST /api/v1/namespaces/team/configmaps",
  ]);
});

test("the server's clock is known from its answers", async (t) => {
  const { server, client } = await open(t);
  assert.equal(client.skewMs(), 0);
  const read = () => client.request({ verb: "list", resource: "pods", method: "GET", path: "/api/v1/pods" });
  await read();
  assert.equal(client.skewMs(), 0);
  server.setClock(90_000);
  await read();
  assert.ok(Math.abs(client.skewMs() + 90_000) <= 1_500, String(client.skewMs()));
});

test("a hundred requests at once after a broken connection make one new one", async (t) => {
  const { server, client } = await open(t);
  const read = () => client.request({ verb: "list", resource: "pods", method: "GET", path: "/api/v1/pods" });
  await read();
  server.drop();
  await Promise.allSettled(Array.from({ length: 100 }, read));
  await read();
  assert.deepEqual([server.connections(), client.connections()], [2, 2]);
});
