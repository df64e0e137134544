import { readFileSync } from "node:fs";
import type { LogEvent } from "@paddock/api/log/events";
import { kubectl, list, must } from "../e2e/kubectl.ts";
import type { Pod } from "../e2e/lab.ts";
import { processesOf } from "../e2e/processes.ts";
import { inLanes } from "../steps.ts";
import type { Canary } from "./canaries.ts";
import { findInObjects } from "./objects.ts";
import { findCanaries } from "./search.ts";
import type { Finding } from "./search.ts";

// Where secrets could end up: each collector reads one such place whole.

/** A planted secret that somebody can read where it does not belong. Never holds the secret. */
export interface Found {
  readonly canary: string;
  readonly encoding: string;
  /** Object, file, log or process. */
  readonly place: string;
  /** Field or line. */
  readonly where: string;
}

/** Something to look through. */
export interface Place {
  readonly name: string;
  readonly data: string | Uint8Array;
}

const RELEASE_NAMESPACE = "paddock-system";
const METRICS_PORT = 9090;
const STORE = "/var/lib/paddock";

export function findInPlace({ name, data }: Place, canaries: readonly Canary[]): readonly Found[] {
  return findCanaries(data, canaries).map(({ canary, encoding, line }: Finding) => ({ canary, encoding, place: name, where: `line ${line}` }));
}

/** Logs of every container of the namespaces' pods, and of those that ran before a restart. */
export async function collectLogs(namespaces: readonly string[]): Promise<readonly Place[]> {
  const places: Place[] = [];
  const pods = (await Promise.all(namespaces.map((namespace) => list<Pod>("pods", namespace)))).flat();
  await inLanes(pods, 3, async ({ metadata: { name, namespace }, status }) => {
    for (const { name: container, restartCount } of status.containerStatuses ?? []) {
      for (const previous of restartCount > 0 ? [[], ["--previous"]] : [[]]) {
        const { code, stdout } = await kubectl(["logs", name, "-n", namespace, "-c", container, "--tail=-1", ...previous]);
        // A container that never started has no log; what has gone meanwhile has none any more.
        if (code === 0) places.push({ name: `log of ${namespace}/${name} ${container}${previous.length > 0 ? ", before its restart" : ""}`, data: stdout });
      }
    }
  });
  return places;
}

async function releasePods(): Promise<readonly Pod[]> {
  return (await list<Pod>("pods", RELEASE_NAMESPACE)).filter(({ metadata, status }) => /^paddock-(operator|gateway)/.test(metadata.name) && status.phase === "Running");
}

/** What operator and gateway tell those who scrape them. */
export async function collectMetrics(): Promise<readonly Place[]> {
  return Promise.all((await releasePods()).map(async ({ metadata: { name } }) => (
    { name: `metrics of ${name}`, data: await must(["get", "--raw", `/api/v1/namespaces/${RELEASE_NAMESPACE}/pods/${name}:${METRICS_PORT}/proxy/metrics`]) }
  )));
}

// Each file of the store as it is, for what was deleted and is there still, and each row, for what a page cuts in two.
const STORE_PROGRAM = `
const { readdirSync, readFileSync, statSync } = require("node:fs");
const tell = (name, data) => process.stdout.write(JSON.stringify({ name, data: Buffer.from(data).toString("base64") }) + "\\n");
for (const file of readdirSync(${JSON.stringify(STORE)}, { recursive: true })) {
  const path = ${JSON.stringify(`${STORE}/`)} + file;
  if (!statSync(path).isFile()) continue;
  const data = readFileSync(path);
  tell(file, data);
  if (data.subarray(0, 15).toString() !== "SQLite format 3") continue;
  const { DatabaseSync } = require("node:sqlite");
  const store = new DatabaseSync(path, { readOnly: true });
  for (const { name } of store.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all()) {
    const rows = [];
    for (const row of store.prepare('SELECT * FROM "' + name + '"').iterate()) rows.push(Object.values(row).map((cell) => (cell instanceof Uint8Array ? Buffer.from(cell).toString("latin1") : Buffer.from(String(cell)).toString("latin1"))).join("\\n"));
    tell(file + ", table " + name, Buffer.from(rows.join("\\n"), "latin1"));
  }
}`;

/** The gateway's store, its files and its rows; nothing where the store is a Postgres elsewhere. */
export async function collectStore(): Promise<readonly Place[]> {
  const gateways = (await releasePods()).filter(({ metadata, spec }) => metadata.name.startsWith("paddock-gateway") && spec.containers.some(({ env }) => env?.some(({ name }) => name === "PADDOCK_DATA_DIR")));
  const all = await Promise.all(gateways.map(async ({ metadata: { name: pod } }) => {
    const lines = (await must(["exec", pod, "-n", RELEASE_NAMESPACE, "--", "node", "-e", STORE_PROGRAM])).split("\n").filter((line) => line !== "");
    return lines.map((line) => {
      const { name, data } = JSON.parse(line) as { name: string; data: string };
      return { name: `store of ${pod}, ${name}`, data: Buffer.from(data, "base64") };
    });
  }));
  return all.flat();
}

function readProc(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0); // it ended meanwhile
  }
}

/** Environment and command line of every process of the namespaces' pods, as the node sees them; none where the node is another machine. */
export async function collectProcesses(namespaces: readonly string[]): Promise<readonly Place[]> {
  const pods = (await Promise.all(namespaces.map((namespace) => list<Pod>("pods", namespace)))).flat();
  return pods.flatMap(({ metadata: { name, namespace, uid } }) => processesOf(uid).flatMap(({ pid, command }) =>
    ["environ", "cmdline"].map((file) => ({ name: `${file} of ${namespace}/${name}, ${command.split(" ").slice(0, 2).join(" ")}`, data: readProc(`/proc/${pid}/${file}`).toString("latin1").replaceAll("\0", "\n") }))));
}

/** A session's log as people read it. */
export function placeOfLog(session: string, events: readonly LogEvent[]): Place {
  return { name: `events of session ${session}`, data: events.map((event) => JSON.stringify(event)).join("\n") };
}

/** Files on this machine, such as traces that a receiver has written. */
export function collectFiles(paths: readonly string[]): readonly Place[] {
  return paths.map((path) => ({ name: `file ${path}`, data: readFileSync(path) }));
}

export interface Scan {
  readonly canaries: readonly Canary[];
  /** Namespaces whose pods' logs and processes are read, besides the release's; objects are read in all. */
  readonly namespaces: readonly string[];
  /** More to look through. */
  readonly more?: readonly Place[];
}

export interface ScanReport {
  readonly objects: number;
  readonly places: number;
  readonly found: readonly Found[];
}

/** Looks everywhere. A place that cannot be read rejects: what was not looked at is not clean. */
export async function scanCluster({ canaries, namespaces, more = [] }: Scan): Promise<ScanReport> {
  const all = [...new Set([...namespaces, RELEASE_NAMESPACE])];
  let objects = 0;
  const inObjects = await findInObjects(canaries, (_, count) => (objects += count));
  const places = [...(await collectLogs(all)), ...(await collectMetrics()), ...(await collectStore()), ...(await collectProcesses(all)), ...more];
  return { objects, places: places.length, found: [...inObjects, ...places.flatMap((place) => findInPlace(place, canaries))] };
}

export function describeFound({ canary, encoding, place, where }: Found): string {
  return `${canary}: ${place}, ${where}, ${encoding}`;
}
