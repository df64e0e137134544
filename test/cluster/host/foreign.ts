import { readFileSync, readdirSync } from "node:fs";
import { identityOf } from "../process.ts";
import { fixedPlaces, ports } from "./layout.ts";

const clusterPrograms = new Set(["containerd", "dockerd", "kubelet", "k3s-server", "k3s-agent", "cilium-agent", "crio", "etcd", "kube-apiserver"]);

/** Throws when the machine already runs, or has run, something that this cluster would collide with. Nothing is touched. */
export function refuseForeign(): void {
  const problems = [...foreignPrograms(), ...busyPorts(), ...foreignPlaces()];
  if (problems.length === 0) return;
  throw new Error(
    "this machine cannot host the cluster, because something else uses what it needs:\n" +
    problems.map((problem) => `  - ${problem}\n`).join("") +
    "Stop or remove it, or use another provider: PADDOCK_CLUSTER=kind (Docker and kind), or KUBECONFIG=… with PADDOCK_CLUSTER=existing.",
  );
}

function foreignPrograms(): readonly string[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => identityOf(pid) !== undefined).flatMap((pid) => {
    const name = commandName(pid);
    return clusterPrograms.has(name) ? [`process ${pid} is ${name}, and Paddock did not start it`] : [];
  });
}

function commandName(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return ""; // it has ended meanwhile
  }
}

function busyPorts(): readonly string[] {
  const busy = new Set(["tcp", "tcp6"].flatMap((table) => listeningPorts(readFileSync(`/proc/net/${table}`, "utf8"))));
  return ports.filter((port) => busy.has(port)).map((port) => `port ${port} is in use`);
}

/** Pure: the ports with a listening socket in the text of `/proc/net/tcp`. */
export function listeningPorts(table: string): readonly number[] {
  const listen = "0A";
  return table.split("\n").slice(1).flatMap((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    return state === listen ? [Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16)] : [];
  });
}

function foreignPlaces(): readonly string[] {
  return fixedPlaces.filter((place) => hasEntries(place)).map((place) => `${place} is not empty, and not Paddock's`);
}

function hasEntries(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}
