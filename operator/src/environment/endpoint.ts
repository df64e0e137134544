import { BlockList, isIP } from "node:net";

/** Where a model's `baseURL` points. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** The address is inside the cluster or otherwise private: no public peer of the runners' policy covers it. */
  readonly isInCluster: boolean;
}

/** undefined when the URL cannot be parsed. `privateRanges`: CIDRs. Pure. */
export function parseEndpoint(baseURL: string, privateRanges: readonly string[]): Endpoint | undefined {
  if (!URL.canParse(baseURL)) return undefined;
  const url = new URL(baseURL);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  if (host === "" || url.port === "0") return undefined;
  return { host, port: url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port), isInCluster: isInCluster(host, privateRanges) };
}

/** A Service's name, whose pods only an in-cluster peer lets runners reach. Pure. */
export function isService(host: string): boolean {
  return host.endsWith(".svc") || host.endsWith(".svc.cluster.local");
}

function isInCluster(host: string, privateRanges: readonly string[]): boolean {
  if (isIP(host) !== 0) return isPrivate(host, privateRanges);
  return !host.includes(".") || isService(host);
}

function isPrivate(address: string, privateRanges: readonly string[]): boolean {
  const ranges = new BlockList();
  for (const cidr of privateRanges) {
    const [network = "", prefix] = cidr.split("/");
    ranges.addSubnet(network, Number(prefix), network.includes(":") ? "ipv6" : "ipv4");
  }
  return ranges.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
