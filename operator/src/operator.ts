import { GATEWAY_CA } from "@paddock/api/names";
import { agentKind } from "./agent/agent.ts";
import type { Connection } from "./cluster/connect.ts";
import { classifyClusterError } from "./cluster/errors.ts";
import { type ApiClient, createApiClient } from "./cluster/http.ts";
import { type ObserveOptions, observeResource } from "./cluster/observe.ts";
import { AGENTS, ENVIRONMENTS, NETWORK_POLICIES, PODS, SERVICE_ACCOUNTS, SESSIONS } from "./cluster/resources.ts";
import { createClusterWriter, readConfigValue, readNamespaceUid, readObject } from "./cluster/writer.ts";
import type { Config } from "./config.ts";
import { environmentKind } from "./environment/environment.ts";
import { type KindPorts, type PassReport, createController, kindController } from "./kernel/controller.ts";
import { classifyWith } from "./kernel/faults.ts";
import { type Feeds, createFeeds, createManager } from "./kernel/manager.ts";
import { createCaSource } from "./records/ca.ts";
import { type GatewayClient, createGatewayClient } from "./records/client.ts";
import { classifyGatewayError } from "./records/errors.ts";
import { createOrphanPass } from "./records/orphans.ts";
import { type RecordStream, createRecordStream } from "./records/stream.ts";
import { createLogWriter } from "./records/writer.ts";
import { sessionKind } from "./session/session.ts";
import type { Settings } from "./settings.ts";
import * as sources from "./sources.ts";
import { type Logger, logPass } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { wakesOf } from "./wakes.ts";

