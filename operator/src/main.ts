import { connectInCluster, connectKubeconfig, tokenFile } from "./cluster/connect.ts";
import { type Config, ConfigError, loadConfig } from "./config.ts";
import { startOperator } from "./operator.ts";
import { createLogger } from "./telemetry/log.ts";
import { createMetrics } from "./telemetry/metrics.ts";
import { startHealthServer } from "./telemetry/server.ts";

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
const log = createLogger(config.logLevel);
const metrics = createMetrics();
const connection = "host" in config.apiServer ? connectInCluster(config.apiServer.host, config.apiServer.port) : await connectKubeconfig(config.apiServer.kubeconfig);
const stopSignal = new Promise<string>((resolve) => {
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, resolve);
});

const operator = startOperator({ config, connection, token: tokenFile(config.tokenFile), metrics, log });
const health = await startHealthServer({ port: config.metricsPort, registry: metrics.registry, unready: operator.unready });
log.info({ namespaces: config.watchNamespaces, apiServer: connection.url, gateway: config.gatewayDialUrl }, "started");

log.info({ signal: await stopSignal }, "stopping");
await operator.stop();
health.close();
health.closeAllConnections();
log.info("stopped");
