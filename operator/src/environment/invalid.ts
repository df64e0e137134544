import { isIP } from "node:net";
import type { Environment, EnvironmentSpec } from "@paddock/api/environment";
import { parseQuantity } from "@paddock/api/quantity";
import type { Obstacle } from "./claim.ts";
import { parseEndpoint } from "./endpoint.ts";

/** The first thing wrong with a spec that the schema alone cannot see, or undefined. Pure. */
export function findSpecFault({ metadata, spec }: Pick<Environment, "metadata" | "spec">, privateRanges: readonly string[]): Obstacle | undefined {
  for (const { name, baseURL } of spec.models) {
    const message = explainEndpoint(`spec.models[${name}].baseURL`, baseURL, { namespace: metadata.namespace, spec, privateRanges });
    if (message !== undefined) return { reason: "InvalidReference", message };
  }
  const message = explainResources("spec.runner.resources", spec.runner?.resources) ?? explainResources("spec.sandbox.resources", spec.sandbox?.resources);
  return message === undefined ? undefined : { reason: "Invalid", message };
}

interface Surroundings {
  readonly namespace: string;
  readonly spec: EnvironmentSpec;
  readonly privateRanges: readonly string[];
}

function explainEndpoint(field: string, baseURL: string, { namespace, spec, privateRanges }: Surroundings): string | undefined {
  const endpoint = parseEndpoint(baseURL, privateRanges);
  if (endpoint === undefined) return `${field} "${baseURL}" is not a URL: write one such as https://api.openai.com/v1`;
  if (endpoint.host === "localhost") return `${field} "${baseURL}" points to the runner pod itself, where nothing listens: write the address of the endpoint`;
  if (!endpoint.isInCluster) return undefined;
  const peers = spec.network?.inCluster ?? [];
  const where = namespaceOf(endpoint.host, namespace);
  if (where === undefined ? peers.length > 0 : peers.some((peer) => maySelect(peer, where, namespace))) return undefined;
  const labels = where === undefined ? "" : `, with namespaceSelector.matchLabels {${NAMESPACE_LABEL}: ${where}}`;
  return `${field} points to ${endpoint.host} inside the cluster, which runners cannot reach: add a peer to spec.network.inCluster that selects its pods and their ports${labels}`;
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
