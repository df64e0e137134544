// A runner as a process of its own, told by its argument what a pod is told by its environment: for tests that kill it.
import { join } from "node:path";
import { connectGateway } from "../gateway.ts";
import { createLogger } from "../logger.ts";
import { MODEL_LIMITS } from "../model/transport.ts";
import type { NetworkSettings } from "../outward.ts";
import { createRedactor } from "../redaction.ts";
import { runRunner } from "../shell.ts";

export interface ProcessOptions {
  readonly gatewayUrl: string;
  readonly gatewayCa: string;
  readonly podUid: string;
  readonly tokenFile: string;
  readonly credentials: string;
  readonly sandboxPort: number;
  readonly network: NetworkSettings;
}

const options = JSON.parse(process.argv[2] ?? "") as ProcessOptions;
const redactor = createRedactor();
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const ending = await runRunner(
  {
    gateway: connectGateway({ url: new URL(options.gatewayUrl), ca: options.gatewayCa, tokenFile: options.tokenFile }),
    podName: options.podUid,
    podUid: options.podUid,
    credentialFile: (name) => join(options.credentials, name, "value"),
    sandboxPort: options.sandboxPort,
    network: options.network,
    limits: MODEL_LIMITS,
    redactor,
    logger: createLogger({ level: "warn", podName: options.podUid, redactor }),
    now: Date.now,
    random: Math.random,
  },
  stop.signal,
);
process.stdout.write(`ended: ${ending}\n`);
process.exit(0);
