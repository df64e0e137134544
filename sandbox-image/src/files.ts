import { randomBytes } from "node:crypto";
import { lstat, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SandboxFiles, SandboxFilesReply } from "@paddock/api/wire/sandbox";
import { codeOf, failureOf, ToolFailure } from "./failure.ts";
import type { Log } from "./log.ts";
import { RequestRefused } from "./problem.ts";

/** Most files of a session, and most bytes of them together; a little more than the runner is ever given. */
const MOST_FILES = 64;
const MOST_BYTES = 1024 * 1024;
const LONGEST_PATH = 512;
const LONGEST_NAME_BYTES = 255;
const MODE = 0o644;

/** The session's own files: placed once in the sandbox's life, before its first call. */
export interface SessionFiles {
  /** Places all, or says that they are there. One request at a time. Throws RequestRefused; what was not placed whole is placed again by the next. */
  place(given: SandboxFiles): Promise<SandboxFilesReply>;
}

export function createSessionFiles(workspace: string, log: Log): SessionFiles {
  let placed = false;
  let last: Promise<unknown> = Promise.resolve();

  async function placeOnce({ files, keepExisting = false }: SandboxFiles): Promise<SandboxFilesReply> {
    if (placed) return { placed: false };
    let kept = 0;
    for (const { path, content } of files) {
      if (keepExisting && (await isTaken(workspace, path))) kept++;
      else await placeFile(workspace, path, content);
    }
    placed = true;
    log("info", "files placed", { files: files.length - kept, kept, bytes: bytesOf(files) });
    return { placed: true };
  }

  return {
    place(given) {
      const mine = last.then(() => placeOnce(given));
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}

/** Pure. Throws RequestRefused that names the field. */
export function parseFiles({ files, keepExisting = false }: Readonly<Record<string, unknown>>): SandboxFiles {
  if (typeof keepExisting !== "boolean") throw new RequestRefused("malformed", "keepExisting must be true or false");
  if (!Array.isArray(files) || files.length > MOST_FILES) throw new RequestRefused("malformed", `files must be a list of at most ${MOST_FILES}`);
  const parsed = files.map((file: unknown, index) => parseFile(file, `files[${index}]`));
  if (bytesOf(parsed) > MOST_BYTES) throw new RequestRefused("too-large", `the files have more than ${MOST_BYTES} bytes together`);
  return { files: parsed, keepExisting };
}

function parseFile(file: unknown, field: string): SandboxFiles["files"][number] {
  const { path, content } = (typeof file === "object" && file !== null ? file : {}) as { readonly path?: unknown; readonly content?: unknown };
  if (typeof path !== "string" || !isInside(path)) throw new RequestRefused("malformed", `${field}.path must be a path relative to the workspace, without .., of at most ${LONGEST_PATH} characters and ${LONGEST_NAME_BYTES} bytes between slashes`);
  if (typeof content !== "string") throw new RequestRefused("malformed", `${field}.content must be a text`);
  return { path, content };
}

function isInside(path: string): boolean {
  const isName = (segment: string): boolean => segment !== "" && segment !== "." && segment !== ".." && Buffer.byteLength(segment) <= LONGEST_NAME_BYTES;
  return path.length <= LONGEST_PATH && !path.includes("\0") && path.split("/").every(isName);
}

function bytesOf(files: SandboxFiles["files"]): number {
  return files.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
}

/** Whether something is in the file's place, or something that is no folder on the way to it: both are what the session has made of it earlier. */
async function isTaken(workspace: string, path: string): Promise<boolean> {
  let place = workspace;
  try {
    for (const segment of path.split("/")) {
      place = join(place, segment);
      const found = await lookAt(place);
      if (found === undefined) return false;
      if (!found.isDirectory()) return true;
    }
    return true;
  } catch (error) {
    throw refusalOf(error, path);
  }
}

/** Whole or not at all. No link is followed: nothing of the session runs yet that could put one in the way between look and write. */
async function placeFile(workspace: string, path: string, content: string): Promise<void> {
  const segments = path.split("/");
  const name = segments.pop() ?? "";
  try {
    let folder = workspace;
    for (const segment of segments) {
      folder = join(folder, segment);
      await makeFolder(folder, path);
    }
    const target = join(folder, name);
    if ((await lookAt(target))?.isDirectory()) throw new RequestRefused("malformed", `${path} is a folder in the workspace, not a file`);
    const draft = join(folder, `.${randomBytes(8).toString("hex")}`);
    try {
      await writeFile(draft, content, { mode: MODE, flag: "wx" });
      await rename(draft, target);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  } catch (error) {
    throw refusalOf(error, path);
  }
}

async function makeFolder(folder: string, path: string): Promise<void> {
  const found = await lookAt(folder);
  if (found === undefined) await mkdir(folder);
  else if (!found.isDirectory()) throw new RequestRefused("malformed", `a part of ${path} is a ${found.isSymbolicLink() ? "symbolic link" : "file"}, not a folder`);
}

async function lookAt(path: string): Promise<Awaited<ReturnType<typeof lstat>> | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** What the system refuses is the workspace's trouble, not the request's. */
function refusalOf(error: unknown, path: string): unknown {
  const failure = error instanceof RequestRefused ? error : failureOf(error, path);
  return failure instanceof ToolFailure ? new RequestRefused("unavailable", failure.message) : failure;
}
