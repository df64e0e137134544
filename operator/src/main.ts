import { GATEWAY_CA } from "@paddock/api/names";
import { agentKind } from "./agent/agent.ts";
import { connectInCluster, connectKubeconfig, tokenFile } from "./cluster/connect.ts";
import { classifyClusterError } from "./cluster/errors.ts";
import { createApiClient } from "./cluster/http.ts";
import { type ObserveOptions, observeResource } from "./cluster/observe.ts";
import { AGENTS, ENVIRONMENTS, NETWORK_POLICIES, PODS, SERVICE_ACCOUNTS, SESSIONS } from "./cluster/resources.ts";
import { createClusterWriter, readConfigValue, readNamespaceUid, readObject } from "./cluster/writer.ts";
import { type Config, ConfigError, loadConfig } from "./config.ts";
import { environmentKind } from "./environment/environment.ts";
import { type PassReport, type Writer, createController, kindController } from "./kernel/controller.ts";
import { classifyWith } from "./kernel/faults.ts";
import { createFeeds, createManager } from "./kernel/manager.ts";
import { createCaSource } from "./records/ca.ts";
import { createGatewayClient } from "./records/client.ts";
import { classifyGatewayError } from "./records/errors.ts";
import { createOrphanPass } from "./records/orphans.ts";
import { createRecordStream } from "./records/stream.ts";
import { createLogWriter } from "./records/writer.ts";
import { sessionKind } from "./session/session.ts";
import type { Settings } from "./settings.ts";
import * as sources from "./sources.ts";
import { type Logger, createLogger, logPass } from "./telemetry/log.ts";
import { createMetrics } from "./telemetry/metrics.ts";
import { startHealthServer } from "./telemetry/server.ts";
import { wakesOf } from "./wakes.ts";

// A watch that has been away for so long may hide changes that matter.
const STALE_MS = 30_000;
const WORKERS = { agent: 2, environment: 2, session: 16, orphan: 2 } as const;

