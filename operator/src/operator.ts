import { setTimeout as sleep } from "node:timers/promises";
import { buildAdmission } from "@paddock/api/admission/policies";
import { releaseOf } from "@paddock/api/admission/policy";
import { GATEWAY_CA } from "@paddock/api/names";
import { type AdmissionOptions, createAdmissionSource } from "./admission/source.ts";
import type { Connection } from "./cluster/connect.ts";
import { classifyClusterError } from "./cluster/errors.ts";
import { createEventRecorder } from "./cluster/events.ts";
import { type ApiClientOptions, createApiClient } from "./cluster/http.ts";
import { readAdmissionObject } from "./cluster/policies.ts";
import { readConfigValue } from "./cluster/reads.ts";
import { serverClock } from "./cluster/skew.ts";
import type { Config } from "./config.ts";
import type { PassReport } from "./kernel/controller.ts";
import { classifyWith } from "./kernel/faults.ts";
import { classifyLeadership } from "./kernel/leader.ts";
import { createFeeds, createManager } from "./kernel/manager.ts";
import { createKinds } from "./kinds.ts";
import { createLeadership, instanceOf } from "./leadership.ts";
import { type Watcher, observeCluster } from "./observed.ts";
import { createCaSource } from "./records/ca.ts";
import { createGatewayClient } from "./records/client.ts";
import { classifyGatewayError } from "./records/errors.ts";
import { createRecordStream } from "./records/stream.ts";
import type { Settings } from "./settings.ts";
import * as sources from "./sources.ts";
import { type Logger, logPass } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { createStageTrace } from "./telemetry/stages.ts";
import { createWriter } from "./writers.ts";

/** What the operator is made of from outside. */
export interface OperatorOptions {
  readonly config: Config;
  readonly connection: Connection;
  /** Our token for the gateway; `fresh` skips what is remembered. */
  token(fresh: boolean): Promise<string>;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Finds an admission policy of the release; absent means by a live read. Tests on servers without admission answer with what is wanted. */
  readonly readPolicy?: AdmissionOptions["read"];
  /** When a connection to the API server counts as dead; absent means what suits a cluster. */
  readonly patience?: Pick<ApiClientOptions, "lane">;
}

export interface Operator {
  /** What is not as it should be, as sentences; ready when there is nothing. Who stands by is ready too: it could take over at once. */
  unready(): readonly string[];
  /** True while this operator holds the lease. */
  isLeading(): boolean;
  /** Ends passes, gives the lease back, then ends watches, then connections. Within 12 s with a lease of 15 s, whatever does not answer. */
  stop(): Promise<void>;
}

// A watch that has been away for so long may hide changes that matter.
const STALE_MS = 30_000;
// Of passes under way when we are asked to stop. What they leave undone the next leader finds undone.
const LAST_PASSES_MS = 5_000;

