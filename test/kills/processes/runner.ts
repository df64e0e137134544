// A runner pod's process: what runner-image/src/main.ts does, with what is fixed in an image (paths, the port of sandboxes) told by the argument. Before and
// after each append it asks the harness, which lets it go on, or kills it there.
import { join } from "node:path";
import type { NewEvent } from "@paddock/api/log/events";
import { RUNNER_EVENTS } from "@paddock/api/wire/runner";
import type { AppendRequest } from "@paddock/api/wire/runner";
import { connectGateway } from "../../../runner-image/src/gateway.ts";
import type { Gateway } from "../../../runner-image/src/gateway.ts";
import { createLogger } from "../../../runner-image/src/logger.ts";
import { MODEL_LIMITS } from "../../../runner-image/src/model/transport.ts";
import { createRedactor } from "../../../runner-image/src/redaction.ts";
import { runRunner } from "../../../runner-image/src/shell.ts";

export interface RunnerOptions {
  readonly gatewayUrl: string;
  readonly gatewayCa: string;
  readonly podName: string;
  readonly podUid: string;
  readonly folder: string;
  readonly sandboxPort: number;
}

/** What the process asks: `before` an append is sent, `after` its answer has come. The answer is `{id}`, or none for ever. */
export interface Question {
  readonly id: number;
  readonly phase: "before" | "after";
  readonly events: readonly NewEvent[];
}

const options = JSON.parse(process.argv[2] ?? "") as RunnerOptions;
const redactor = createRedactor();
const logger = createLogger({ level: "info", podName: options.podName, redactor }).child({ name: "runner" });
const waiting = new Map<number, () => void>();
let questions = 0;
process.on("message", ({ id }: { readonly id: number }) => waiting.get(id)?.());

function ask(phase: Question["phase"], events: readonly NewEvent[]): Promise<void> {
  const id = (questions += 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  waiting.set(id, resolve);
  process.send?.({ id, phase, events } satisfies Question);
  return promise.finally(() => waiting.delete(id));
}

function asking(gateway: Gateway): Gateway {
  return {
    ...gateway,
    async post(path, body) {
      if (path !== RUNNER_EVENTS) return gateway.post(path, body);
      const { events } = body as AppendRequest;
      await ask("before", events);
      const reply = await gateway.post(path, body);
      await ask("after", events);
      return reply;
    },
  };
}

const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
// Without the harness there is nothing left to do.
process.once("disconnect", () => process.exit(1));
process.on("uncaughtException", (error) => {
  logger.fatal({ err: error }, "uncaught exception");
  process.exit(1);
});

try {
  const gateway = connectGateway({ url: new URL(options.gatewayUrl), ca: options.gatewayCa, tokenFile: join(options.folder, "token") });
  const { podName, podUid, sandboxPort } = options;
  const credentialFile = (name: string): string => join(options.folder, "credentials", name, "value");
  // Sandboxes of the tests reach all of loopback, but for what is not there.
  const network = { privateRanges: [], canaries: [{ host: "127.0.0.1", port: 9 }], caBundleFile: join(options.folder, "ca", "ca.crt"), resolvConfFile: join(options.folder, "resolv.conf") };
  const ending = await runRunner({ gateway: asking(gateway), podName, podUid, credentialFile, sandboxPort, network, limits: MODEL_LIMITS, redactor, logger, now: Date.now, random: Math.random }, stop.signal);
  logger.info({ ending }, "the runner ends");
  process.exit(0);
} catch (error) {
  logger.fatal({ err: error }, "the runner ends on a fault");
  process.exit(1);
}
