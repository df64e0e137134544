import { readConfig } from "./config.ts";
import { connectGateway } from "./gateway.ts";
import { createLogger } from "./logger.ts";
import { MODEL_LIMITS } from "./model/transport.ts";
import { createRedactor } from "./redaction.ts";
import { runRunner } from "./shell.ts";

const config = readConfig();
const redactor = createRedactor();
const logger = createLogger({ level: config.logLevel, podName: config.podName, redactor });
const gateway = connectGateway({ url: config.gatewayUrl, ca: config.gatewayCa, tokenFile: config.tokenFile });

const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    logger.info({ signal }, "stopping: nothing new is started");
    stop.abort();
  });
}
process.on("uncaughtException", (error) => {
  logger.fatal({ err: error }, "uncaught exception: the next runner goes on from the log");
  process.exit(1);
});

try {
  const { podName, podUid, credentialFile, sandboxPort, privateRanges, canaries, caBundleFile, resolvConfFile } = config;
  const network = { privateRanges, canaries, caBundleFile, resolvConfFile };
  const ending = await runRunner({ gateway, podName, podUid, credentialFile, sandboxPort, network, limits: MODEL_LIMITS, redactor, logger, now: Date.now, random: Math.random }, stop.signal);
  logger.info({ ending }, "the runner ends");
  // Not with 0 when it was told to: of a pod that it evicts the kubelet would say that it has succeeded, and not why it had to go.
  process.exit(stop.signal.aborted ? 143 : 0);
} catch (error) {
  logger.fatal({ err: error }, "the runner ends on a fault: the next one goes on from the log");
  process.exit(1);
}
