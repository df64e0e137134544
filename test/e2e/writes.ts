import { existsSync, readFileSync } from "node:fs";
import { auditLog } from "../cluster/host/layout.ts";
import { list, must } from "./kubectl.ts";
import type { Pod } from "./lab.ts";

const READS = new Set(["get", "list", "watch"]);

/** Its lease is renewed whatever happens, and an access review asks a question: neither writes to what people see. */
const ASIDE = new Set(["leases", "subjectaccessreviews"]);

/** Writes the operator has sent to the API server since it started, its lease aside, by its own metric. Throws when the metric is not served. */
export async function countWrites(): Promise<number> {
  const pod = (await list<Pod>("pods", "paddock-system")).find(({ metadata }) => metadata.name.startsWith("paddock-operator") && metadata.deletionTimestamp === undefined);
  if (pod === undefined) throw new Error("no operator pod runs in paddock-system");
  const text = await must(["get", "--raw", `/api/v1/namespaces/paddock-system/pods/${pod.metadata.name}:9090/proxy/metrics`]);
  const lines = text.split("\n").filter((line) => line.startsWith("paddock_apiserver_requests_total{"));
  if (lines.length === 0) throw new Error("the operator serves no paddock_apiserver_requests_total");
  const isWrite = (line: string): boolean => !READS.has(/verb="([a-z]+)"/.exec(line)?.[1] ?? "") && !ASIDE.has(/resource="([a-z/]+)"/.exec(line)?.[1] ?? "");
  return lines.filter(isWrite).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** The same count by the API server's own audit log; undefined on a cluster that keeps none for us. */
export function countAudited(): number | undefined {
  if (!existsSync(auditLog)) return undefined;
  const lines = readFileSync(auditLog, "utf8").split("\n").filter((line) => line !== "");
  const entries = lines.map((line) => JSON.parse(line) as { readonly stage: string; readonly objectRef?: { readonly resource?: string } });
  return entries.filter(({ stage, objectRef }) => stage === "ResponseComplete" && !ASIDE.has(objectRef?.resource ?? "")).length;
}
