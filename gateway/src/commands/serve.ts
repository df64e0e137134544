import { once } from "node:events";
import { readConfig } from "../config.ts";
import { startGateway } from "../server.ts";
import { createLogger } from "../telemetry/logger.ts";
import { createMetrics, serveMetrics } from "../telemetry/metrics.ts";

/** Serves until SIGTERM or SIGINT. */
export async function runServe(): Promise<number> {
  const config = readConfig();
  const logger = createLogger(config.logLevel);
  const metrics = createMetrics();
  const gateway = await startGateway({ ...config, logger, metrics });
  const metricsServer = await serveMetrics(metrics, config.metricsPort);
  const signal = await Promise.race([once(process, "SIGTERM").then(() => "SIGTERM"), once(process, "SIGINT").then(() => "SIGINT")]);
  logger.info({ signal }, "stopping");
  metricsServer.close();
  metricsServer.closeAllConnections();
  await gateway.close();
  return 0;
}
