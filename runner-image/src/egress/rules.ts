import type { AllowedHost, Credential, Network } from "@paddock/api/network";
import { EGRESS_DEFAULTS } from "@paddock/api/egress";
import { readRanges } from "./address.ts";
import type { Ranges } from "./address.ts";

/** The part of an Environment that the proxy reads, as it was when the session started. */
export interface EgressEnvironment {
  readonly name: string;
  readonly spec: { readonly network?: Network | undefined; readonly credentials?: readonly Credential[] | undefined };
}

/** One entry of allowedHosts, ready to be asked. `name` as events and messages have it, e.g. `network.allowedHosts[2]`. */
export interface EgressEntry {
  readonly name: string;
  readonly host: string;
  readonly ports: readonly number[];
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly string[] | undefined;
  /** Addresses outside the internet that the name may stand for. */
  readonly addresses: Ranges;
}

/** What the proxy of one session goes by. */
export interface EgressPolicy {
  readonly environment: string;
  readonly entries: readonly EgressEntry[];
  /** Every host pattern that a credential names. */
  readonly credentialHosts: readonly string[];
  /** Addresses that are not the internet, besides those that never are. */
  readonly privateRanges: Ranges;
}

/** The rules of an Environment. `privateRanges`: CIDRs of the chart's network.privateRanges; throws a RangeError for one that is none, there or in the Environment. Pure. */
export function readPolicy({ name, spec }: EgressEnvironment, privateRanges: readonly string[]): EgressPolicy {
  return {
    environment: name,
    entries: (spec.network?.allowedHosts ?? []).map(readEntry),
    credentialHosts: (spec.credentials ?? []).flatMap(({ hosts }) => hosts),
    privateRanges: readRanges("privateRanges", privateRanges),
  };
}

function readEntry({ host, ports, methods, paths, addresses }: AllowedHost, place: number): EgressEntry {
  const name = `network.allowedHosts[${place}]`;
  return { name, host, ports: ports ?? EGRESS_DEFAULTS.ports, methods, paths, addresses: readRanges(`${name}.addresses`, addresses ?? []) };
}

/** Whether a pattern, a name or `*.` and a domain, covers a host. The domain itself is not below itself. Pure. */
export function isCovered(pattern: string, host: string): boolean {
  if (!pattern.startsWith("*.")) return pattern === host;
  return host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

/** A Service of the cluster: its name stands for private addresses, and the network policy opens the peers that the Environment names. Pure. */
export function isServiceName(host: string): boolean {
  return host.endsWith(".svc") || host.endsWith(".svc.cluster.local");
}
