// A sandbox pod's process: what sandbox-image/src/main.ts does, on an address of the pod's own and in a folder of its own.
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { createBinding } from "../../../sandbox-image/src/binding.ts";
import { createCalls } from "../../../sandbox-image/src/calls.ts";
import { createEgressChannel } from "../../../sandbox-image/src/channel.ts";
import { buildEnvironment } from "../../../sandbox-image/src/environment.ts";
import { createSessionFiles } from "../../../sandbox-image/src/files.ts";
import { createForwarder } from "../../../sandbox-image/src/forward.ts";
import { createIsolation } from "../../../sandbox-image/src/isolation.ts";
import { openLog } from "../../../sandbox-image/src/log.ts";
import { createProcessTable, drawMarkBase } from "../../../sandbox-image/src/processes.ts";
import { mergeTargets, probe } from "../../../sandbox-image/src/probe.ts";
import { reach } from "../../../sandbox-image/src/reach.ts";
import { createToolServer } from "../../../sandbox-image/src/server.ts";
import { createTrustStore } from "../../../sandbox-image/src/trust.ts";

export interface SandboxOptions {
  readonly address: string;
  readonly port: number;
  readonly folder: string;
}

const { address, port, folder } = JSON.parse(process.argv[2] ?? "") as SandboxOptions;
process.once("SIGTERM", () => process.exit(0));
process.once("disconnect", () => process.exit(1));
const log = openLog((line) => process.stdout.write(line));
const workspace = join(folder, "workspace");
const home = join(folder, "home");
const trust = join(folder, "trust");
for (const path of [workspace, home, trust]) mkdirSync(path, { recursive: true });
const markBase = drawMarkBase();
const processes = createProcessTable(markBase, false);
const channel = createEgressChannel(log);
const forwarder = createForwarder(channel).listen(0, address);
await once(forwarder, "listening");
const environment = buildEnvironment({ home, path: "/usr/local/bin:/usr/bin:/bin", trust }, (forwarder.address() as AddressInfo).port);
const calls = createCalls({ workspace, environment, processes, markBase, log });
const isolation = createIsolation(async (given) => probe(mergeTargets(given), reach));
const files = createSessionFiles(workspace, log);
const server = createToolServer({ workspace, binding: createBinding(), calls, files, channel, isolation, trust: createTrustStore(trust, log), log }).listen(port, address);
await once(server, "listening");
log("info", "ready", { port });
