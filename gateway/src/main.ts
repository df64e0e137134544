import { readConfig } from "./config.ts";
import { startGateway } from "./server.ts";
import { createLogger } from "./telemetry/logger.ts";
import { createMetrics, serveMetrics } from "./telemetry/metrics.ts";

const config = readConfig();
const logger = createLogger(config.logLevel);
const metrics = createMetrics();
const gateway = await startGateway({ ...config, logger, metrics });
const metricsServer = await serveMetrics(metrics, config.metricsPort);

let stopping = false;
async function stop(signal: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  logger.info({ signal }, "stopping");
  metricsServer.close();
  metricsServer.closeAllConnections();
  await gateway.close();
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    stop(signal).catch((error: unknown) => {
      logger.error({ err: error }, "stopping failed");
      process.exitCode = 1;
    });
  });
}
