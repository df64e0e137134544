import { pino } from "pino";
import { readConfig } from "./config.ts";
import { connectGateway } from "./gateway.ts";
import { MODEL_LIMITS } from "./model/transport.ts";
import { runRunner } from "./shell.ts";

const config = readConfig();
const logger = pino({ level: config.logLevel, base: { pod: config.podName } });
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
  const ending = await runRunner({ gateway, podName, podUid, credentialFile, sandboxPort, network, limits: MODEL_LIMITS, logger, now: Date.now, random: Math.random }, stop.signal);
  logger.info({ ending }, "the runner ends");
  process.exit(0);
} catch (error) {
  logger.fatal({ err: error }, "the runner ends on a fault: the next one goes on from the log");
  process.exit(1);
}
