import { createServer } from "node:https";
import type { Server } from "node:https";
import { createAdaptorServer } from "@hono/node-server";
import { buildApp } from "./api/app.ts";
import type { Times } from "./api/ports.ts";
import { RATES, createGate } from "./api/rate.ts";
import type { RateLimits } from "./api/rate.ts";
import { connectApiServer } from "./auth/api-server.ts";
import type { ApiServerOptions } from "./auth/api-server.ts";
import { createReviewer } from "./auth/review.ts";
import { openLogWriter } from "./log/append.ts";
import type { LogWriter, LogWriterPorts } from "./log/append.ts";
import { takeCensus } from "./log/census.ts";
import { createDamage } from "./log/damage.ts";
import { createDeltas } from "./log/deltas.ts";
import { createFollowers } from "./log/follow.ts";
import { createRecordListeners } from "./log/listeners.ts";
import { startTicker } from "./log/ticker.ts";
import { openStore } from "./store/open.ts";
import type { StoreConfig } from "./store/open.ts";
import type { Store } from "./store/store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Audience, Metrics } from "./telemetry/metrics.ts";
import { createTracing } from "./telemetry/tracing.ts";
import type { Serving } from "./tls/authority.ts";
import { openCertificates } from "./tls/certificates.ts";

/** How long a stop waits for requests and streams to end by themselves. */
const STOP_PATIENCE_MS = 5000;

export const TIMES: Times = { keepAliveMs: 15_000, writeTimeoutMs: 30_000, coalesceMs: 5000, recheckMs: 60_000, reviewMs: 60_000 };

export interface GatewayOptions {
  /** Where logs are kept, or what keeps them: the gateway closes it. */
  readonly store: StoreConfig | Store;
  /** 0 takes a free one. */
  readonly port: number;
  /** Address to listen on; absent means every address. */
  readonly host?: string;
  /** DNS names and addresses of the serving certificate. */
  readonly names: readonly string[];
  /** Kubernetes user name of the operator. */
  readonly operatorUser: string;
  readonly apiServer: ApiServerOptions;
  /** Where the certificates of the gateway's authorities are published. */
  readonly namespace: string;
  /** How long logs of finished sessions are kept, in seconds; absent or 0 means for ever. */
  readonly retentionSeconds?: number;
  /** Base address of an OTLP/HTTP receiver; absent means no traces. */
  readonly otlpEndpoint?: string | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly times?: Times;
  readonly rates?: RateLimits;
}

export interface Gateway {
  /** https://localhost:PORT */
  readonly url: string;
  readonly port: number;
  /** PEM of every CA to trust. */
  readonly ca: string;
  /** Stops accepting, ends the streams and closes the store. */
  close(): Promise<void>;
}