/** What the operator is made of from outside. */
export interface OperatorOptions {
  readonly config: Config;
  readonly connection: Connection;
  /** Our token for the gateway; `fresh` skips what is remembered. */
  token(fresh: boolean): Promise<string>;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export interface Operator {
  /** What is not as it should be, as sentences; ready when there is nothing. */
  unready(): readonly string[];
  /** Ends passes, then watches, then connections. */
  stop(): Promise<void>;
}

// A watch that has been away for so long may hide changes that matter.
const STALE_MS = 30_000;
const WORKERS = { agent: 2, environment: 2, session: 16, orphan: 2 } as const;

/** Wires everything together and starts it. */
export function startOperator({ config, connection, token, metrics, log }: OperatorOptions): Operator {
  const client = createApiClient(connection, { onRequest: metrics.onRequest });
  const caches = observeAll(client, { config, metrics, log });
  const ca = createCaSource(
    () => readConfigValue(client, { namespace: config.namespace, name: GATEWAY_CA.configMap }, GATEWAY_CA.key),
    `ConfigMap ${config.namespace}/${GATEWAY_CA.configMap}`,
  );
  const gateway = createGatewayClient({ url: config.gatewayDialUrl, ca: ca.pem, onUntrusted: ca.forget, token });
  const stream = createRecordStream({
    client: gateway,
    onRestart: () => metrics.onWatchRestart("records", "error"),
    onTrouble: (error, failures) => log[failures > 2 ? "warn" : "debug"]({ resource: "records", failures, reason: String(error) }, "watch lost"),
  });
  const feeds = feedsOf(caches, stream);
  const settings = (): Settings => ({
    runnerImage: config.runnerImage,
    sandboxImage: config.sandboxImage,
    imagePullPolicy: config.imagePullPolicy,
    gatewayUrl: config.gatewayUrl,
    gatewayCa: ca.known(),
    dnsPeers: config.dnsPeers,
    privateRanges: config.privateRanges,
    releaseNamespace: config.namespace,
    logLevel: config.logLevel,
  });
  const ports: KindPorts = {
    read: feeds,
    writer: writerOf({ client, caches, gateway, stream }),
    now: () => new Date(),
    classify: classifyWith(classifyClusterError, classifyGatewayError),
    report: (pass: PassReport) => {
      metrics.onPass(pass);
      logPass(log, pass);
    },
  };
  const controllers = controllersOf(ports, settings, config.watchNamespaces);
  metrics.observeQueues(() => Object.values(controllers).map(({ name, depth }) => [name, depth()] as const));

  const { agent, environment, session, orphan } = controllers;
  const manager = createManager({
    feeds,
    controllers: [
      { controller: agent, self: sources.agents },
      { controller: environment, self: sources.environments },
      { controller: session, self: sources.sessions },
      { controller: orphan, self: sources.records },
    ],
    wakes: wakesOf({ agent: agent.name, environment: environment.name, session: session.name, orphan: orphan.name }),
    after: [sources.agents, sources.environments, sources.sessions, sources.pods, sources.networkPolicies, sources.serviceAccounts],
    also: [sources.records],
  });

  const observations = Object.values(caches);
  for (const observation of observations) observation.start();
  stream.start();

  const watched = [...observations.map(({ plural, store, blindMs }) => ({ name: plural, isSynced: store.isSynced, blindMs })), { name: "records", isSynced: stream.feed.isSynced, blindMs: stream.blindMs }];
  return {
    unready: () =>
      watched.flatMap(({ name, isSynced, blindMs }) => {
        if (!isSynced()) return [`${name}: the initial list is not complete`];
        return blindMs() > STALE_MS ? [`${name}: no watch for ${Math.round(blindMs() / 1000)} s`] : [];
      }),
    stop: async () => {
      // Passes first: they still need the caches and connections that go after them.
      await manager.stop();
      await Promise.all([stream.stop(), ...observations.map((observation) => observation.stop())]);
      gateway.close();
      client.close();
    },
  };
}

type Caches = ReturnType<typeof observeAll>;

function observeAll(client: ApiClient, { config, metrics, log }: Pick<OperatorOptions, "config" | "metrics" | "log">) {
  const options: ObserveOptions = {
    client,
    namespaces: config.watchNamespaces,
    onRestart: metrics.onWatchRestart,
    onTrouble: (plural, error, failures) => log[failures > 1 ? "warn" : "debug"]({ resource: plural, failures, reason: String(error) }, "watch lost"),
  };
  return {
    agents: observeResource(AGENTS, options),
    environments: observeResource(ENVIRONMENTS, options),
    sessions: observeResource(SESSIONS, options),
    pods: observeResource(PODS, options),
    networkPolicies: observeResource(NETWORK_POLICIES, options),
    serviceAccounts: observeResource(SERVICE_ACCOUNTS, options),
  };
}

function feedsOf(caches: Caches, stream: RecordStream): Feeds {
  const feeds = createFeeds();
  feeds.add(sources.agents, caches.agents.store);
  feeds.add(sources.environments, caches.environments.store);
  feeds.add(sources.sessions, caches.sessions.store);
  feeds.add(sources.pods, caches.pods.store);
  feeds.add(sources.networkPolicies, caches.networkPolicies.store);
  feeds.add(sources.serviceAccounts, caches.serviceAccounts.store);
  feeds.add(sources.records, stream.feed);
  return feeds;
}

interface WriterParts {
  readonly client: ApiClient;
  readonly caches: Caches;
  readonly gateway: GatewayClient;
  readonly stream: RecordStream;
}

function writerOf({ client, caches, gateway, stream }: WriterParts): KindPorts["writer"] {
  const toCluster = createClusterWriter(client, new Map(Object.values(caches).map((observation) => [observation.plural, observation])));
  const toLog = createLogWriter({
    gateway,
    byUid: stream.byUid,
    readNamespaceUid: (namespace) => readNamespaceUid(client, namespace),
    readSessionUid: async (key) => (await readObject(client, "Session", key))?.metadata.uid,
  });
  return {
    act: (action) => (action.verb === "create" || action.verb === "apply" || action.verb === "delete" ? toCluster.act(action) : toLog(action)),
    status: toCluster.status,
  };
}

function controllersOf(ports: KindPorts, settings: () => Settings, namespaces: readonly string[]) {
  const { read, writer, classify, report } = ports;
  return {
    agent: kindController(agentKind(), WORKERS.agent, ports),
    environment: kindController(environmentKind(settings), WORKERS.environment, ports),
    session: kindController(sessionKind(settings), WORKERS.session, ports),
    orphan: createController({
      name: "Record",
      workers: WORKERS.orphan,
      report,
      pass: createOrphanPass({ read, act: writer.act, classify, namespaces, nowMs: () => performance.now() }),
    }),
  };
}