/** Wires everything together and starts it. */
export function startOperator({ config, connection, token, metrics, log, readPolicy, patience = {} }: OperatorOptions): Operator {
  const leader = createLeadership({ config, connection, metrics, log, ...patience, onChange: (isLeading) => (isLeading ? begin() : manager.forbid()) });
  const client = createApiClient(connection, { onRequest: metrics.onRequest, onConnect: metrics.onConnect, permit: leader.require, ...patience });
  const feeds = createFeeds();
  const onTrouble = (resource: string, error: unknown, failures: number): void => log[failures > 2 ? "warn" : "debug"]({ resource, failures, reason: String(error) }, "watch lost");
  const watching = { client, namespaces: config.watchNamespaces, onRestart: metrics.onWatchRestart, onList: metrics.onList, onTrouble };
  const { watchers: clusterWatchers, caches, blindness } = observeCluster(feeds, watching);
  metrics.observeBlindness(blindness);
  const ca = createCaSource(
    () => readConfigValue(client, { namespace: config.namespace, name: GATEWAY_CA.configMap }, GATEWAY_CA.key),
    `ConfigMap ${config.namespace}/${GATEWAY_CA.configMap}`,
  );
  const gateway = createGatewayClient({ url: config.gatewayDialUrl, ca: ca.pem, onUntrusted: ca.forget, token, permit: leader.require });
  const stream = createRecordStream({
    client: gateway,
    onRestart: () => metrics.onWatchRestart("records", "error"),
    onTrouble: (error, failures) => onTrouble("records", error, failures),
  });
  feeds.add(sources.records, stream.feed);
  feeds.add(sources.budgets, stream.budgets);
  const policies = createAdmissionSource({
    wanted: buildAdmission(releaseOf(config.namespace, config.watchNamespaces), config),
    read: readPolicy ?? ((wanted) => readAdmissionObject(client, wanted)),
    onTrouble: (error, failures) => onTrouble("admission", error, failures),
  });
  feeds.add(sources.admission, policies.feed);
  const watchers: readonly Watcher[] = [
    ...clusterWatchers,
    policies.watcher,
    { source: sources.records, isRequired: false, start: stream.start, stop: stream.stop, isSynced: stream.feed.isSynced, blindMs: stream.blindMs },
  ];
  const trace = createStageTrace({ onStage: metrics.onStage, nowMs: () => performance.now() });
  const events = createEventRecorder({ client, instance: instanceOf(config), onFate: metrics.onEvent });
  const controllers = createKinds({
    settings: settingsOf(config, ca.known),
    namespaces: config.watchNamespaces,
    read: feeds,
    writer: createWriter({ client, caches, gateway, stream, trace }),
    announce: events.record,
    now: serverClock(client.skewMs),
    classify: classifyWith(classifyLeadership, classifyClusterError, classifyGatewayError),
    report: (pass: PassReport) => {
      metrics.onPass(pass);
      logPass(log, pass);
    },
  });
  metrics.observeQueues(() => controllers.map(({ controller: { name, depth } }) => [name, depth()] as const));
  const sourcesOf = (isRequired: boolean) => watchers.filter((watcher) => watcher.isRequired === isRequired).map(({ source }) => source);
  const manager = createManager({ feeds, controllers, after: sourcesOf(true), also: sourcesOf(false), onStart: () => log.info("passes begin") });

  const begin = (): void => {
    stream.renew();
    manager.allow();
  };
  feeds.of(sources.sessions).onChange((session) => {
    if (manager.isStarted()) trace.onSession(session);
  });
  feeds.of(sources.records).onChange(trace.onRecord);

  for (const watcher of watchers) watcher.start();
  leader.start();
  return {
    isLeading: leader.isLeading,
    unready: () => watchers.flatMap(unreadyOf),
    stop: async () => {
      // Passes first: they still need lease, caches and connections, which go after them.
      await Promise.race([manager.stop(), sleep(LAST_PASSES_MS, undefined, { ref: false })]);
      await leader.stop();
      await Promise.all(watchers.map((watcher) => watcher.stop()));
      gateway.close();
      client.close();
    },
  };
}

/** Why a source cannot be relied on, as a sentence. */
function unreadyOf({ source: { name }, isSynced, blindMs }: Watcher): readonly string[] {
  if (!isSynced()) return [`${name}: the initial list is not complete`];
  return blindMs() > STALE_MS ? [`${name}: no watch for ${Math.round(blindMs() / 1000)} s`] : [];
}

function settingsOf(config: Config, gatewayCa: () => string): () => Settings {
  return () => ({
    runnerImage: config.runnerImage,
    sandboxImage: config.sandboxImage,
    imagePullPolicy: config.imagePullPolicy,
    gatewayUrl: config.gatewayUrl,
    gatewayCa: gatewayCa(),
    dnsPeers: config.dnsPeers,
    privateRanges: config.privateRanges,
    canaries: config.canaries,
    releaseNamespace: config.namespace,
    propagatedLabels: config.propagatedLabels,
    logLevel: config.logLevel,
  });
}
