import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { childEnvironment } from "../config.ts";
import { findProgram, run, until } from "../cluster/command.ts";
import { identityOf, isRunning, ownIdentity, parseIdentity } from "../cluster/process.ts";
import type { ProcessIdentity } from "../cluster/process.ts";
import type { Progress } from "../progress.ts";
import { ensurePrograms } from "./programs.ts";

/** A server of this process alone: its data in a temporary folder, durable as in production, reached through a socket in that folder. */
export interface PostgresServer {
  /** Makes an empty database; resolves with its connection string. */
  createDatabase(): Promise<string>;
  /** Runs SQL in a database, by its connection string; resolves with what psql prints, rows without decoration. */
  sql(database: string, text: string): Promise<string>;
  /** Ends connections and the server in good order. */
  stop(): Promise<void>;
  /** Ends all its processes at once, as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again over its data. */
  start(): Promise<void>;
  /** Kills it and removes its folder. */
  remove(): Promise<void>;
}

// Postgres refuses to run as root: then it runs as the user whom every Linux has for what needs no right.
const NOBODY = 65_534;
const who = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

const settings = {
  listen_addresses: "", fsync: "on", synchronous_commit: "on", full_page_writes: "on",
  shared_buffers: "32MB", max_connections: "60", log_min_messages: "warning", log_checkpoints: "off", jit: "off",
};

const PREFIX = "paddock-postgres-";
/** File that names the process a folder belongs to. */
const OWNER = "owner.json";

