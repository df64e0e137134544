import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../command.ts";
import { identityOf, isRunning, parseIdentity } from "../process.ts";
import type { ProcessIdentity } from "../process.ts";
import { childEnvironment } from "../../config.ts";
import { logDir, pidDir, pkiDir, programDir } from "./layout.ts";

/** A component process: outlives the process that starts it, logs to a file, is known by a pid file. */
export interface Daemon { name: string; argv: readonly string[] }

/** Starts a daemon in a session of its own. Throws when the program cannot be started. */
export function startDaemon({ name, argv }: Daemon): void {
  const log = openSync(join(logDir, `${name}.log`), "a");
  const [file = "", ...args] = argv;
  const child = spawn(file, args, {
    detached: true, cwd: pkiDir, stdio: ["ignore", log, log], env: childEnvironment({ PATH: `${programDir}:${childEnvironment().PATH ?? ""}` }),
  });
  child.on("error", () => {}); // a missing pid says the same below, without an exception from nowhere
  closeSync(log);
  child.unref();
  const identity = child.pid === undefined ? undefined : identityOf(child.pid);
  if (!identity) throw new Error(`${file} could not be started as ${name}`);
  writeFileSync(join(pidDir, name), JSON.stringify(identity));
}

/** The daemons that were started and run no longer. */
export function deadDaemons(): readonly string[] {
  return pidFiles().filter(([, identity]) => !identity || !isRunning(identity)).map(([name]) => name);
}

/** Kills every daemon that still is the process we started, with what it started in its session, and waits for the end. */
export async function killDaemons(): Promise<void> {
  const alive = pidFiles().flatMap(([, identity]) => (identity && isRunning(identity) ? [identity] : []));
  for (const { pid } of alive) killGroup(pid);
  await until(async () => !alive.some(isRunning), 20_000, () => `the processes ${alive.map(({ pid }) => pid).join(", ")} do not end`);
  rmSync(pidDir, { recursive: true, force: true });
}

/** The last lines a daemon wrote. */
export function logTail(name: string): string {
  try {
    return readFileSync(join(logDir, `${name}.log`), "utf8").trimEnd().split("\n").slice(-15).join("\n");
  } catch {
    return "";
  }
}

function pidFiles(): readonly [string, ProcessIdentity | undefined][] {
  try {
    return readdirSync(pidDir).map((name) => [name, parseIdentity(readFileSync(join(pidDir, name), "utf8"))]);
  } catch {
    return []; // nothing was started yet
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    return; // it ended by itself
  }
}
