import type { Environment, EnvironmentSpec } from "@paddock/api/environment";
import { SANDBOX_PORT } from "@paddock/api/names";
import { explainAddresses } from "@paddock/api/addresses";
import { EGRESS_DEFAULTS } from "@paddock/api/egress";
import type { AllowedHost } from "@paddock/api/network";
import type { LabelSelector } from "@paddock/api/refs";
import type { NetworkPolicyPeer, Settings } from "../settings.ts";
import { isService, parseEndpoint } from "./endpoint.ts";
import { buildPodSelector, buildPolicyMeta } from "./policy-peers.ts";

/** The gateway's port in its pods, and the labels the chart gives them. */
const GATEWAY_PORT = 8443;
const GATEWAY_LABELS = { "app.kubernetes.io/name": "paddock", "app.kubernetes.io/component": "gateway" };
const NAMESPACE_LABEL = "kubernetes.io/metadata.name";

/** What the policy depends on; nothing else of the settings changes it. */
export type RunnerPolicySettings = Pick<Settings, "releaseNamespace" | "dnsPeers" | "privateRanges">;

/**
 * Runner pods: gateway, DNS, sandboxes of the same Environment, public addresses on the ports of the models' endpoints and of allowed hosts, and the
 * networks and pods that the Environment names. Nothing comes in.
 */
export function buildRunnerPolicy(environment: Pick<Environment, "apiVersion" | "kind" | "metadata" | "spec">, settings: RunnerPolicySettings) {
  const { metadata, spec } = environment;
  const gateway = { namespaceSelector: { matchLabels: { [NAMESPACE_LABEL]: settings.releaseNamespace } }, podSelector: { matchLabels: GATEWAY_LABELS } };
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: buildPolicyMeta(environment, "runner"),
    spec: {
      podSelector: buildPodSelector(metadata.name, "runner"),
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: [
        allow([gateway], tcp([GATEWAY_PORT])),
        allow(settings.dnsPeers, [{ protocol: "UDP", port: 53 }, { protocol: "TCP", port: 53 }]),
        allow([{ podSelector: buildPodSelector(metadata.name, "sandbox") }], tcp([SANDBOX_PORT])),
        allow(publicPeers(settings.privateRanges), tcp(publicPorts(spec, settings.privateRanges))),
        ...hostAddresses(spec).map(({ peers, ports }) => allow(peers, tcp(ports))),
        ...(spec.network?.inCluster ?? []).map((peer) => allow([clusterPeer(peer)], tcp(peer.ports))),
      ].flat(),
    },
  };
}

interface Port {
  readonly protocol: "TCP" | "UDP";
  readonly port: number;
}

// To Kubernetes an empty list of peers or ports means all of them; to us it means that there is nothing to allow.
function allow(to: readonly NetworkPolicyPeer[], ports: readonly Port[]): { readonly to: readonly NetworkPolicyPeer[]; readonly ports: readonly Port[] }[] {
  return to.length === 0 || ports.length === 0 ? [] : [{ to, ports }];
}

function tcp(ports: readonly number[]): readonly Port[] {
  return ports.map((port) => ({ protocol: "TCP", port }));
}

function publicPeers(privateRanges: readonly string[]): readonly NetworkPolicyPeer[] {
  const isV6 = (cidr: string): boolean => cidr.includes(":");
  return [
    { ipBlock: { cidr: "0.0.0.0/0", except: privateRanges.filter((cidr) => !isV6(cidr)) } },
    { ipBlock: { cidr: "::/0", except: privateRanges.filter(isV6) } },
  ];
}

function publicPorts(spec: EnvironmentSpec, privateRanges: readonly string[]): readonly number[] {
  const endpoints = spec.models.flatMap(({ baseURL }) => parseEndpoint(baseURL, privateRanges) ?? []);
  const ports = [...endpoints.filter(({ isInCluster }) => !isInCluster).map(({ port }) => port), ...outsideHosts(spec).flatMap(portsOf)];
  return [...new Set(ports)].sort((a, b) => a - b);
}

/** Networks besides the public ones that hosts may stand for, each on the ports of its entry only. What is no such network is told elsewhere, and opens nothing. */
function hostAddresses(spec: EnvironmentSpec): readonly { readonly peers: readonly NetworkPolicyPeer[]; readonly ports: readonly number[] }[] {
  return outsideHosts(spec).map((entry) => ({
    peers: (entry.addresses ?? []).filter((cidr) => explainAddresses(cidr) === undefined).map((cidr) => ({ ipBlock: { cidr } })),
    ports: portsOf(entry),
  }));
}

/** A Service is reached through the peer that selects its pods, and needs nothing else. */
function outsideHosts({ network }: EnvironmentSpec): readonly AllowedHost[] {
  return (network?.allowedHosts ?? []).filter(({ host }) => !isService(host));
}

function portsOf({ ports }: AllowedHost): readonly number[] {
  return [...(ports ?? EGRESS_DEFAULTS.ports)].sort((a, b) => a - b);
}

type ClusterPeer = NonNullable<NonNullable<EnvironmentSpec["network"]>["inCluster"]>[number];

// Without either selector a peer would be empty, which the API server refuses; both absent mean every pod of the own namespace.
function clusterPeer({ namespaceSelector, podSelector }: ClusterPeer): NetworkPolicyPeer {
  if (namespaceSelector === undefined) return { podSelector: buildSelector(podSelector ?? {}) };
  return { namespaceSelector: buildSelector(namespaceSelector), ...(podSelector === undefined ? {} : { podSelector: buildSelector(podSelector) }) };
}

function buildSelector({ matchLabels }: LabelSelector): { readonly matchLabels?: Readonly<Record<string, string>> } {
  return matchLabels === undefined ? {} : { matchLabels };
}
