import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueForge } from "../forge/authority.ts";
import type { Order, Way } from "./egress/client.ts";
import { HOSTS } from "./egress/hosts.ts";
import { startProcess } from "./egress/process.ts";
import type { BenchProcess, MemoryMB } from "./egress/process.ts";
import { inPairs, printFigure, printRatio, quantile } from "./figures.ts";

// The way out of a sandbox beside a direct connection: client, sandbox, runner and upstream are a process each, on this machine's loopback, so all four
// share its cores, and a direct connection has none of the two processes between. Tunnel: TLS is carried as it is. Terminated: the proxy sees requests.
// Masked: it also adds a credential and looks for it in answers.

/** Needs no cluster. */
export const isLocal = true;

const PAIRS = 4;
const REQUESTS = 400;
const CONNECTIONS = 60;
const BODY_BYTES = 256 * 1024 ** 2;
const TUNNELS = 200;
const BUSY_MS = 5000;
const WAYS = ["tunnel", "terminated", "masked"] as const;

interface Stage {
  readonly client: BenchProcess<object>;
  readonly runner: BenchProcess<{ readonly certificate: string }>;
  readonly sandbox: BenchProcess<{ readonly toolPort: number; readonly proxyPort: number }>;
  close(): Promise<void>;
}

export async function run(): Promise<void> {
  const stage = await openStage();
  try {
    const idle = memoryOf(stage);
    for (const way of WAYS) await compare(stage, way);
    console.log("# Memory of the two processes");
    printMemory("idle, before the first connection", idle);
    printMemory("after the load above", memoryOf(stage));
    for (const way of ["tunnel", "terminated"] as const) await measureMemory(stage, way);
  } finally {
    await stage.close();
  }
}

async function openStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "paddock-bench-egress-"));
  const [caFile, credentialFile] = [join(folder, "ca.crt"), join(folder, "token")];
  const { cert, key, ca } = await issueForge(Object.values(HOSTS));
  writeFileSync(caFile, ca);
  writeFileSync(credentialFile, "bench-credential-0123456789");
  const upstream = await startProcess<{ readonly port: number }>("upstream", { cert, key });
  const sandbox = await startProcess<{ readonly toolPort: number; readonly proxyPort: number }>("sandbox", { folder });
  const upstreamPort = upstream.ready.port;
  const runner = await startProcess<{ readonly certificate: string }>("runner", { toolPort: sandbox.ready.toolPort, upstreamPort, caFile, credentialFile });
  const client = await startProcess<object>("client", { upstreamPort, proxyPort: sandbox.ready.proxyPort, ca: `${ca}\n${runner.ready.certificate}` });
  return {
    client, runner, sandbox,
    close: async () => {
      for (const one of [client, runner, sandbox, upstream]) await one.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function order<Answer>({ client }: Stage, given: Order): Promise<Answer> {
  return client.ask<Answer>(given);
}

async function compare(stage: Stage, way: Way): Promise<void> {
  console.log(`# ${way}, each beside a direct connection in the same run (A B B A)`);
  for (const isFresh of [false, true]) {
    const what = isFresh ? "request on a connection of its own" : "request on an open connection";
    const count = isFresh ? CONNECTIONS : REQUESTS;
    const ask = async (by: Way): Promise<readonly number[]> => (await order<{ ms: readonly number[] }>(stage, { kind: "Requests", way: by, count, isFresh })).ms;
    const [figures, controls] = await measurePairs(() => ask(way), () => ask("direct"));
    for (const q of [0.5, 0.99]) {
      const at = (runs: readonly (readonly number[])[]): number[] => runs.map((ms) => quantile(ms, q));
      printBeside(`${way}: ${what}, p${q * 100}`, { figures: at(figures), controls: at(controls), unit: "ms" });
    }
  }
  for (const kind of ["Down", "Up"] as const) {
    const ask = async (by: Way): Promise<number> => (await order<{ MBps: number }>(stage, { kind, way: by, bytes: BODY_BYTES })).MBps;
    const [figures, controls] = await measurePairs(() => ask(way), () => ask("direct"));
    printBeside(`${way}: ${BODY_BYTES / 1024 ** 2} MiB ${kind.toLowerCase()}`, { figures, controls, unit: "MB/s" });
  }
}

async function measurePairs<T>(figure: () => Promise<T>, control: () => Promise<T>): Promise<[T[], T[]]> {
  const [figures, controls]: [T[], T[]] = [[], []];
  await inPairs(PAIRS, async () => void figures.push(await figure()), async () => void controls.push(await control()));
  return [figures, controls];
}

function printBeside(name: string, { figures, controls, unit }: { readonly figures: readonly number[]; readonly controls: readonly number[]; readonly unit: string }): void {
  printFigure(name, figures, unit);
  printFigure("  control: direct", controls, unit);
  printRatio("  against control", figures, controls);
}

interface Memory {
  readonly runner: MemoryMB;
  readonly sandbox: MemoryMB;
}

function memoryOf({ runner, sandbox }: Stage): Memory {
  return { runner: runner.memoryMB(), sandbox: sandbox.memoryMB() };
}

function printMemory(when: string, memory: Memory): void {
  for (const name of ["runner", "sandbox"] as const) {
    printFigure(`${name}, ${when}`, [memory[name].resident], "MB");
    printFigure("  of it anonymous", [memory[name].anonymous], "MB");
  }
}

function mostOf(a: MemoryMB, b: MemoryMB): MemoryMB {
  return { resident: Math.max(a.resident, b.resident), anonymous: Math.max(a.anonymous, b.anonymous) };
}

/** With open connections that are idle, then busy: the most that was seen every 100 ms. */
async function measureMemory(stage: Stage, way: Way): Promise<void> {
  await order(stage, { kind: "Open", way, count: TUNNELS });
  printMemory(`with ${TUNNELS} idle connections (${way})`, memoryOf(stage));
  let most = memoryOf(stage);
  const timer = setInterval(() => {
    const now = memoryOf(stage);
    most = { runner: mostOf(most.runner, now.runner), sandbox: mostOf(most.sandbox, now.sandbox) };
  }, 100);
  const { requests } = await order<{ requests: number }>(stage, { kind: "Busy", ms: BUSY_MS });
  clearInterval(timer);
  printMemory(`at most with ${TUNNELS} busy connections (${way}), ${Math.round(requests / (BUSY_MS / 1000))} requests of 64 KiB per second`, most);
  await order(stage, { kind: "Close" });
}