interface Place {
  readonly bin: string;
  readonly folder: string;
  readonly data: string;
  readonly password: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Starts one. Rejects with what is missing on this machine, or with the server's own words. */
export async function startPostgres(progress: Progress): Promise<PostgresServer> {
  const place = await layOut(progress);
  let child: ChildProcess | undefined;
  const removeFolder = (): void => rmSync(place.folder, { recursive: true, force: true });
  // A process that ends without ending its tests leaves neither server nor data.
  const killAtExit = (): void => {
    if (child?.pid !== undefined) killAll(child.pid);
    removeFolder();
  };
  process.once("exit", killAtExit);
  const urlOf = (database: string): string => `postgres://postgres:${place.password}@localhost/${database}?host=${encodeURIComponent(place.folder)}`;
  const sql = (database: string, text: string): Promise<string> =>
    run([join(place.bin, "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname", database], { env: place.env, input: text });
  const end = async (by: (pid: number) => void): Promise<void> => {
    const ending = child;
    child = undefined;
    if (ending?.pid === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const exited = new Promise((resolve) => ending.once("exit", resolve));
    const all = familyOf(ending.pid);
    by(ending.pid);
    await exited;
    // A new server finds the old one's memory in use until the last of its processes is gone.
    await until(async () => !all.some(isRunning), 60_000, () => "processes of the old Postgres server do not end");
  };
  const server: PostgresServer = {
    createDatabase: async () => {
      const name = `test_${randomUUID().replaceAll("-", "")}`;
      await sql(urlOf("postgres"), `CREATE DATABASE ${name} TEMPLATE template0 STRATEGY file_copy`);
      return urlOf(name);
    },
    sql,
    start: async () => {
      child = spawnServer(place);
      await untilReady(child, () => sql(urlOf("postgres"), "SELECT 1"));
    },
    stop: () => end((pid) => process.kill(pid, "SIGINT")),
    kill: () => end(killAll),
    remove: async () => {
      await server.kill();
      process.off("exit", killAtExit);
      removeFolder();
    },
  };
  await server.start().catch(async (error: unknown) => {
    await server.remove();
    throw error;
  });
  return server;
}

/** Folders of test processes that were killed; their servers ended with them. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir()).filter((one) => one.startsWith(PREFIX))) {
    const folder = join(tmpdir(), name);
    const owner = existsSync(join(folder, OWNER)) ? parseIdentity(readFileSync(join(folder, OWNER), "utf8")) : undefined;
    if (owner !== undefined && !isRunning(owner)) rmSync(folder, { recursive: true, force: true });
  }
}

async function layOut(progress: Progress): Promise<Place> {
  const { bin: original, root } = await ensurePrograms(progress);
  removeLeftovers();
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(folder, OWNER), JSON.stringify(ownIdentity()));
  const [data, passwordFile, password] = [join(folder, "data"), join(folder, "password"), randomBytes(16).toString("hex")];
  let bin = original;
  if (root !== undefined && who.uid !== undefined) {
    // The cache of root's home is closed to nobody.
    cpSync(root, join(folder, "root"), { recursive: true, verbatimSymlinks: true });
    bin = original.replace(root, join(folder, "root"));
  }
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(passwordFile, password);
  for (const path of who.uid === undefined ? [] : [folder, data, passwordFile]) chownSync(path, NOBODY, NOBODY);
  const env = { PGPASSWORD: password, LC_ALL: "C", ...libraryPath(bin, root === undefined ? undefined : bin.slice(0, bin.indexOf("/usr/lib/postgresql"))) };
  const place = { bin, folder, data, password, env };
  await spawnInitdb(place, passwordFile);
  rmSync(passwordFile);
  return place;
}

/** Unpacked programs find their libraries beside them. */
function libraryPath(bin: string, root: string | undefined): Readonly<Record<string, string>> {
  if (root === undefined) return {};
  const libraries = join(root, "usr/lib");
  const folders = readdirSync(libraries).filter((name) => name.includes("-linux-gnu")).map((name) => join(libraries, name));
  return { LD_LIBRARY_PATH: [...folders, join(bin, "../lib")].join(":") };
}

async function spawnInitdb({ bin, folder, data, env }: Place, passwordFile: string): Promise<void> {
  const args = ["--pgdata", data, "--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`, "--encoding=UTF8", "--locale=C"];
  const child = spawn(join(bin, "initdb"), args, { ...who, cwd: folder, env: childEnvironment(env), stdio: ["ignore", "ignore", "pipe"] });
  const complaint = collect(child);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`initdb ended with ${code ?? "a signal"}:\n${complaint()}`);
}

function spawnServer({ bin, folder, data, env }: Place): ChildProcess {
  const options = Object.entries({ ...settings, unix_socket_directories: folder }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const argv = [join(bin, "postgres"), "-D", data, ...options];
  // The server ends with a test process that is killed.
  const setpriv = process.platform === "linux" ? findProgram("setpriv") : undefined;
  const guard = setpriv === undefined ? [] : [setpriv, "--pdeathsig=QUIT"];
  const [file = "", ...args] = [...guard, ...argv];
  return spawn(file, args, { ...who, cwd: folder, env: childEnvironment(env), stdio: ["ignore", "ignore", "pipe"] });
}

/** Rejects with what the server has written when it ends instead. */
async function untilReady(child: ChildProcess, ask: () => Promise<unknown>): Promise<void> {
  const complaint = collect(child);
  let ended = false;
  child.once("error", () => (ended = true));
  child.once("exit", () => (ended = true));
  const answers = async (): Promise<boolean> => {
    if (ended) throw new Error(`Postgres ended at its start:\n${complaint()}`);
    return ask().then(() => true, () => false);
  };
  await until(answers, 120_000, () => `Postgres does not answer:\n${complaint()}`);
}

/** What a child writes to standard error, the end of it. */
function collect(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-4000);
  });
  return () => text;
}

/** A postmaster that sees a child die ends the others in order: it is stopped first, so that none of them can put anything right. */
function killAll(pid: number): void {
  signal(pid, "SIGSTOP");
  for (const child of childrenOf(pid)) signal(child, "SIGKILL");
  signal(pid, "SIGKILL");
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    return; // it has ended already
  }
}

function familyOf(pid: number): readonly ProcessIdentity[] {
  return [pid, ...childrenOf(pid)].map(identityOf).filter((identity) => identity !== undefined);
}

function childrenOf(pid: number): readonly number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split(" ").filter((text) => text !== "").map(Number);
}
