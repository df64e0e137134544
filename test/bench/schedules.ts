import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BatchV1Api, CustomObjectsApi, KubeConfig } from "@kubernetes/client-node";
import { API_VERSION, GROUP, VERSION } from "@paddock/api/group";
import { connectKubeconfig } from "../../operator/src/cluster/connect.ts";
import { createApiClient } from "../../operator/src/cluster/http.ts";
import type { ApiClient } from "../../operator/src/cluster/http.ts";
import { createReflector } from "../../operator/src/cluster/reflector.ts";
import type { Reflector } from "../../operator/src/cluster/reflector.ts";
import { slimMeta } from "../../operator/src/cluster/slim.ts";
import type { Observed } from "../../operator/src/kernel/kind.ts";
import { eventually } from "../e2e/lab.ts";
import { KUBECONFIG, kubectl, must } from "../e2e/kubectl.ts";
import { printFigure, printRatio, quantile } from "./figures.ts";

// A thousand Schedules and a thousand CronJobs on one cluster, due at the same instant: how late is each child, seen by a watch of this
// process. Neither side starts pods: the Jobs are suspended, and the Sessions name an Environment that does not exist, for which the operator
// writes each of them one status; that work is part of what is measured. Client and API server must share a clock, as on a cluster here.

const COUNT = 1000;
const MINUTE = 60_000;
const SIDES = ["schedule", "cronjob"] as const;
type Side = (typeof SIDES)[number];

interface Child {
  readonly owner: string;
  /** Wall clock. */
  readonly seenAt: number;
}

/** Prints M9, once undisturbed and once with the operator killed right before the instant; needs a cluster with Paddock. */
export async function run(): Promise<void> {
  await measure("undisturbed", async () => undefined);
  await measure("operator_killed", async (instant) => {
    await sleep(Math.max(0, instant - Date.now() - 2000));
    await must(["delete", "pod", "-n", "paddock-system", "-l", "app.kubernetes.io/component=operator", "--force", "--grace-period=0", "--wait=false"]);
  });
}

async function measure(name: string, disturb: (instant: number) => Promise<void>): Promise<void> {
  const namespace = `bench-schedules-${randomBytes(3).toString("hex")}`;
  await must(["create", "namespace", namespace]);
  const config = new KubeConfig();
  config.loadFromFile(KUBECONFIG);
  const children: Record<Side, Child[]> = { schedule: [], cronjob: [] };
  const client = createApiClient(await connectKubeconfig(KUBECONFIG));
  const watches = [
    watchChildren(client, { resource: "sessions", path: `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/sessions` }, children.schedule),
    watchChildren(client, { resource: "jobs", path: `/apis/batch/v1/namespaces/${namespace}/jobs` }, children.cronjob),
  ];
  try {
    const instant = await createAll(config, namespace);
    await disturb(instant);
    await sleep(Math.max(0, instant - Date.now()));
    // CronJob's controller takes minutes with its stock settings; more than the starting deadline is missed on both sides.
    await eventually("every child of every schedule", async () => SIDES.every((side) => owners(children[side]).size === COUNT), 330).catch(() => undefined);
    await sleep(5000);
    print(name, instant, children);
  } finally {
    await Promise.all(watches.map((watch) => watch.stop()));
    client.close();
    await kubectl(["delete", "namespace", namespace, "--wait=false"]);
  }
}

/** Follows a collection, whatever becomes of single watches: each child is noted when it is first seen. */
function watchChildren(client: ApiClient, { resource, path }: { readonly resource: string; readonly path: string }, into: Child[]): Reflector {
  const seen = new Set<string>();
  const note = ({ metadata }: Observed): void => {
    if (seen.has(metadata.uid)) return;
    seen.add(metadata.uid);
    into.push({ owner: metadata.ownerReferences?.[0]?.name ?? "", seenAt: performance.timeOrigin + performance.now() });
  };
  const reflector = createReflector({ client, resource, path, slim: (raw) => ({ metadata: slimMeta(raw) }), sink: { replace: (objects) => objects.forEach(note), set: note, remove: () => undefined } });
  reflector.start();
  return reflector;
}

/** Creates both sides and answers the instant at which they are due; throws when creating took so long that it has come. */
async function createAll(config: KubeConfig, namespace: string): Promise<number> {
  const objects = config.makeApiClient(CustomObjectsApi);
  const batch = config.makeApiClient(BatchV1Api);
  const instant = Math.ceil((Date.now() + 3 * MINUTE) / MINUTE) * MINUTE;
  const due = new Date(instant);
  const schedule = `${due.getUTCMinutes()} ${due.getUTCHours()} * * *`;
  const queue = Array.from({ length: COUNT }, (_, index) => `due-${index}`);
  const work = async (): Promise<void> => {
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      await objects.createNamespacedCustomObject({ group: GROUP, version: VERSION, namespace, plural: "schedules", body: buildSchedule(name, schedule) });
      await batch.createNamespacedCronJob({ namespace, body: buildCronJob(name, schedule) });
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  await eventually("every Schedule to announce its time", async () => {
    const { items } = (await objects.listNamespacedCustomObject({ group: GROUP, version: VERSION, namespace, plural: "schedules" })) as { items: { status?: { nextScheduleTime?: string } }[] };
    return items.every(({ status }) => Date.parse(status?.nextScheduleTime ?? "") === instant);
  });
  if (Date.now() > instant - 5000) throw new Error("creating the schedules took longer than three minutes: the machine is too busy to measure");
  return instant;
}

function buildSchedule(name: string, schedule: string): object {
  return {
    apiVersion: API_VERSION,
    kind: "Schedule",
    metadata: { name },
    spec: { schedule, sessionTemplate: { spec: { agentRef: { name: "none" }, environmentRef: { name: "none" }, prompt: "go" } } },
  };
}

function buildCronJob(name: string, schedule: string) {
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "none", image: "none.invalid/none" }] } };
  return { metadata: { name }, spec: { schedule, timeZone: "Etc/UTC", startingDeadlineSeconds: 300, jobTemplate: { spec: { suspend: true, template } } } };
}

function owners(children: readonly Child[]): Set<string> {
  return new Set(children.map(({ owner }) => owner));
}

function print(name: string, instant: number, children: Readonly<Record<Side, readonly Child[]>>): void {
  const lags = (side: Side): number[] => children[side].map(({ seenAt }) => seenAt - instant);
  for (const side of SIDES) {
    if (children[side].length === 0) throw new Error(`no child of any ${side} was seen`);
    printFigure(`${name}_${side}_lag_p50`, [quantile(lags(side), 0.5)], "ms");
    printFigure(`${name}_${side}_lag_p99`, [quantile(lags(side), 0.99)], "ms");
    printFigure(`${name}_${side}_missed`, [COUNT - owners(children[side]).size], "runs");
    printFigure(`${name}_${side}_double`, [children[side].length - owners(children[side]).size], "runs");
  }
  printRatio(`${name}_ratio_lag_p99_schedule_to_cronjob`, [quantile(lags("schedule"), 0.99)], [quantile(lags("cronjob"), 0.99)]);
}