/** A running gateway. Rejects when the store cannot be opened or the port cannot be had. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { logger, metrics, times = TIMES } = options;
  const now = (): Date => new Date();
  const store = await storeOf(options, now);
  const shutdown = new AbortController();
  const api = connectApiServer(options.apiServer);
  try {
    const core = await startCore(options, store, now);
    const app = buildApp({
      ...core,
      store,
      reviewer: createReviewer({ api, acceptedMs: times.reviewMs, count: metrics.reviewed, report: (error) => logger.warn({ err: error }, "the API server could not be asked") }),
      gate: createGate(options.rates ?? RATES, { clock: () => performance.now(), count: metrics.rateLimited }),
      operatorUser: options.operatorUser,
      metrics,
      logger,
      times,
      shutdown: shutdown.signal,
      now,
    });
    const certificates = await openCertificates({ store, api, namespace: options.namespace, names: options.names, logger, now }, ({ certificate, key }) => server.setSecureContext({ cert: certificate, key }));
    const server = createListener(app.fetch, certificates.current().serving);
    const port = await listen(server, options);
    // A stream that ends in a stop leaves its connection open, and the client's next request would come on it.
    const closeLeft = (): void => {
      if (shutdown.signal.aborted) server.closeIdleConnections();
    };
    server.on("request", (_request, response) => response.once("close", closeLeft));
    const keeping = certificates.keep(shutdown.signal);
    logger.info({ port, incarnation: store.incarnation }, "serving");
    return {
      url: `https://localhost:${port}`,
      port,
      ca: certificates.current().bundle,
      close: async () => {
        shutdown.abort();
        await stop(server);
        // Ends a request that the API server leaves waiting.
        api.close();
        await keeping;
        await core.close();
        await store.close();
      },
    };
  } catch (error) {
    api.close();
    await store.close();
    throw error;
  }
}

function storeOf({ store, logger, metrics }: GatewayOptions, now: () => Date): Promise<Store> | Store {
  if (!("kind" in store)) return store;
  return openStore(store, { now, report: (error) => logger.error({ err: error }, "the store reports a fault"), committed: metrics.committed });
}

/** What goes on whoever calls: appends, streams, what is due, traces. */
async function startCore({ logger, metrics, retentionSeconds = 0, otlpEndpoint }: GatewayOptions, store: Store, now: () => Date) {
  const tracing = await createTracing({ endpoint: otlpEndpoint, events: store.events, metrics, logger });
  const stored: LogWriterPorts["stored"] = (commit) => {
    metrics.stored(commit);
    tracing.stored(commit);
  };
  const writer = timeAppends(openLogWriter({ store, now, stored, count: metrics.appended }), metrics);
  const damage = createDamage({ store, writer, logger, count: metrics.corrupted });
  const followers = createFollowers();
  const unsubscribe = store.subscribe((change) => {
    if (change.kind !== "record") return;
    followers.wake(change.record.uid);
    // A pod that waits here for its registration, which another gateway took.
    if (change.record.runner.podUid !== undefined) followers.wake(change.record.runner.podUid);
  });
  const deltas = createDeltas(store, followers);
  const listeners = createRecordListeners(store);
  const counted = new AbortController();
  const census = takeCensus({ store, metrics, signal: counted.signal }).catch((error: unknown) => logger.error({ err: error }, "sessions cannot be counted"));
  const ticker = startTicker({ store, writer, damage, logger, now, retentionSeconds, expired: metrics.expired });
  return {
    writer,
    damage,
    followers,
    deltas,
    listeners,
    close: async (): Promise<void> => {
      counted.abort();
      await census;
      await ticker.stop();
      deltas.close();
      listeners.close();
      unsubscribe();
      await tracing.close();
    },
  };
}

/** The same writer, with the time that each append takes told to `metrics`. */
function timeAppends(writer: LogWriter, { appendTook }: Pick<Metrics, "appendTook">): LogWriter {
  const timed = async <T>(role: Audience, append: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    try {
      return await append();
    } finally {
      appendTook(role, (performance.now() - startedAt) / 1000);
    }
  };
  return {
    ...writer,
    appendByOperator: (...asked) => timed("operator", () => writer.appendByOperator(...asked)),
    appendByPerson: (...asked) => timed("person", () => writer.appendByPerson(...asked)),
    appendByRunner: (...asked) => timed("runner", () => writer.appendByRunner(...asked)),
  };
}

function createListener(fetch: ReturnType<typeof buildApp>["fetch"], { certificate, key }: Serving): Server {
  return createAdaptorServer({
    fetch,
    overrideGlobalObjects: false,
    createServer,
    serverOptions: {
      cert: certificate,
      key,
      minVersion: "TLSv1.2",
      handshakeTimeout: 10_000,
      headersTimeout: 10_000,
      requestTimeout: 60_000,
      keepAliveTimeout: 75_000,
      maxHeaderSize: 32_768,
    },
  }) as Server;
}

async function listen(server: Server, { port, host }: GatewayOptions): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  await promise;
  server.off("error", reject);
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

async function stop(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cut = setTimeout(() => server.closeAllConnections(), STOP_PATIENCE_MS);
  server.close(() => resolve());
  server.closeIdleConnections();
  await promise;
  clearTimeout(cut);
}
