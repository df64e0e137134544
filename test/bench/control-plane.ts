import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { GROUP, VERSION } from "@paddock/api/group";
import type { Session } from "@paddock/api/session";
import { connectKubeconfig } from "../../operator/src/cluster/connect.ts";
import { createApiClient } from "../../operator/src/cluster/http.ts";
import type { ApiClient } from "../../operator/src/cluster/http.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf } from "../e2e/lab.ts";
import { KUBECONFIG, get, kubectl, list, must } from "../e2e/kubectl.ts";
import { deployModel, say } from "../e2e/model.ts";
import { killProcess } from "../e2e/processes.ts";
import { inLanes } from "../steps.ts";
import { run as runClient } from "./client.ts";
import { measureAppends, slope } from "./control-plane/append.ts";
import { loggedAt, operatorPod, read } from "./control-plane/operator-pod.ts";
import { quiet, store } from "./control-plane/stored.ts";
import { median, printFigure } from "./figures.ts";

// What the control plane costs: writes, memory, CPU and time, with nothing stored, with a thousand and with ten thousand Sessions. Counts are the operator's
// own metrics; the control of each figure is the same one with less stored.

const SHORT_SESSIONS = 6;
const STATUS_WRITES = 100;
const IDLE_SESSIONS = 200;
const IDLE_SECONDS = 60;
const LEVELS = [1_000, 10_000] as const;

/** Prints the control plane's figures; needs a cluster with Paddock. */
export async function run(): Promise<void> {
  const namespace = `bench-control-${randomBytes(3).toString("hex")}`;
  const client = createApiClient(await connectKubeconfig(KUBECONFIG), { inFlight: 64 });
  await must(["create", "namespace", namespace]);
  try {
    await deployModel(namespace, { Hello: [say("Hello.")] });
    await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
    await eventually("a ready Environment", async () => {
      const environment = await get<{ status?: { conditions?: { type: string; status: string }[] } }>("environment", "environment", namespace);
      return environment?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
    });
    await runClient();
    await measureIdle(namespace);
    await measureStored(client, namespace);
  } finally {
    client.close();
    await kubectl(["delete", "namespace", namespace, "--wait=false"]);
  }
}

interface Cost {
  readonly writes: number;
  readonly cpuMs: number;
}

let made = 0;

/** Short sessions without tools, one after the other: what each costs the operator. */
async function costOfSession(namespace: string): Promise<readonly Cost[]> {
  const costs: Cost[] = [];
  for (let round = 0; round < SHORT_SESSIONS; round += 1) {
    const name = `short-${(made += 1)}`;
    await quiet();
    const before = await read();
    await apply(namespace, buildSession(name, "Hello"));
    await finished(namespace, name);
    await eventually("the pods to be gone", async () => (await podsOf(namespace, name, "runner")).length === 0);
    await quiet();
    const after = await read();
    costs.push({ writes: after.writes - before.writes, cpuMs: (after.cpuSeconds - before.cpuSeconds) * 1000 });
  }
  return costs;
}

/** Sessions that wait for a message and have given up their pods. */
async function measureIdle(namespace: string): Promise<void> {
  const names = Array.from({ length: IDLE_SESSIONS }, (_, index) => `idle-${index}`);
  await inLanes(names, 8, async (name) => {
    await apply(namespace, buildSession(name, "Hello", { spec: { mode: "Conversation", idleTimeoutSeconds: 0 } }));
    await must(["wait", "--for=condition=AwaitingInput", `session/${name}`, "-n", namespace, "--timeout=300s"]);
  });
  await eventually("no runner", async () => (await list("pods", namespace, "paddock.dev/component=runner")).length === 0, 120);
  await quiet();
  const before = await read();
  await sleep(IDLE_SECONDS * 1000);
  const after = await read();
  printFigure(`m6_writes_in_${IDLE_SECONDS}_s_with_${IDLE_SESSIONS}_idle_sessions`, [after.writes - before.writes], "writes");
  printFigure("m6_operator_cpu_while_idle", [((after.cpuSeconds - before.cpuSeconds) * 1000) / IDLE_SECONDS], "ms/s");
  printFigure("m6_blind_watch_time_while_idle", [after.blindSeconds - before.blindSeconds], "s");
  await must(["delete", "sessions", "--all", "-n", namespace, "--wait=true"]);
  await quiet();
}

