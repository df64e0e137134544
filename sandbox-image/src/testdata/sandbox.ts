import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxResult } from "@paddock/api/wire/sandbox";
import { createBinding } from "../binding.ts";
import { createCalls } from "../calls.ts";
import { createEgressChannel } from "../channel.ts";
import type { ChannelTimes } from "../channel.ts";
import type { CrowdLimits } from "../crowd.ts";
import { buildEnvironment } from "../environment.ts";
import { createSessionFiles } from "../files.ts";
import { createForwarder } from "../forward.ts";
import { createIsolation } from "../isolation.ts";
import { mergeTargets, probe } from "../probe.ts";
import type { ProbeTimes } from "../probe.ts";
import { createProcessTable, drawMarkBase } from "../processes.ts";
import { reach } from "../reach.ts";
import { createToolServer } from "../server.ts";
import { createTrustStore } from "../trust.ts";

/** A whole sandbox on loopback, in this process; ended with the test, and no process of it is left. */
export interface Sandbox {
  readonly url: string;
  readonly port: number;
  readonly proxyPort: number;
  readonly workspace: string;
  /** Folder of the certificates that programs trust. */
  readonly trust: string;
  readonly lines: readonly string[];
  /** `body`: members of the request beside its session. */
  bind(epoch: number, key?: string, body?: object): Promise<Response>;
  post(body: unknown, headers?: Record<string, string>, signal?: AbortSignal): Promise<Response>;
  putFiles(body: unknown, headers?: Record<string, string>): Promise<Response>;
  run(tool: string, given: object, timeoutSeconds?: number): Promise<SandboxResult>;
}

export const KEY = "key-0123456789";

/** What is left out is as in a pod, but for local connections, which tests make. */
export interface SandboxOptions extends Partial<ChannelTimes> {
  readonly probe?: ProbeTimes;
  readonly local?: "served" | "refused";
  readonly crowdLimits?: CrowdLimits;
}

export async function openSandbox(t: TestContext, { probe: probeTimes, local = "served", crowdLimits, pingEveryMs = 10_000, pingDeadlineMs = 10_000 }: SandboxOptions = {}): Promise<Sandbox> {
  const workspace = realpathSync(mkdtempSync(join(tmpdir(), "paddock-sandbox-")));
  const trust = realpathSync(mkdtempSync(join(tmpdir(), "paddock-trust-")));
  const markBase = drawMarkBase();
  const lines: string[] = [];
  const log = (level: string, message: string, fields = {}): void => void lines.push(JSON.stringify({ level, message, ...fields }));
  const table = createProcessTable(markBase, false);
  const channel = createEgressChannel(log, { pingEveryMs, pingDeadlineMs });
  const forwarder = createForwarder(channel).listen(0, "127.0.0.1");
  await once(forwarder, "listening");
  const proxyPort = (forwarder.address() as AddressInfo).port;
  const environment = buildEnvironment({ home: workspace, path: process.execPath.replace(/\/[^/]*$/, ":/usr/bin:/bin"), trust }, proxyPort);
  const calls = createCalls({ workspace, environment, processes: table, markBase, log, ...(crowdLimits && { crowdLimits }) });
  const isolation = createIsolation(async (given) => probe(mergeTargets(given), reach, probeTimes));
  const files = createSessionFiles(workspace, log);
  const server = createToolServer({ workspace, binding: createBinding(), calls, files, channel, isolation, trust: createTrustStore(trust, log), log, local }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  t.after(async () => {
    channel.close();
    for (const one of [server, forwarder]) one.closeAllConnections();
    await calls.stopAll();
    await Promise.all([server, forwarder].map((one) => new Promise((resolve) => one.close(resolve))));
    for (const folder of [workspace, trust]) rmSync(folder, { recursive: true, force: true });
  });

  let count = 0;
  const authorized = (epoch: number, key = KEY) => ({ authorization: `Bearer ${key}`, "paddock-epoch": String(epoch), "content-type": "application/json" });
  const post: Sandbox["post"] = (body, headers = authorized(1), signal) =>
    fetch(`${url}/v1/calls`, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body), ...(signal && { signal }) });
  return {
    url, port, proxyPort, workspace, trust, lines, post,
    bind: (epoch, key, body = {}) => fetch(`${url}/v1/bind`, { method: "PUT", headers: authorized(epoch, key), body: JSON.stringify({ session: "ns/one", ...body }) }),
    putFiles: (body, headers = authorized(1)) => fetch(`${url}/v1/files`, { method: "PUT", headers, body: JSON.stringify(body) }),
    async run(tool, given, timeoutSeconds = 60) {
      const response = await post({ call: `c/${++count}`, attempt: 1, tool, arguments: given, timeoutSeconds });
      if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
      return (await response.json()) as SandboxResult;
    },
  };
}

/** A sandbox that is bound to epoch 1. */
export async function openBound(t: TestContext, options?: SandboxOptions): Promise<Sandbox> {
  const sandbox = await openSandbox(t, options);
  const response = await sandbox.bind(1);
  if (response.status !== 200) throw new Error(await response.text());
  await response.body?.cancel();
  return sandbox;
}

/** Living processes whose command line holds a text that no other has: tests give `sleep` a number of its own. */
export function pidsOf(needle: string): readonly number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      // A zombie's command line is empty.
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(needle);
    } catch {
      return false;
    }
  });
}

let sleeps = 0;

/** A number of seconds for `sleep` that only this caller uses, long enough never to pass. */
export function ownSleep(): string {
  return `9${process.pid}.${Date.now() % 1_000_000}${++sleeps}`;
}

/** Waits until a condition holds; a bound against hanging, no expectation of speed. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const giveUpAt = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > giveUpAt) throw new Error(`waited 30 s for ${what}`);
    await sleep(20);
  }
}
