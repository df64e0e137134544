// The sandbox: tool server on 8080 for the runner, forwarder on 127.0.0.1:3128 for programs.
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createBinding } from "./binding.ts";
import { createCalls } from "./calls.ts";
import { createEgressChannel } from "./channel.ts";
import { readConfig } from "./config.ts";
import { buildEnvironment, PROXY_PORT } from "./environment.ts";
import { stackOf } from "./failure.ts";
import { createSessionFiles } from "./files.ts";
import { createForwarder } from "./forward.ts";
import { createIsolation } from "./isolation.ts";
import { openLog } from "./log.ts";
import { mergeTargets, ownTargets, probe } from "./probe.ts";
import { createProcessTable, drawMarkBase, isGuarded, isOwnContainer } from "./processes.ts";
import { reach } from "./reach.ts";
import { createToolServer } from "./server.ts";
import { createTrustStore } from "./trust.ts";

const log = openLog((line) => process.stdout.write(line));

process.on("uncaughtException", (error) => {
  log("error", "uncaught exception", { stack: stackOf(error) });
  process.exit(1);
});
// As process 1's only child nothing else ends it; its container takes every command with it. Not with 0: of a pod that it evicts the kubelet would say
// that it has succeeded, and not why it had to go.
for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]] as const) process.once(signal, () => process.exit(code));

const config = readConfig();
mkdirSync(config.home, { recursive: true });
const markBase = drawMarkBase();
const processes = createProcessTable(markBase, isOwnContainer());
const calls = createCalls({ workspace: config.workspace, environment: buildEnvironment(config, PROXY_PORT), processes, markBase, log });
const channel = createEgressChannel(log);
const forwarder = createForwarder(channel).listen(PROXY_PORT, "127.0.0.1");
const isolation = createIsolation(async (given) => probe(mergeTargets(ownTargets(config), given), reach));
const server = createToolServer({
  workspace: config.workspace, binding: createBinding(), calls, files: createSessionFiles(config.workspace, log), channel, isolation, trust: createTrustStore(config.trust, log), log, local: "refused",
}).listen(config.toolPort);
await Promise.all([once(forwarder, "listening"), once(server, "listening")]);
log("info", "ready", { port: config.toolPort, workspace: config.workspace, guarded: isGuarded() });