async function run(config: Config, log: Logger): Promise<void> {
  const metrics = createMetrics();
  const connection = "host" in config.apiServer ? connectInCluster(config.apiServer.host, config.apiServer.port) : await connectKubeconfig(config.apiServer.kubeconfig);
  const client = createApiClient(connection, { onRequest: metrics.onRequest });
  const classify = classifyWith(classifyClusterError, classifyGatewayError);

  const observeOptions: ObserveOptions = {
    client,
    namespaces: config.watchNamespaces,
    onRestart: metrics.onWatchRestart,
    onTrouble: (plural, error, failures) => log[failures > 1 ? "warn" : "debug"]({ resource: plural, failures, reason: String(error) }, "watch lost"),
  };
  const caches = {
    agents: observeResource(AGENTS, observeOptions),
    environments: observeResource(ENVIRONMENTS, observeOptions),
    sessions: observeResource(SESSIONS, observeOptions),
    pods: observeResource(PODS, observeOptions),
    networkPolicies: observeResource(NETWORK_POLICIES, observeOptions),
    serviceAccounts: observeResource(SERVICE_ACCOUNTS, observeOptions),
  };
  const observations = Object.values(caches);

  const ca = createCaSource(
    () => readConfigValue(client, { namespace: config.namespace, name: GATEWAY_CA.configMap }, GATEWAY_CA.key),
    `ConfigMap ${config.namespace}/${GATEWAY_CA.configMap}`,
  );
  const gateway = createGatewayClient({ url: config.gatewayDialUrl, ca: ca.pem, onUntrusted: ca.forget, token: tokenFile(config.tokenFile) });
  const stream = createRecordStream({
    client: gateway,
    onRestart: () => metrics.onWatchRestart("records", "error"),
    onTrouble: (error, failures) => log[failures > 2 ? "warn" : "debug"]({ resource: "records", failures, reason: String(error) }, "watch lost"),
  });

  const feeds = createFeeds();
  feeds.add(sources.agents, caches.agents.store);
  feeds.add(sources.environments, caches.environments.store);
  feeds.add(sources.sessions, caches.sessions.store);
  feeds.add(sources.pods, caches.pods.store);
  feeds.add(sources.networkPolicies, caches.networkPolicies.store);
  feeds.add(sources.serviceAccounts, caches.serviceAccounts.store);
  feeds.add(sources.records, stream.feed);

  const toCluster = createClusterWriter(client, new Map(observations.map((observation) => [observation.plural, observation])));
  const toLog = createLogWriter({
    gateway,
    byUid: stream.byUid,
    readNamespaceUid: (namespace) => readNamespaceUid(client, namespace),
    readSessionUid: async (key) => (await readObject(client, "Session", key))?.metadata.uid,
  });
  const writer: Writer = {
    act: (action) => (action.verb === "create" || action.verb === "apply" || action.verb === "delete" ? toCluster.act(action) : toLog(action)),
    status: toCluster.status,
  };

  const settings = (): Settings => ({
    runnerImage: config.runnerImage,
    sandboxImage: config.sandboxImage,
    imagePullPolicy: config.imagePullPolicy,
    gatewayUrl: config.gatewayUrl,
    gatewayCa: ca.known(),
    dnsPeers: config.dnsPeers,
    privateRanges: config.privateRanges,
    releaseNamespace: config.namespace,
  });
  const report = (pass: PassReport): void => {
    metrics.onPass(pass);
    logPass(log, pass);
  };
  const ports = { read: feeds, writer, now: () => new Date(), classify, report };
  const agent = kindController(agentKind(), WORKERS.agent, ports);
  const environment = kindController(environmentKind(settings), WORKERS.environment, ports);
  const session = kindController(sessionKind(settings), WORKERS.session, ports);
  const orphan = createController({
    name: "Record",
    workers: WORKERS.orphan,
    report,
    pass: createOrphanPass({ read: feeds, act: writer.act, classify, namespaces: config.watchNamespaces, nowMs: () => performance.now() }),
  });
  const controllers = [
    { controller: agent, self: sources.agents },
    { controller: environment, self: sources.environments },
    { controller: session, self: sources.sessions },
    { controller: orphan, self: sources.records },
  ];
  metrics.observeQueues(() => controllers.map(({ controller }) => [controller.name, controller.depth()] as const));

  const manager = createManager({
    feeds, controllers,
    wakes: wakesOf({ agent: agent.name, environment: environment.name, session: session.name, orphan: orphan.name }),
    after: [sources.agents, sources.environments, sources.sessions, sources.pods, sources.networkPolicies, sources.serviceAccounts],
    also: [sources.records],
  });

  const watched = [...observations.map(({ plural, store, blindMs }) => ({ name: plural, isSynced: store.isSynced, blindMs })), { name: "records", isSynced: stream.feed.isSynced, blindMs: stream.blindMs }];
  const unready = (): readonly string[] =>
    watched.flatMap(({ name, isSynced, blindMs }) => {
      if (!isSynced()) return [`${name}: the initial list is not complete`];
      return blindMs() > STALE_MS ? [`${name}: no watch for ${Math.round(blindMs() / 1000)} s`] : [];
    });
  const health = await startHealthServer({ port: config.metricsPort, registry: metrics.registry, unready });

  for (const observation of observations) observation.start();
  stream.start();
  log.info({ namespaces: config.watchNamespaces, apiServer: connection.url, gateway: config.gatewayDialUrl }, "started");

  const signal = await new Promise<string>((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, resolve);
  });
  log.info({ signal }, "stopping");
  // Passes first: they still need the caches and connections that go after them.
  await manager.stop();
  await Promise.all([stream.stop(), ...observations.map((observation) => observation.stop())]);
  gateway.close();
  client.close();
  health.close();
  health.closeAllConnections();
  log.info("stopped");
}

function configOrExit(): Config {
  try {
    return loadConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
}

const config = configOrExit();
await run(config, createLogger(config.logLevel));
