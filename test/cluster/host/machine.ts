import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../command.ts";
import { bootId } from "../process.ts";
import { bridge, nodeIp, stateDir } from "./layout.ts";

/** What the machine was like before the cluster; `down` brings it back to it. */
export interface Machine {
  /** Of another boot than now: the kernel has forgotten everything of the cluster by itself. */
  bootId: string;
  sysctls: Readonly<Record<string, string>>;
  nftTables: readonly string[];
  /** Undefined when there was no folder for them. */
  networkNamespaces?: readonly string[];
  bpfMounted: boolean;
}

const file = join(stateDir, "machine.json");

/**
 * The settings that kubelet, kube-proxy, Cilium and this file change. Not among them: kernel.unprivileged_bpf_disabled, which
 * Cilium sets to 1, and which the kernel then keeps until the next boot, and conntrack's count, which is none.
 */
const changedSettings = /^(net\.ipv[46]\.(conf\.(all|default)\.|ip_forward$|fib_)|net\.core\.|net\.netfilter\.(?!nf_conntrack_count$)|vm\.(overcommit_memory|panic_on_oom)$|kernel\.(panic|panic_on_oops|timer_migration|keys\..*)$|fs\.inotify\.)/;

/** Remembers the machine as it is. To be called before anything of it is changed. */
export async function rememberMachine(): Promise<void> {
  const networkNamespaces = listNetworkNamespaces();
  const machine: Machine = {
    bootId: bootId(), sysctls: await observeSettings(), nftTables: await listNftTables(), ...(networkNamespaces && { networkNamespaces }),
    bpfMounted: readFileSync("/proc/mounts", "utf8").includes(" /sys/fs/bpf bpf "),
  };
  writeFileSync(`${file}.new`, JSON.stringify(machine, null, 1));
  renameSync(`${file}.new`, file);
}

/** What was remembered; undefined when nothing of the machine was changed yet, or it has been booted since. */
export function recallMachine(): Machine | undefined {
  if (!existsSync(file)) return undefined;
  const machine = JSON.parse(readFileSync(file, "utf8")) as Machine;
  return machine.bootId === bootId() ? machine : undefined;
}

/** Forwarding, enough inotify instances for the components, and the node's own bridge. */
export async function prepareMachine(): Promise<void> {
  await run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "fs.inotify.max_user_instances=1024"]);
  await run(["ip", "link", "add", bridge, "type", "bridge"]);
  await run(["ip", "address", "add", `${nodeIp}/32`, "dev", bridge]);
  await run(["ip", "link", "set", bridge, "up"]);
}

/** Sets back every setting that the cluster changed. */
export async function restoreSettings(before: Machine): Promise<void> {
  for (const [key, value] of settingsToRestore(before.sysctls, await observeSettings())) await run(["sysctl", "-qw", `${key}=${value}`]);
}

/** Pure. Settings that are gone, such as those of a removed network device, are left alone. */
export function settingsToRestore(before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>): readonly [string, string][] {
  return Object.entries(before).filter(([key, value]) => now[key] !== undefined && now[key] !== value);
}

async function observeSettings(): Promise<Readonly<Record<string, string>>> {
  // It complains about settings that cannot be read, which are none of those above.
  const lines = (await run(["sysctl", "--all", "--ignore"])).split("\n");
  const pairs = lines.map((line): [string, string] => {
    const at = line.indexOf(" = ");
    return [line.slice(0, at), line.slice(at + 3)];
  });
  return Object.fromEntries(pairs.filter(([key]) => changedSettings.test(key)));
}

/** Tables as `nft delete table` takes them: family and name. */
export async function listNftTables(): Promise<readonly string[]> {
  return (await run(["nft", "list", "tables"])).split("\n").filter(Boolean).map((line) => line.replace(/^table /, ""));
}

/** Names under /run/netns; undefined when there is no such folder. */
export function listNetworkNamespaces(): readonly string[] | undefined {
  try {
    return readdirSync("/run/netns");
  } catch {
    return undefined;
  }
}
