import assert from "node:assert/strict";
import { isIP } from "node:net";
import { type TestContext, test } from "node:test";
import { requireAccess } from "../../operator/src/cluster/access.ts";
import type { Connection } from "../../operator/src/cluster/connect.ts";
import { ApiError, ConnectionError } from "../../operator/src/cluster/errors.ts";
import { type ApiClient, createApiClient } from "../../operator/src/cluster/http.ts";
import { type Observation, observeResource } from "../../operator/src/cluster/observe.ts";
import { readConfigMap } from "../../operator/src/cluster/reads.ts";
import type { ListMode, ReflectorTiming, RestartReason } from "../../operator/src/cluster/reflector.ts";
import { type ObservedResource, SESSIONS } from "../../operator/src/cluster/resources.ts";
import { createClusterWriter } from "../../operator/src/cluster/writer.ts";
import type { Manifest, Observed } from "../../operator/src/kernel/kind.ts";
import { type TcpProxy, startTcpProxy } from "../fakes/tcp-proxy.ts";
import type { ApiTarget } from "./apiserver-cases.ts";

// What lists, watches and broken connections do at an API server; the same cases for the fake and for a real one. Connections break in a TCP proxy,
// which knows neither.

const CONFIG_MAPS: ObservedResource<Observed> = {
  source: { name: "configmaps" },
  endpoint: { base: "/api/v1", plural: "configmaps" },
  labelSelector: "test=watch",
  slim: ({ metadata }) => ({ metadata: { ...metadata, namespace: metadata.namespace ?? "" } }),
  indexes: {},
};

interface Watched {
  readonly observation: Observation<Observed>;
  readonly restarts: RestartReason[];
  readonly modes: ListMode[];
}

interface Lab {
  readonly target: ApiTarget;
  /** A client through a proxy of its own, by the target's own connection if not told otherwise, with pings that notice a dead connection within a second. */
  through(connection?: Connection): Promise<{ readonly client: ApiClient; readonly proxy: TcpProxy }>;
  watch<T extends Observed>(resource: ObservedResource<T>, client: ApiClient, timing?: Partial<ReflectorTiming>): Promise<Watched>;
  make(name: string): Promise<void>;
  remove(name: string): Promise<void>;
}

