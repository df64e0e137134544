import { randomBytes } from "node:crypto";
import { mkdir, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { codeOf, ToolFailure } from "../failure.ts";

const DEFAULT_MODE = 0o644;
const queues = new Map<string, Promise<unknown>>();

/** Where the bytes of a path are: a symbolic link is followed, so that replacing a file replaces what the link points at. May throw as realpath does. */
export async function resolveTarget(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return path;
  }
}

/** One change of a file at a time: two parallel edits of one file must not lose one. */
export async function inTurn<T>(target: string, change: () => Promise<T>): Promise<T> {
  const before = queues.get(target) ?? Promise.resolve();
  const mine = before.then(change, change);
  queues.set(target, mine);
  try {
    return await mine;
  } finally {
    if (queues.get(target) === mine) queues.delete(target);
  }
}

/**
 * Replaces a file's whole content at once: a reader sees the old or the new, also when this process dies in between. Makes folders, keeps the
 * file's mode. Answers whether it was there before. Throws the system's errors, and ToolFailure for what is no regular file.
 */
export async function replaceFile(target: string, content: string, signal: AbortSignal): Promise<{ readonly existed: boolean }> {
  const before = await stat(target).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (before?.isDirectory()) throw new ToolFailure(`${target} is a folder, not a file`);
  if (before !== undefined && !before.isFile()) throw new ToolFailure(`${target} is a pipe or device, not a regular file`);
  await makeFolder(dirname(target));
  const draft = join(dirname(target), `.${basename(target).slice(0, 80)}.${randomBytes(6).toString("hex")}`);
  try {
    await writeFile(draft, content, { mode: (before?.mode ?? DEFAULT_MODE) & 0o7777, flag: "wx" });
    signal.throwIfAborted();
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return { existed: before !== undefined };
}

/** Node's own `recursive` never ends where the kernel refuses new folders with ENOENT, as in /proc. */
async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  for (let folder = path; !(await exists(folder)); folder = dirname(folder)) missing.unshift(folder);
  for (const folder of missing) {
    await mkdir(folder).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error; // a parallel call made it
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, (error: unknown) => {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  });
}
