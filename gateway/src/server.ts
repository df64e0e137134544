import { createServer } from "node:https";
import type { Server } from "node:https";
import { createAdaptorServer } from "@hono/node-server";
import { buildApp } from "./api/app.ts";
import type { Times } from "./api/ports.ts";
import { connectApiServer } from "./auth/api-server.ts";
import type { ApiServerOptions } from "./auth/api-server.ts";
import { createReviewer } from "./auth/review.ts";
import { openLogWriter } from "./log/append.ts";
import { createFollowers } from "./log/follow.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { issueServing, makeAuthority, parseAuthority } from "./tls/authority.ts";
import { publishCertificate } from "./tls/publish.ts";

/** How long a stop waits for requests and streams to end by themselves. */
const STOP_PATIENCE_MS = 5000;
const RENEWAL_CHECK_MS = 3_600_000;

export const TIMES: Times = { keepAliveMs: 15_000, writeTimeoutMs: 30_000, coalesceMs: 5000, recheckMs: 60_000, reviewMs: 60_000 };

export interface GatewayOptions {
  /** Folder of the store's file. */
  readonly dataDir: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Address to listen on; absent means every address. */
  readonly host?: string;
  /** DNS names and addresses of the serving certificate. */
  readonly names: readonly string[];
  /** Kubernetes user name of the operator. */
  readonly operatorUser: string;
  readonly apiServer: ApiServerOptions;
  /** Where the CA's certificate is published. */
  readonly namespace: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly times?: Times;
}

export interface Gateway {
  /** https://localhost:PORT */
  readonly url: string;
  readonly port: number;
  /** PEM of the CA that signed the serving certificate. */
  readonly ca: string;
  /** Stops accepting, ends the streams and closes the store. */
  close(): Promise<void>;
}

/** A running gateway. Rejects when the store cannot be opened or the port cannot be had. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { logger, metrics, names, operatorUser, times = TIMES } = options;
  const now = (): Date => new Date();
  const store = openSqliteStore(options.dataDir, now);
  const authority = parseAuthority(await store.secret("ca", () => makeAuthority(now())));
  const shutdown = new AbortController();
  const api = connectApiServer(options.apiServer);
  const followers = createFollowers();
  store.subscribe((change) => {
    if (change.kind === "record") followers.wake(change.record.uid);
  });
  const app = buildApp({
    store,
    writer: openLogWriter({ store, now, count: metrics.appended, stored: () => undefined }),
    followers,
    reviewer: createReviewer({ api, acceptedMs: times.reviewMs, count: metrics.reviewed, report: (error) => logger.warn({ err: error }, "the API server could not be asked") }),
    operatorUser,
    metrics,
    logger,
    times,
    shutdown: shutdown.signal,
    now,
  });
  let serving = await issueServing(authority, names, now());
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    createServer,
    serverOptions: {
      cert: serving.certificate,
      key: serving.key,
      minVersion: "TLSv1.2",
      headersTimeout: 10_000,
      requestTimeout: 60_000,
      keepAliveTimeout: 75_000,
      maxHeaderSize: 32_768,
    },
  }) as Server;
  // A stream that ends in a stop leaves its connection open, and the client's next request would come on it.
  const closeLeft = (): void => {
    if (shutdown.signal.aborted) server.closeIdleConnections();
  };
  server.on("request", (_request, response) => response.once("close", closeLeft));
  const renewal = setInterval(() => {
    if (Date.now() < serving.renewAt) return;
    issueServing(authority, names, now())
      .then((issued) => {
        serving = issued;
        server.setSecureContext({ cert: issued.certificate, key: issued.key });
      })
      .catch((error: unknown) => logger.error({ err: error }, "cannot renew the serving certificate"));
  }, RENEWAL_CHECK_MS);
  renewal.unref();
  const port = await listen(server, options);
  const publishing = publishCertificate({ api, namespace: options.namespace, certificate: authority.certificate, logger, signal: shutdown.signal });
  logger.info({ port, incarnation: store.incarnation }, "serving");
  return {
    url: `https://localhost:${port}`,
    port,
    ca: authority.certificate,
    close: async () => {
      clearInterval(renewal);
      shutdown.abort();
      await stop(server);
      // Ends a request that the API server leaves waiting.
      api.close();
      await publishing;
      await store.close();
    },
  };
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
