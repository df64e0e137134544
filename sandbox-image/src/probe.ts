import { SocketAddress, isIP, isIPv6 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { IsolationReport, MAX_PROBES, ProbeTarget } from "@paddock/api/wire/sandbox";
import type { Config } from "./config.ts";
import { RequestRefused } from "./problem.ts";
import type { Reach } from "./reach.ts";

const MOST_TARGETS: typeof MAX_PROBES = 64;
const LONGEST_NAME = 128;
const KUBELET_PORT = 10250;
const METADATA: ProbeTarget = { name: "metadata service", host: "169.254.169.254", port: 80, protocol: "tcp" };

/** In milliseconds. */
export interface ProbeTimes {
  /** What says nothing for so long is closed. */
  readonly silenceMs: number;
  /** How long after the start what is open is tried again: network policies may take effect a little later than a pod starts. */
  readonly patienceMs: number;
  /** Between two tries. */
  readonly pauseMs: number;
}

const PROBE_TIMES: ProbeTimes = { silenceMs: 1000, patienceMs: 3000, pauseMs: 250 };

/** What only the sandbox knows of: it is told by its pod. Pure. */
export function ownTargets({ apiServer, node }: Pick<Config, "apiServer" | "node">): readonly ProbeTarget[] {
  return [
    ...(apiServer === undefined ? [] : [{ name: "API server", ...apiServer, protocol: "tcp" } as const]),
    ...(node === undefined ? [] : [{ name: "kubelet of the node", host: node, port: KUBELET_PORT, protocol: "tcp" } as const]),
    METADATA,
  ];
}

/** The targets of a bind; none from a runner of before there were any. Pure. Throws RequestRefused that names the field. */
export function parseProbe(value: unknown): readonly ProbeTarget[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MOST_TARGETS) throw new RequestRefused("malformed", `probe must be a list of at most ${MOST_TARGETS}`);
  return value.map((target: unknown, index) => parseTarget(target, `probe[${index}]`));
}

function parseTarget(target: unknown, field: string): ProbeTarget {
  const { name, host, port, protocol } = (typeof target === "object" && target !== null ? target : {}) as Readonly<Record<string, unknown>>;
  const refuse = (what: string): RequestRefused => new RequestRefused("malformed", `${field}.${what}`);
  if (!isName(name)) throw refuse(`name must be a text of 1 to ${LONGEST_NAME} characters`);
  if (typeof host !== "string" || isIP(host) === 0) throw refuse("host must be an IP address: a sandbox resolves no name");
  if (!isPort(port)) throw refuse("port must be an integer from 1 to 65535");
  if (protocol !== "tcp" && protocol !== "dns") throw refuse("protocol must be tcp or dns");
  return { name, host, port, protocol };
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= LONGEST_NAME;
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** Each once, under its first name. Pure. Throws RequestRefused when there are too many: none is left out in silence. */
export function mergeTargets(...lists: readonly (readonly ProbeTarget[])[]): readonly ProbeTarget[] {
  const merged = new Map<string, ProbeTarget>();
  for (const target of lists.flat()) {
    const address = new SocketAddress({ address: target.host, port: target.port, family: isIPv6(target.host) ? "ipv6" : "ipv4" });
    const key = `${target.protocol} ${address.address} ${target.port}`;
    if (!merged.has(key)) merged.set(key, target);
  }
  if (merged.size > MOST_TARGETS) throw new RequestRefused("malformed", `probe has ${merged.size} targets together with the tool server's own; at most ${MOST_TARGETS} are tried`);
  return [...merged.values()];
}

/** Tries all at the same time, for about four seconds at most. Rejects when this machine could not ask. */
export async function probe(targets: readonly ProbeTarget[], reach: Reach, times: ProbeTimes = PROBE_TIMES): Promise<IsolationReport> {
  const until = performance.now() + times.patienceMs;
  const tried = await Promise.all(targets.map(async (target) => ({ shown: show(target), isOpen: await isOpen(target, reach, { ...times, until }) })));
  return { probed: tried.map(({ shown }) => shown), open: tried.flatMap(({ shown, isOpen }) => (isOpen ? [shown] : [])) };
}

/** The last try decides. */
async function isOpen(target: ProbeTarget, reach: Reach, { silenceMs, pauseMs, until }: ProbeTimes & { readonly until: number }): Promise<boolean> {
  let open = await reach(target, silenceMs);
  if (!open) return false;
  while (performance.now() < until) {
    await sleep(pauseMs);
    open = await reach(target, silenceMs);
  }
  return open;
}

function show({ name, protocol, host, port }: ProbeTarget): string {
  return `${name} (${protocol} ${isIPv6(host) ? `[${host}]` : host}:${port})`;
}
