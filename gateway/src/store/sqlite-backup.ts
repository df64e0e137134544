import { randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { backup } from "node:sqlite";
import { SCHEMA_VERSION } from "./schema.ts";
import { connect, connectToRead, isDamage, schemaVersion, text } from "./sqlite-connection.ts";
import type { Connection } from "./sqlite-connection.ts";
import { fileIn } from "./sqlite.ts";

// Copies of the store's file. Each holds the CA's key, as the store does.

/** All pages in one step: the copy is of one moment, and a gateway that writes meanwhile never makes it begin again. */
const ALL_PAGES = 2 ** 31 - 1;
const SQLITE_BUSY = 5;

/**
 * Copies the store in `folder` to `file` while a gateway writes it: whole, of one moment, durable when it resolves, readable by its owner only.
 * Rejects when there is such a file, or no store. Resolves with what is wrong with the copy's pages, which then is so in the store too; undefined
 * when nothing is.
 */
export async function backupSqlite(folder: string, file: string): Promise<string | undefined> {
  if (existsSync(file)) throw new Error(`${file} is there already: name a file that is not, nothing is overwritten`);
  const source = connectToRead(fileIn(folder));
  try {
    return await asWhole(file, async (scratch) => {
      const fault = await copyTo(source, scratch);
      // Unlike a rename, a link replaces no file that came meanwhile.
      linkSync(scratch, file);
      return fault;
    });
  } finally {
    source.db.close();
  }
}

export interface RestoreOptions {
  /** Replace a store that is there; take a backup that is damaged. */
  readonly force: boolean;
}

/**
 * Makes the store in `folder` from a backup, with an identity of its own, so that whoever watched the old one begins anew. Rejects when a store
 * is there and may not be replaced, when a process has it open, and when `from` is no store that this release can open; then nothing has changed.
 */
export async function restoreSqlite(folder: string, from: string, { force }: RestoreOptions): Promise<void> {
  const file = fileIn(folder);
  if (existsSync(file) && !force) throw new Error(`${file} is there: give --force to replace it, all sessions since the backup are lost then`);
  const source = connectToRead(from);
  try {
    const version = schemaVersion(source);
    if (version < 1 || version > SCHEMA_VERSION) throw new Error(`${from} has schema version ${version}, and this release restores 1 to ${SCHEMA_VERSION}`);
    mkdirSync(folder, { recursive: true });
    await asWhole(file, async (scratch) => {
      const fault = await copyTo(source, scratch);
      if (fault !== undefined && !force) throw new Error(`${from} is damaged: ${fault}: restore an older backup, or give --force to take it as it is`);
      giveIdentity(scratch);
      if (existsSync(file)) detachLog(file);
      for (const rest of ["-wal", "-shm"]) rmSync(`${file}${rest}`, { force: true });
      renameSync(scratch, file);
    });
  } finally {
    source.db.close();
  }
}

/** Gives `make` a name beside `file` to work under, which is gone afterwards, and makes what it did durable. */
async function asWhole<T>(file: string, make: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = `${file}.${randomUUID()}`;
  try {
    // The mode is that of the file before it holds anything.
    closeSync(openSync(scratch, "wx", 0o600));
    const made = await make(scratch);
    flush(dirname(file));
    return made;
  } finally {
    for (const rest of ["", "-wal", "-shm", "-journal"]) rmSync(`${scratch}${rest}`, { force: true });
  }
}

/** Resolves with what is wrong with the copy's pages. */
async function copyTo(source: Connection, file: string): Promise<string | undefined> {
  await backup(source.db, file, { rate: ALL_PAGES });
  const copy = connect(file);
  try {
    // One file, without a log beside it.
    copy.db.exec("PRAGMA journal_mode = DELETE");
    return findFault(copy);
  } finally {
    copy.db.close();
    flush(file);
  }
}

function findFault(copy: Connection): string | undefined {
  try {
    const found = text(copy.one("PRAGMA quick_check(1)"), "quick_check");
    return found === "ok" ? undefined : found;
  } catch (error) {
    if (isDamage(error)) return error.message;
    throw error;
  }
}

function giveIdentity(file: string): void {
  const copy = connect(file);
  try {
    copy.db.exec("PRAGMA synchronous = FULL");
    if (copy.run("UPDATE meta SET value = ? WHERE key = 'incarnation'", randomUUID()) !== 1) throw new Error("it holds no store of Paddock");
  } finally {
    copy.db.close();
  }
  flush(file);
}

/** Ends the write-ahead log of a store that is to be replaced, which needs it for itself. A file that is no store any more has none to lose. */
function detachLog(file: string): void {
  let old: Connection | undefined;
  try {
    old = connect(file);
    old.db.exec("PRAGMA busy_timeout = 0");
    old.db.exec("PRAGMA journal_mode = DELETE");
  } catch (error) {
    if (isBusy(error)) throw new Error(`a process has ${file} open: stop the gateway first (kubectl scale statefulset paddock-gateway --replicas=0)`, { cause: error });
  } finally {
    old?.db.close();
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number" && (error.errcode & 0xff) === SQLITE_BUSY;
}

function flush(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
