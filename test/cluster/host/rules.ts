import { run } from "../command.ts";
import { listNftTables } from "./machine.ts";
import type { Machine } from "./machine.ts";

/**
 * Removes the packet filter rules of kube-proxy, which has tables of its own, and of Cilium, which adds to the tables that
 * every user of iptables shares: those lose Cilium's rules, and go only when they came with the cluster and nobody else uses them.
 */
export async function removeRules(before: Machine): Promise<void> {
  const saved = await run(["iptables-save"]);
  if (saved.includes("CILIUM_")) await run(["iptables-restore"], { input: withoutCilium(saved) });
  const unused = unusedTables(await run(["iptables-save"])).map((name) => `ip ${name}`);
  const added = (await listNftTables()).filter((table) => !before.nftTables.includes(table));
  for (const table of added.filter((name) => name.endsWith(" kube-proxy") || unused.includes(name))) {
    await run(["nft", "delete", "table", ...table.split(" ")]);
  }
}

/** Pure: what `iptables-save` printed, without Cilium's chains, their rules and the jumps to them. */
export function withoutCilium(saved: string): string {
  return saved.split("\n").filter((line) => !line.includes("CILIUM_")).join("\n");
}

/** Pure: the tables of `iptables-save` that hold no rule, no chain of anybody's, and accept everything. */
export function unusedTables(saved: string): readonly string[] {
  const sections = saved.split(/^(?=\*)/m).filter((section) => section.startsWith("*"));
  const isUnused = (section: string): boolean => section.split("\n").every((line) => !line.startsWith("-") && (!line.startsWith(":") || / ACCEPT /.test(line)));
  return sections.filter(isUnused).map((section) => section.slice(1, section.indexOf("\n")));
}
