import { isIP } from "node:net";
import { MAX_PROBES } from "@paddock/api/wire/sandbox";
import type { BindReply, IsolationReport, ProbeTarget } from "@paddock/api/wire/sandbox";

/** An address and a port that a sandbox must not reach. */
export interface Canary {
  /** An IP address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** What the runner knows and the tool server does not. */
export interface ProbeSources {
  /** The gateway as this process is connected to it; undefined while it is not. */
  readonly gateway: Canary | undefined;
  /** Name servers of the runner. */
  readonly dnsServers: readonly string[];
  readonly canaries: readonly Canary[];
}

const DNS_PORT = 53;
/** The tool server has targets of its own. */
const MOST_TARGETS = MAX_PROBES / 2;
const MOST_LINES = 2 * MAX_PROBES;
const LINE_CHARS = 256;
const WORKSPACE_CHARS = 4096;

/** What a sandbox is to try before it is bound. What the runner finds on its own loopback is left out: there a sandbox finds itself. Pure. */
export function buildProbe({ gateway, dnsServers, canaries }: ProbeSources): readonly ProbeTarget[] {
  const found: readonly ProbeTarget[] = [
    ...(gateway === undefined ? [] : [{ name: "gateway", ...gateway, protocol: "tcp" } as const]),
    ...dnsServers.map((host): ProbeTarget => ({ name: "cluster DNS", host, port: DNS_PORT, protocol: "dns" })),
  ];
  const named = canaries.map((canary): ProbeTarget => ({ name: "canary", ...canary, protocol: "tcp" }));
  return [...found.filter(({ host }) => isIP(host) !== 0 && !isLoopback(host)), ...named].slice(0, MOST_TARGETS);
}

/** Addresses of `nameserver` lines, as resolv.conf(5) has them; those with a zone belong to one machine and are left out. Pure. */
export function parseNameServers(resolvConf: string): readonly string[] {
  const named = resolvConf.split("\n").map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "");
  return named.filter((address) => isIP(address) !== 0 && !address.includes("%"));
}

function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1" || host === "0.0.0.0" || host === "::";
}

/** The reply of a tool server, which may be hostile, members that we do not know dropped; undefined for anything else. */
export function parseBindReply(value: unknown): BindReply | undefined {
  if (value === null || typeof value !== "object") return undefined;
  const { workspace, protocol, isolation } = value as Readonly<Record<string, unknown>>;
  if (typeof workspace !== "string" || workspace.length > WORKSPACE_CHARS || protocol !== 1) return undefined;
  if (isolation === undefined) return { workspace, protocol };
  const report = parseReport(isolation);
  if (report === undefined) return undefined;
  // Nothing tried is nothing proven.
  return report.probed.length === 0 ? { workspace, protocol } : { workspace, protocol, isolation: report };
}

function parseReport(value: unknown): IsolationReport | undefined {
  if (value === null || typeof value !== "object") return undefined;
  const { probed, open } = value as Readonly<Record<string, unknown>>;
  return isLines(probed) && isLines(open) ? { probed, open } : undefined;
}

function isLines(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= MOST_LINES && value.every((line) => typeof line === "string" && line.length <= LINE_CHARS);
}
