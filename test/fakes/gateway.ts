import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TIMES, startGateway } from "../../gateway/src/server.ts";
import type { Gateway, GatewayOptions } from "../../gateway/src/server.ts";
import type { Times } from "../../gateway/src/api/ports.ts";
import { createLogger } from "../../gateway/src/telemetry/logger.ts";
import { createMetrics } from "../../gateway/src/telemetry/metrics.ts";
import type { Metrics } from "../../gateway/src/telemetry/metrics.ts";
import { startReviews } from "./reviews.ts";
import type { Reviews } from "./reviews.ts";

/** The real gateway on loopback, with a fake API server behind it that says whose a token is. */
export interface LocalGateway {
  readonly url: string;
  /** PEM of the CA to trust. */
  readonly ca: string;
  readonly reviews: Reviews;
  readonly metrics: Metrics;
  /** Stops the gateway and starts it again over the same store, on the same port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** After `stop`, on the same port. */
  start(): Promise<void>;
  /** Keeps a copy of the store as it is; only while stopped. */
  backUp(): Promise<void>;
  /** Puts that copy in the store's place; only while stopped. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Starts both on free ports of loopback, with an empty store in a folder that `close` removes, or the one given. `times` are milliseconds. */
export async function startLocalGateway(times: Partial<Times> = {}, more: Pick<GatewayOptions, "rates" | "retentionSeconds" | "otlpEndpoint"> & Partial<Pick<GatewayOptions, "store">> = {}): Promise<LocalGateway> {
  const reviews = await startReviews();
  const dataDir = await mkdtemp(join(tmpdir(), "paddock-gateway-"));
  const metrics = createMetrics();
  const copy = `${dataDir}-copy`;
  const listen = (port: number): Promise<Gateway> =>
    startGateway({
      store: { kind: "sqlite", dataDir },
      port,
      host: "127.0.0.1",
      names: ["localhost", "127.0.0.1"],
      operatorUser: reviews.operatorUser,
      apiServer: reviews.options,
      namespace: "paddock-system",
      logger: createLogger("silent"),
      metrics,
      times: { ...TIMES, ...times },
      ...more,
    });
  let gateway = await listen(0);
  const { port, ca } = gateway;
  const start = async (): Promise<void> => {
    gateway = await listen(port);
  };
  return {
    url: `https://127.0.0.1:${port}`,
    ca,
    reviews,
    metrics,
    restart: async () => {
      await gateway.close();
      await start();
    },
    stop: () => gateway.close(),
    start,
    backUp: async () => {
      await rm(copy, { recursive: true, force: true });
      await cp(dataDir, copy, { recursive: true });
    },
    restore: async () => {
      await rm(dataDir, { recursive: true, force: true });
      await cp(copy, dataDir, { recursive: true });
    },
    close: async () => {
      await gateway.close();
      await reviews.close();
      for (const folder of [dataDir, copy]) await rm(folder, { recursive: true, force: true });
    },
  };
}
