import { isIP } from "node:net";
import { explainAddresses } from "@paddock/api/addresses";
import type { Environment, EnvironmentSpec } from "@paddock/api/environment";
import type { AllowedHost } from "@paddock/api/network";
import { parseQuantity } from "@paddock/api/quantity";
import type { Obstacle } from "./claim.ts";
import { isService, parseEndpoint } from "./endpoint.ts";

/** The first thing wrong with a spec that the schema alone cannot see, or undefined. Pure. */
export function findSpecFault({ metadata, spec }: Pick<Environment, "metadata" | "spec">, privateRanges: readonly string[]): Obstacle | undefined {
  const reference = findReferenceFault({ namespace: metadata.namespace, spec, privateRanges });
  if (reference !== undefined) return { reason: "InvalidReference", message: reference };
  const message = explainResources("spec.runner.resources", spec.runner?.resources) ?? explainResources("spec.sandbox.resources", spec.sandbox?.resources);
  return message === undefined ? undefined : { reason: "Invalid", message };
}

function findReferenceFault(surroundings: Surroundings): string | undefined {
  const { models, network } = surroundings.spec;
  const faults = [
    ...models.map(({ name, baseURL }) => explainEndpoint(`spec.models[${name}].baseURL`, baseURL, surroundings)),
    ...(network?.allowedHosts ?? []).map((entry, index) => explainHost(`spec.network.allowedHosts[${index}]`, entry, surroundings)),
  ];
  return faults.find((fault) => fault !== undefined);
}

function explainHost(field: string, { host, addresses = [] }: AllowedHost, surroundings: Surroundings): string | undefined {
  const fault = isService(host) ? explainPeer(`${field}.host`, host, surroundings) : undefined;
  if (fault !== undefined) return fault;
  const wrong = addresses.map(explainAddresses).find((text) => text !== undefined);
  return wrong === undefined ? undefined : `${field}.addresses of ${host}: ${wrong}`;
}

interface Surroundings {
  readonly namespace: string;
  readonly spec: EnvironmentSpec;
  readonly privateRanges: readonly string[];
}

function explainEndpoint(field: string, baseURL: string, surroundings: Surroundings): string | undefined {
  const endpoint = parseEndpoint(baseURL, surroundings.privateRanges);
  if (endpoint === undefined) return `${field} "${baseURL}" is not a URL: write one such as https://api.openai.com/v1`;
  if (endpoint.host === "localhost") return `${field} "${baseURL}" points to the runner pod itself, where nothing listens: write the address of the endpoint`;
  return endpoint.isInCluster ? explainPeer(field, endpoint.host, surroundings) : undefined;
}

/** What is inside the cluster is reached only through a peer that may select it. */
function explainPeer(field: string, host: string, { namespace, spec }: Surroundings): string | undefined {
  const peers = spec.network?.inCluster ?? [];
  const where = namespaceOf(host, namespace);
  if (where === undefined ? peers.length > 0 : peers.some((peer) => maySelect(peer, where, namespace))) return undefined;
  const labels = where === undefined ? "" : `, with namespaceSelector.matchLabels {${NAMESPACE_LABEL}: ${where}}`;
  return `${field} points to ${host} inside the cluster, which runners cannot reach: add a peer to spec.network.inCluster that selects its pods and their ports${labels}`;
}

const NAMESPACE_LABEL = "kubernetes.io/metadata.name";

/** Namespace of a Service by its name: `name`, `name.namespace.svc`, with the cluster's domain or not; undefined for an address. */
function namespaceOf(host: string, own: string): string | undefined {
  if (isIP(host) !== 0) return undefined;
  const labels = host.split(".");
  const svc = labels.indexOf("svc");
  return svc < 1 ? own : labels[svc - 1];
}

// What other labels a namespace has is not known here: only its name's own label can rule a peer out.
function maySelect({ namespaceSelector }: Peer, namespace: string, own: string): boolean {
  if (namespaceSelector === undefined) return namespace === own;
  const name = namespaceSelector.matchLabels?.[NAMESPACE_LABEL];
  return name === undefined || name === namespace;
}

type Peer = NonNullable<NonNullable<EnvironmentSpec["network"]>["inCluster"]>[number];
type Resources = NonNullable<NonNullable<EnvironmentSpec["runner"]>["resources"]>;

function explainResources(field: string, resources: Resources | undefined): string | undefined {
  const { requests, limits } = resources ?? {};
  for (const name of ["cpu", "memory", "ephemeral-storage"] as const) {
    const request = requests?.[name];
    const limit = limits?.[name];
    if (request === undefined || limit === undefined || !isMore(request, limit)) continue;
    return `${field}: requests.${name} ${request} is more than limits.${name} ${limit}: raise the limit or lower the request`;
  }
  return undefined;
}

// What is no quantity at all was refused by the schema.
function isMore(request: string | number, limit: string | number): boolean {
  return (parseQuantity(request) ?? 0) > (parseQuantity(limit) ?? Infinity);
}
