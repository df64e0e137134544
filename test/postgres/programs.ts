import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { findProgram, run } from "../cluster/command.ts";
import { withLock } from "../cluster/lock.ts";
import { readTestConfig } from "../config.ts";
import type { Progress } from "../progress.ts";

/** Where Postgres' programs are. */
export interface Programs {
  /** Folder of `initdb`, `postgres` and `psql`. */
  readonly bin: string;
  /** The root that they were unpacked under, as if it were `/`; undefined when they are installed. */
  readonly root?: string;
}

const installed = "/usr/lib/postgresql";

/**
 * The machine's own Postgres, or Debian's package, unpacked once in the cache: nothing is installed, no server is started by the package, and
 * it needs no root. Rejects with what is missing where there is neither.
 */
export async function ensurePrograms(progress: Progress): Promise<Programs> {
  const bin = findInstalled();
  if (bin !== undefined) return { bin };
  if (findProgram("apt-get") === undefined || findProgram("dpkg-deb") === undefined) {
    throw new Error("the tests need a PostgreSQL server, and there is no apt-get to get one with: put initdb, postgres and psql on PATH (https://www.postgresql.org/download)");
  }
  const root = join(readTestConfig().cacheDir, "programs/postgres");
  await withLock(`${root}.lock`, progress, async () => {
    if (binUnder(root) === undefined) await progress.during("Debian's package of PostgreSQL", () => unpack(root));
  });
  const unpacked = binUnder(root);
  if (unpacked === undefined) throw new Error(`Debian's package postgresql, unpacked in ${root}, holds no ${installed}/*/bin/postgres`);
  return { bin: unpacked, root };
}

function findInstalled(): string | undefined {
  const onPath = findProgram("initdb");
  const isWhole = onPath !== undefined && ["postgres", "psql"].every((name) => existsSync(join(dirname(onPath), name)));
  return isWhole ? dirname(onPath) : binUnder("/");
}

/** The newest one's folder of programs. */
export function binUnder(root: string): string | undefined {
  const versions = join(root, installed);
  if (!existsSync(versions)) return undefined;
  const newestFirst = readdirSync(versions).sort((a, b) => Number(b) - Number(a));
  return newestFirst.map((version) => join(versions, version, "bin")).find((bin) => existsSync(join(bin, "postgres")) && existsSync(join(bin, "initdb")));
}

/** Whole or not at all: the folder is moved to its place when everything is in it. */
async function unpack(root: string): Promise<void> {
  mkdirSync(dirname(root), { recursive: true });
  const scratch = mkdtempSync(`${root}-`);
  try {
    const debs = await download(scratch);
    const made = join(scratch, "root");
    for (const deb of debs) await run(["dpkg-deb", "--extract", deb, made]);
    rmSync(root, { recursive: true, force: true });
    renameSync(made, root);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The package and what this machine lacks of what it needs; apt works in folders of ours, as it would in its own. */
async function download(scratch: string): Promise<readonly string[]> {
  const [lists, archives] = [join(scratch, "lists"), join(scratch, "archives")];
  for (const folder of [lists, archives]) mkdirSync(join(folder, "partial"), { recursive: true });
  const ours = [`Dir::State::lists=${lists}`, `Dir::Cache=${scratch}`, `Dir::Cache::archives=${archives}`, "Debug::NoLocking=1"].flatMap((option) => ["-o", option]);
  await run(["apt-get", ...ours, "update", "-qq"]);
  await run(["apt-get", ...ours, "install", "-y", "-qq", "--no-install-recommends", "--download-only", "postgresql"]);
  return readdirSync(archives).filter((name) => name.endsWith(".deb")).map((name) => join(archives, name));
}