export function watchCases(server: string, open: () => Promise<ApiTarget>): void {
  const withLab = (name: string, run: (lab: Lab) => Promise<void>): void => {
    test(`${server}: ${name}`, async (t) => run(createLab(t, await open())));
  };

  withLab("a streaming list is served and goes on as the watch", async ({ target, watch, make }) => {
    await make("a");
    await make("b");
    const { observation, modes, restarts } = await watch(CONFIG_MAPS, target.client);
    assert.deepEqual([names(observation), modes], [["a", "b"], ["stream"]]);
    await make("c");
    await until(() => names(observation).join() === "a,b,c");
    assert.deepEqual([restarts, observation.blindMs()], [[], 0]);
  });

  withLab("pages add up to the whole list at one version", async ({ target, watch, make, remove }) => {
    for (const name of ["a", "b", "c", "d", "e"]) await make(name);
    // A server without streaming lists, as far as this client can tell.
    const client: ApiClient = { ...target.client, watch: (resource, path) => (path.includes("sendInitialEvents") ? Promise.reject(new ApiError(422, "watch", "")) : target.client.watch(resource, path)) };
    const { observation, modes } = await watch(CONFIG_MAPS, client, { pageSize: 2 });
    assert.deepEqual([names(observation), modes], [["a", "b", "c", "d", "e"], ["pages"]]);
    await remove("c");
    await until(() => names(observation).join() === "a,b,d,e");
  });

  withLab("a watch that hands over when its time is nearly up is never blind and misses nothing", async ({ target, watch, make }) => {
    const { observation, restarts } = await watch(CONFIG_MAPS, target.client, { minSeconds: 1, maxSeconds: 1 });
    const before = observation.blindTotalMs();
    for (let made = 0; restarts.length < 2; made += 1) {
      await make(`n${made}`);
      await until(() => observation.store.get({ namespace: target.namespace, name: `n${made}` }) !== undefined);
    }
    assert.deepEqual([restarts.every((reason) => reason === "timeout"), observation.blindTotalMs() - before], [true, 0]);
  });

  withLab("a version that is forgotten lists anew; what went meanwhile is removed", async ({ target, watch }) => {
    const session = (name: string): Manifest => ({ apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata: { name, namespace: target.namespace }, ...SESSION });
    const writer = createClusterWriter(target.client, new Map());
    await writer.act({ verb: "create", object: session("gone") });
    let old = false;
    // A real server cannot be told to compact; but nobody remembers version 1 of a custom resource.
    const client: ApiClient = { ...target.client, watch: (resource, path) => target.client.watch(resource, old ? path.replace(/resourceVersion=\d+/, "resourceVersion=1") : path) };
    const { observation, restarts, modes } = await watch(SESSIONS, client, { minSeconds: 1, maxSeconds: 1 });
    assert.deepEqual(names(observation), ["gone"]);
    old = true;
    target.forget?.();
    const gone = observation.store.get({ namespace: target.namespace, name: "gone" });
    assert.ok(gone);
    await writer.act({ verb: "delete", resource: "Session", key: gone.metadata, uid: gone.metadata.uid });
    await writer.act({ verb: "create", object: session("new") });
    await until(() => restarts.includes("expired"));
    old = false;
    await until(() => modes.length > 1 && names(observation).join() === "new");
  });

  withLab("a watch of one name tells of no other", async ({ target, watch, make, remove }) => {
    await make("a");
    const client: ApiClient = { ...target.client, watch: (resource, path) => target.client.watch(resource, `${path}&fieldSelector=metadata.name%3Da`) };
    const { observation } = await watch(CONFIG_MAPS, client);
    const told: string[] = [];
    observation.store.onChange(({ metadata }) => told.push(metadata.name));
    await make("b");
    await remove("a");
    // What came before this has been told by now, had it been for us.
    await until(() => names(observation).length === 0);
    assert.deepEqual(told, ["a"]);
    const filtered = await target.client.request({ verb: "list", resource: "configmaps", method: "GET", path: `/api/v1/namespaces/${target.namespace}/configmaps?fieldSelector=metadata.name%3Db` });
    assert.deepEqual((filtered as { items: Observed[] }).items.map((item) => item.metadata.name), ["b"]);
  });

  withLab("a dry run makes nothing", async ({ target }) => {
    const writer = createClusterWriter(target.client, new Map());
    await writer.act({ verb: "preflight", object: mapOf(target, "dry") });
    assert.equal(await readConfigMap(target.client, { namespace: target.namespace, name: "dry" }), undefined);
  });

  withLab("an access review answers for somebody else", async ({ target }) => {
    const check = { groups: ["system:masters"], namespace: target.namespace, verb: "use", group: "paddock.dev", resource: "environments", name: "standard" };
    await requireAccess(target.client, { ...check, user: "paddock-conformance" });
  });

  withLab("half open: a connection on which nothing comes any more is noticed by its ping, and nothing is missed", async ({ target, through, watch, make }) => {
    const { client, proxy } = await through();
    const { observation, restarts } = await watch(CONFIG_MAPS, client);
    proxy.setMode("hole");
    await make("missed");
    await until(() => observation.blindMs() > 0);
    proxy.setMode("pass");
    await until(() => names(observation).join() === "missed");
    assert.ok(restarts.includes("error"));
    assert.equal((await readConfigMap(target.client, { namespace: target.namespace, name: "missed" })) !== undefined, true);
  });

  withLab("half open without pings: silence is noticed, and nothing is missed", async ({ target, watch, make }) => {
    const proxy = await startTcpProxy(addressOf(target.connection));
    const client = createApiClient(via(target.connection, proxy.port), { lane: { connectTimeoutMs: 5_000, pingEveryMs: 3_600_000, pingTimeoutMs: 3_600_000 } });
    try {
      const { observation, restarts } = await watch(CONFIG_MAPS, client, { silenceMs: 400 });
      proxy.setMode("hole");
      await make("missed");
      await until(() => restarts.includes("silence"));
      // The connection is as dead as its watch; only a ping or a request that fails gives it up.
      proxy.reset();
      proxy.setMode("pass");
      await until(() => names(observation).join() === "missed");
    } finally {
      client.close();
      await proxy.close();
    }
  });

  withLab("a connection cut in the middle of an event goes on from the last whole one", async ({ through, watch, make }) => {
    const { client, proxy } = await through();
    const { observation, modes } = await watch(CONFIG_MAPS, client);
    await make("a");
    await until(() => names(observation).join() === "a");
    proxy.cutAfter(200);
    await make("b");
    await make("c");
    await until(() => names(observation).join() === "a,b,c");
    assert.deepEqual(modes, ["stream"]);
  });

  withLab("a write whose answer is lost is ambiguous, and repeating it leaves one object", async ({ target, through }) => {
    const { client, proxy } = await through(target.operator.connection);
    const writer = createClusterWriter(client, new Map());
    await readConfigMap(client, { namespace: target.namespace, name: "none" });
    const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "paddock-pod", namespace: target.namespace, labels: { "app.kubernetes.io/managed-by": "paddock" } } };
    proxy.loseNextAnswers();
    const error = await writer.act({ verb: "create", object: account }).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof ConnectionError && error.ambiguous, String(error));
    await writer.act({ verb: "create", object: account });
    const list = (await target.client.request({ verb: "list", resource: "serviceaccounts", method: "GET", path: `/api/v1/namespaces/${target.namespace}/serviceaccounts` })) as { items: Observed[] };
    assert.equal(list.items.filter(({ metadata }) => metadata.name === "paddock-pod").length, 1);
  });

  withLab("connections reset during writes: each object is there once all writes were repeated until accepted", async ({ target, through }) => {
    const { client, proxy } = await through(target.operator.connection);
    const writer = createClusterWriter(client, new Map());
    const policy = (name: string) => ({
      apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
      metadata: { name, namespace: target.namespace, labels: { "app.kubernetes.io/managed-by": "paddock" } }, spec: { podSelector: { matchLabels: { "app.kubernetes.io/managed-by": "paddock", "paddock.dev/component": "runner", "paddock.dev/environment": "e" } } },
    });
    const wanted = Array.from({ length: 20 }, (_, index) => `paddock-w${String(index).padStart(2, "0")}`);
    const persist = async (name: string): Promise<void> => {
      for (;;) {
        try {
          return void (await writer.act({ verb: "create", object: policy(name) }));
        } catch (error) {
          assert.ok(error instanceof ConnectionError, String(error));
        }
      }
    };
    const writes = wanted.map(persist);
    proxy.cutAfter(2_000);
    await Promise.race(writes);
    proxy.reset();
    await Promise.all(writes);
    const list = (await target.client.request({ verb: "list", resource: "networkpolicies", method: "GET", path: `/apis/networking.k8s.io/v1/namespaces/${target.namespace}/networkpolicies` })) as { items: Observed[] };
    assert.deepEqual(list.items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith("paddock-w")).sort(), wanted);
  });

  withLab("a server that was away is asked until it is back, the cache is stale meanwhile and right after", async ({ through, watch, make, remove }) => {
    const { client, proxy } = await through();
    await make("a");
    const { observation } = await watch(CONFIG_MAPS, client);
    proxy.setMode("refuse");
    await until(() => observation.blindMs() > 0);
    await remove("a");
    await make("b");
    assert.deepEqual(names(observation), ["a"]);
    proxy.setMode("pass");
    await until(() => names(observation).join() === "b" && observation.blindMs() === 0);
  });
}

