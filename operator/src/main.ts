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

// What nobody has caught leaves us in a state that nobody has thought of: nothing is finished or given back, the next process reads how things are.
const crash = (error: unknown): never => {
  log.fatal({ err: error }, "crashed");
  process.exit(1);
};
process.on("uncaughtException", crash);
process.on("unhandledRejection", crash);

const stopSignal = new Promise<string>((resolve) => {
  let signals = 0;
  const onSignal = (name: string): void => {
    signals += 1;
    // Who asks twice does not want to wait.
    if (signals > 1) process.exit(1);
    resolve(name);
  };
  for (const name of ["SIGTERM", "SIGINT"]) process.on(name, onSignal);
});

const metrics = createMetrics();
const connection = "host" in config.apiServer ? connectInCluster(config.apiServer.host, config.apiServer.port) : await connectKubeconfig(config.apiServer.kubeconfig);
const operator = startOperator({ config, connection, token: tokenFile(config.tokenFile), metrics, log });
const health = await startHealthServer({ port: config.metricsPort, registry: metrics.registry, unready: operator.unready });
log.info({ namespaces: config.watchNamespaces, apiServer: connection.url, gateway: config.gatewayDialUrl }, "started");

log.info({ signal: await stopSignal }, "stopping");
await operator.stop();
health.close();
health.closeAllConnections();
log.info("stopped");
process.exit(0);