interface Level {
  readonly stored: number;
  readonly cpuMs: number;
  /** Of one PUT of a status at the API server. */
  readonly statusMs: number;
}

async function measureStored(client: ApiClient, namespace: string): Promise<void> {
  const levels: Level[] = [await measureLevel(client, namespace, 0)];
  let already = 0;
  for (const total of LEVELS) {
    await store(client, namespace, { already, total });
    already = total;
    levels.push(await measureLevel(client, namespace, total));
  }
  const [, low, high] = levels;
  if (low === undefined || high === undefined) return;
  const growth = (of: (level: Level) => number): number => slope([low.stored, high.stored], [of(low), of(high)]);
  printFigure("m15_growth_of_operator_cpu_per_session", [growth(({ cpuMs }) => cpuMs)], "log-log slope");
  printFigure("m15_growth_of_status_write", [growth(({ statusMs }) => statusMs)], "log-log slope");
  await measureAppends();
}

/** Milliseconds of single writes to one stored Session: its label, which anybody may write and which goes the way of a status through the API server. */
async function costOfStatus(client: ApiClient, namespace: string): Promise<readonly number[]> {
  const path = `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/sessions/short-1`;
  const times: number[] = [];
  for (let round = 0; round < STATUS_WRITES; round += 1) {
    const startedAt = performance.now();
    await client.request({ verb: "update", resource: "sessions", method: "PATCH", path, contentType: "application/merge-patch+json", body: { metadata: { labels: { round: String(round) } } } });
    times.push(performance.now() - startedAt);
  }
  return times;
}

async function measureLevel(client: ApiClient, namespace: string, stored: number): Promise<Level> {
  const costs = await costOfSession(namespace);
  printFigure(`m5_operator_writes_per_short_session_at_${stored}_stored`, costs.map(({ writes }) => writes), "writes");
  printFigure(`m15_operator_cpu_per_short_session_at_${stored}_stored`, costs.map(({ cpuMs }) => cpuMs), "ms");
  await measureRestart(namespace, stored);
  await quiet();
  const { rssBytes, heapBytes } = await read();
  printFigure(`m7_operator_memory_at_${stored}_stored`, [rssBytes / 1e6], "MB");
  printFigure(`m7_operator_heap_at_${stored}_stored`, [heapBytes / 1e6], "MB");
  const statusMs = await costOfStatus(client, namespace);
  printFigure(`m15_status_write_at_${stored}_stored`, statusMs, "ms");
  return { stored, cpuMs: median(costs.map(({ cpuMs }) => cpuMs)), statusMs: median(statusMs) };
}

/** The operator's process is killed: when its successor works again, and when it has served a Session made in between. */
async function measureRestart(namespace: string, stored: number): Promise<void> {
  const { metadata } = await operatorPod();
  const name = `served-${(made += 1)}`;
  const killedAt = Date.now();
  killProcess(metadata.uid, /^node /);
  await apply(namespace, buildSession(name, "Hello"));
  await finished(namespace, name);
  const startedAt = await loggedAt("started");
  printFigure(`m8_kill_to_process_at_${stored}_stored`, [startedAt - killedAt], "ms");
  printFigure(`m8_process_to_all_synced_at_${stored}_stored`, [(await loggedAt("passes begin")) - startedAt], "ms");
  printFigure(`m8_process_to_first_session_bound_at_${stored}_stored`, [(await boundAt(namespace, name)) - startedAt], "ms");
}

/** Milliseconds since 1970 at which the Session was bound, as its log tells it. */
async function boundAt(namespace: string, name: string): Promise<number> {
  const session = await get<Session>("session", name, namespace);
  return Date.parse(session?.status?.startTime ?? "");
}
