import { existsSync, readFileSync, readdirSync, rmSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { run, succeeds, until } from "../command.ts";
import { killDaemons } from "./daemon.ts";
import { removeFence } from "./fence.ts";
import { bridge, containerdSocket, fixedPlaces, stateDir } from "./layout.ts";
import { listNetworkNamespaces, recallMachine, restoreSettings } from "./machine.ts";
import type { Machine } from "./machine.ts";
import { removeRules } from "./rules.ts";
import { removeSink } from "../sink.ts";

const cgroups = "/sys/fs/cgroup";

/**
 * Ends the cluster and removes everything it left, running or killed, of this boot or an earlier one.
 * Nothing of it is kept, so nothing is asked to end gently. The state folder goes last: as long as it is there, another try can follow.
 */
export async function removeCluster(): Promise<void> {
  if (!existsSync(stateDir)) return;
  await killDaemons();
  const before = recallMachine();
  if (before) {
    await killPods();
    await removeNetwork(before);
    removeCgroups();
  }
  await unmountEverything(before);
  if (before) await restoreSettings(before);
  for (const place of [...fixedPlaces, stateDir]) rmSync(place, { recursive: true, force: true });
}

/** Kills the containers' supervisors and every process of every pod, until there is none. */
async function killPods(): Promise<void> {
  await until(async () => {
    const pids = [...shims(), ...podProcesses()];
    for (const pid of pids) killHard(pid);
    return pids.length === 0;
  }, 30_000, () => `processes of pods do not end: ${podProcesses().join(", ")}`);
}

/** Processes whose command line names our containerd's socket. */
function shims(): readonly number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(containerdSocket);
    } catch {
      return false;
    }
  });
}

/** The kubelet keeps all pods under `kubepods`: of one hierarchy (cgroup v2) or of each controller (v1). */
function podCgroups(): readonly string[] {
  const roots = [cgroups, ...readdirSync(cgroups).map((name) => join(cgroups, name))];
  return roots.map((folder) => join(folder, "kubepods")).filter((folder) => existsSync(folder));
}

function podProcesses(): readonly number[] {
  return podCgroups().flatMap((folder) => [folder, ...foldersUnder(folder)]).flatMap((folder) => {
    try {
      return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

function removeCgroups(): void {
  for (const folder of podCgroups()) {
    for (const inner of [...foldersUnder(folder), folder]) rmdirSync(inner);
  }
}

/** Deepest first. */
function foldersUnder(folder: string): readonly string[] {
  const children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
  return children.flatMap((child) => [...foldersUnder(child), child]);
}

function killHard(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    return; // it ended meanwhile
  }
}

async function removeNetwork(before: Machine): Promise<void> {
  await removeSink();
  for (const name of (listNetworkNamespaces() ?? []).filter((name) => name.startsWith("cni-") && !before.networkNamespaces?.includes(name))) {
    await run(["ip", "netns", "delete", name]);
  }
  for (const name of await ownLinks()) await succeeds(["ip", "link", "delete", name]); // the other end of a pair goes along
  await removeRules(before);
  await removeFence();
}

async function ownLinks(): Promise<readonly string[]> {
  const links = JSON.parse(await run(["ip", "-json", "link", "show"])) as readonly { ifname: string }[];
  return links.map(({ ifname }) => ifname).filter((name) => name === bridge || name === "cilium_host" || name === "cilium_net" || /^lxc[0-9a-f_]/.test(name));
}

async function unmountEverything(before: Machine | undefined): Promise<void> {
  for (const mount of ownMounts().toReversed()) await run(["umount", "--lazy", mount]);
  if (before) rmSync("/sys/fs/bpf/tc", { recursive: true, force: true });
  if (before && !before.bpfMounted) {
    rmSync("/sys/fs/bpf/cilium", { recursive: true, force: true });
    await succeeds(["umount", "/sys/fs/bpf"]);
  }
  if (before && before.networkNamespaces === undefined) await removeNamespaceFolder();
  const left = ownMounts();
  if (left.length > 0) throw new Error(`these mounts cannot be undone, so nothing is deleted: ${left.join(", ")}`);
}

/** `ip netns` mounts the folder of the names onto itself. Others may have put theirs there meanwhile. */
async function removeNamespaceFolder(): Promise<void> {
  if (listNetworkNamespaces()?.length !== 0) return;
  await succeeds(["umount", "/run/netns"]);
  rmdirSync("/run/netns");
}

function ownMounts(): readonly string[] {
  return mountsUnder(readFileSync("/proc/mounts", "utf8"), [stateDir, "/run/containerd", "/run/cilium", "/var/lib/kubelet"]);
}

/** Pure: the mount points in the text of `/proc/mounts` that are, or are under, one of the places; in the order they were mounted. */
export function mountsUnder(mounts: string, places: readonly string[]): readonly string[] {
  const points = mounts.split("\n").flatMap((line) => line.split(" ").slice(1, 2)).map((point) => point.replaceAll("\\040", " "));
  return points.filter((point) => places.some((place) => point === place || point.startsWith(`${place}/`)));
}
