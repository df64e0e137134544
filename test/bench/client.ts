import { randomBytes } from "node:crypto";
import { PerformanceObserver } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CoreV1Api, KubeConfig, PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";
import { connectKubeconfig } from "../../operator/src/cluster/connect.ts";
import { type ApiClient, createApiClient } from "../../operator/src/cluster/http.ts";
import { observeResource } from "../../operator/src/cluster/observe.ts";
import type { ObservedResource } from "../../operator/src/cluster/resources.ts";
import type { Observed } from "../../operator/src/kernel/kind.ts";
import { KUBECONFIG } from "../e2e/kubectl.ts";
import { startFakeApiServer } from "../fakes/apiserver.ts";
import { inPairs, printFigure, printRatio } from "./figures.ts";

// The operator's client beside @kubernetes/client-node: the same reads and patches of the same ConfigMaps at the same server, by turns in one process.
// CPU is this process's own, so the API server's is not in it.

const CALLS = 2_000;
const PAIRS = 3;
const AT_ONCE = 16;
const MAPS = 20;

/** Prints the client's figures; needs a cluster, and leaves nothing there. */
export async function run(): Promise<void> {
  const client = createApiClient(await connectKubeconfig(KUBECONFIG));
  const namespace = `bench-client-${randomBytes(3).toString("hex")}`;
  const path = "/api/v1/namespaces";
  await client.request({ verb: "create", resource: "namespaces", method: "POST", path, body: { metadata: { name: namespace } } });
  try {
    await measureCalls(client, namespace);
    await measureBlindness(client, namespace);
  } finally {
    await client.request({ verb: "delete", resource: "namespaces", method: "DELETE", path: `${path}/${namespace}` });
    client.close();
  }
  await measureSoak();
}

async function measureCalls(client: ApiClient, namespace: string): Promise<void> {
  const config = new KubeConfig();
  config.loadFromFile(KUBECONFIG);
  const theirs = config.makeApiClient(CoreV1Api);
  for (let index = 0; index < MAPS; index += 1) await theirs.createNamespacedConfigMap({ namespace, body: { metadata: { name: nameOf(index) }, data: { text: "x".repeat(1000) } } });

  const collection = `/api/v1/namespaces/${namespace}/configmaps`;
  const ours = async (index: number): Promise<void> => {
    const path = `${collection}/${nameOf(index)}`;
    if (index % 2 === 0) await client.request({ verb: "get", resource: "configmaps", method: "GET", path });
    else await client.request({ verb: "update", resource: "configmaps", method: "PATCH", path, contentType: "application/merge-patch+json", body: patchOf(index) });
  };
  const merge = setHeaderOptions("Content-Type", PatchStrategy.MergePatch);
  const control = async (index: number): Promise<void> => {
    const name = nameOf(index);
    if (index % 2 === 0) await theirs.readNamespacedConfigMap({ name, namespace });
    else await theirs.patchNamespacedConfigMap({ name, namespace, body: patchOf(index) }, merge);
  };

  const handshakes = countConnects();
  const figures = { ours: { cpu: [] as number[], handshakes: [] as number[] }, control: { cpu: [] as number[], handshakes: [] as number[] } };
  const measure = (call: (index: number) => Promise<void>, into: { cpu: number[]; handshakes: number[] }) => async (): Promise<void> => {
    const before = await handshakes.count();
    const cpu = process.cpuUsage();
    await inParallel(CALLS, call);
    const { user, system } = process.cpuUsage(cpu);
    into.cpu.push((user + system) / 1000 / CALLS);
    into.handshakes.push((await handshakes.count()) - before);
  };
  // Both pay once for loading and compiling.
  await inParallel(200, ours);
  await inParallel(200, control);
  await inPairs(PAIRS, measure(ours, figures.ours), measure(control, figures.control));
  handshakes.stop();

  printFigure("client_cpu_per_request", figures.ours.cpu, "ms");
  printFigure("control_client_node_cpu_per_request", figures.control.cpu, "ms");
  printRatio("ratio_client_cpu", figures.ours.cpu, figures.control.cpu);
  printFigure(`client_tls_handshakes_per_${CALLS}_requests`, figures.ours.handshakes, "handshakes");
  printFigure(`control_client_node_tls_handshakes_per_${CALLS}_requests`, figures.control.handshakes, "handshakes");
  printFigure("client_connections_opened_in_all", [client.connections()], "connections");
}

const CONFIG_MAPS: ObservedResource<Observed> = {
  source: { name: "configmaps" },
  endpoint: { base: "/api/v1", plural: "configmaps" },
  slim: ({ metadata }) => ({ metadata: { ...metadata, namespace: metadata.namespace ?? "" } }),
  indexes: {},
};

/** Time without a watch while nothing happens, and while watches come to their time-outs. */
async function measureBlindness(client: ApiClient, namespace: string): Promise<void> {
  let renewals = 0;
  const observation = observeResource(CONFIG_MAPS, { client, namespaces: [namespace], timing: { minSeconds: 2, maxSeconds: 2 }, onRestart: () => (renewals += 1) });
  observation.start();
  while (!observation.store.isSynced()) await sleep(5);
  const start = observation.blindTotalMs();
  await sleep(1_500);
  printFigure("client_blind_watch_time_idle", [observation.blindTotalMs() - start], "ms");
  while (renewals < 4) await sleep(50);
  printFigure(`client_blind_watch_time_across_${renewals}_time-outs`, [observation.blindTotalMs() - start], "ms");
  await observation.stop();
}

/** Memory after many requests on one connection: HTTP/2 sessions of Node have leaked before. */
async function measureSoak(): Promise<void> {
  const server = await startFakeApiServer();
  const client = createApiClient({ url: server.url, tls: async () => ({}), authorization: async () => undefined });
  const log = server.requests as string[];
  const ask = async (): Promise<void> => void (await client.request({ verb: "list", resource: "configmaps", method: "GET", path: "/api/v1/configmaps" }));
  const after = async (requests: number): Promise<number> => {
    await inParallel(requests, ask);
    // The fake remembers what it was asked, in this very process.
    log.length = 0;
    return heapBytes();
  };
  const warm = await after(5_000);
  const growth = (await after(20_000)) - warm;
  printFigure("client_heap_growth_per_request_over_20000", [growth / 20_000], "bytes");
  printFigure("client_soak_connections", [client.connections()], "connections");
  client.close();
  await server.close();
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round += 1) collect();
  return process.memoryUsage().heapUsed;
}

/** Counts connections that this process makes, whoever makes them. */
function countConnects(): { count(): Promise<number>; stop(): void } {
  let connects = 0;
  const observer = new PerformanceObserver((list) => {
    connects += list.getEntries().filter(({ name }) => name === "connect").length;
  });
  observer.observe({ entryTypes: ["net"] });
  return {
    count: async () => {
      // Entries are handed over in a later turn of the event loop.
      await sleep(20);
      return connects;
    },
    stop: () => observer.disconnect(),
  };
}

async function inParallel(count: number, call: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await call(next - 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const nameOf = (index: number): string => `map-${index % MAPS}`;
const patchOf = (index: number) => ({ metadata: { annotations: { "paddock.dev/bench": String(index) } } });
