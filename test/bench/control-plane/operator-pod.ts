import type { Pod } from "../../e2e/lab.ts";
import { eventually } from "../../e2e/lab.ts";
import { list, must } from "../../e2e/kubectl.ts";

// The operator's pod as its own metrics and log show it.

const NAMESPACE = "paddock-system";

export interface Readings {
  readonly writes: number;
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly startedAtSeconds: number;
  /** Seconds without a watch since the start, over all resources. */
  readonly blindSeconds: number;
}

export async function operatorPod(): Promise<Pod> {
  return eventually("one running operator pod", async () => {
    const pods = (await list<Pod>("pods", NAMESPACE)).filter(({ metadata }) => metadata.name.startsWith("paddock-operator") && metadata.deletionTimestamp === undefined);
    return pods.length === 1 && pods[0]?.status.phase === "Running" ? pods[0] : undefined;
  });
}

/** Reads the metrics once; throws when one of them is not served. */
export async function read(): Promise<Readings> {
  const pod = await operatorPod();
  const text = await must(["get", "--raw", `/api/v1/namespaces/${NAMESPACE}/pods/${pod.metadata.name}:9090/proxy/metrics`]);
  const lines = text.split("\n").filter((line) => !line.startsWith("#"));
  const sum = (name: string, keep: (line: string) => boolean = () => true): number => {
    const found = lines.filter((line) => new RegExp(`^${name}[{ ]`).test(line) && keep(line));
    if (found.length === 0) throw new Error(`the operator serves no ${name}`);
    return found.reduce((total, line) => total + Number(line.split(" ").at(-1)), 0);
  };
  return {
    writes: sum("paddock_apiserver_requests_total", (line) => !/verb="(get|list|watch)"|resource="(leases|subjectaccessreviews)"/.test(line)),
    cpuSeconds: sum("process_cpu_seconds_total"),
    rssBytes: sum("process_resident_memory_bytes"),
    heapBytes: sum("nodejs_heap_size_used_bytes"),
    startedAtSeconds: sum("process_start_time_seconds"),
    blindSeconds: sum("paddock_watch_blind_seconds_total"),
  };
}

/** Milliseconds since 1970 of the first line of the newest operator's log whose message is this one. */
export async function loggedAt(message: string): Promise<number> {
  const { metadata } = await operatorPod();
  return eventually(`"${message}" in the operator's log`, async () => {
    const lines = (await must(["logs", metadata.name, "-n", NAMESPACE])).split("\n").filter((line) => line.startsWith("{"));
    const found = lines.map((line) => JSON.parse(line) as { time: string; msg?: string }).find(({ msg }) => msg === message);
    return found === undefined ? undefined : Date.parse(found.time);
  });
}
