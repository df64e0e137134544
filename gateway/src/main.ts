import { once } from "node:events";
import { readConfig } from "./config.ts";
import { startGateway } from "./server.ts";
import { createLogger } from "./telemetry/logger.ts";
import { createMetrics, serveMetrics } from "./telemetry/metrics.ts";

async function run(): Promise<void> {
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
}

run().catch((error: unknown) => {
  // No logger may exist yet, and the first thing to read is the sentence that says what to fix.
  process.stderr.write(`paddock-gateway: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
