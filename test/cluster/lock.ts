import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Progress } from "../progress.ts";
import { isRunning, ownIdentity, parseIdentity } from "./process.ts";

/**
 * Runs `work` while holding a lock file that names this process, waiting for another holder that still runs.
 * A lock whose holder is dead is taken over.
 */
export async function withLock<T>(file: string, progress: Progress, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  let told = false;
  while (!claimLock(file)) {
    if (!told) progress(`waiting for process ${holderOf(file)?.pid ?? "?"}, which holds ${file}`);
    told = true;
    await sleep(200);
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function claimLock(file: string): boolean {
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, JSON.stringify(ownIdentity())); // whole before it is visible: a reader never sees half a lock
  try {
    linkSync(mine, file);
    return true;
  } catch {
    if (!isHeld(file)) dropStale(file, `${mine}.stale`);
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}

function isHeld(file: string): boolean {
  const holder = holderOf(file);
  return holder !== undefined && isRunning(holder);
}

/** Two processes may find the same lock stale; whoever then takes away the other's new lock puts it back. */
function dropStale(file: string, aside: string): void {
  try {
    renameSync(file, aside);
    if (isHeld(aside)) linkSync(aside, file);
  } catch {
    return; // another process was faster
  } finally {
    rmSync(aside, { force: true });
  }
}

function holderOf(file: string): ReturnType<typeof parseIdentity> {
  try {
    return parseIdentity(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}