const SESSION = { spec: { agentRef: { name: "a" }, environmentRef: { name: "e" }, prompt: "hello" } };

function createLab(t: TestContext, target: ApiTarget): Lab {
  const undo: (() => unknown)[] = [() => target.close()];
  t.after(async () => {
    for (const step of undo.toReversed()) await step();
  });
  const writer = createClusterWriter(target.client, new Map());
  return {
    target,
    through: async (connection = target.connection) => {
      const proxy = await startTcpProxy(addressOf(connection));
      const client = createApiClient(via(connection, proxy.port), { lane: { connectTimeoutMs: 1_000, pingEveryMs: 100, pingTimeoutMs: 500 } });
      undo.push(() => proxy.close(), () => client.close());
      return { client, proxy };
    },
    watch: async (resource, client, timing) => {
      const restarts: RestartReason[] = [];
      const modes: ListMode[] = [];
      const observation = observeResource(resource, {
        client,
        namespaces: [target.namespace],
        onRestart: (_plural, reason) => restarts.push(reason),
        onList: (_plural, mode) => modes.push(mode),
        ...(timing === undefined ? {} : { timing }),
      });
      undo.push(() => observation.stop());
      observation.start();
      await until(() => observation.store.isSynced() && observation.blindMs() === 0);
      return { observation, restarts, modes };
    },
    make: async (name) => void (await writer.act({ verb: "create", object: mapOf(target, name) })),
    remove: async (name) => {
      const path = `/api/v1/namespaces/${target.namespace}/configmaps/${name}`;
      await target.client.request({ verb: "delete", resource: "configmaps", method: "DELETE", path });
    },
  };
}

function mapOf({ namespace }: ApiTarget, name: string): Manifest {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels: { test: "watch" } } };
}

function addressOf({ url }: Connection): { host: string; port: number } {
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port === "" ? (protocol === "https:" ? 443 : 80) : port) };
}

/** The same server through a port of this machine; its certificate is still checked, under a name that every API server has. */
function via(connection: Connection, port: number): Connection {
  const { protocol, hostname } = new URL(connection.url);
  const servername = isIP(hostname) === 0 ? hostname : "kubernetes.default.svc";
  return {
    url: `${protocol}//127.0.0.1:${port}`,
    tls: async () => (protocol === "https:" ? { servername, ...(await connection.tls()) } : {}),
    authorization: (fresh) => connection.authorization(fresh),
  };
}

const names = ({ store }: Observation<Observed>): string[] => [...store.keys()].map(({ name }) => name).sort();

/** Resolves when the condition holds; the test's own time limit bounds it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
