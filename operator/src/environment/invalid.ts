import type { EnvironmentReason } from "@paddock/api/conditions";
import type { EnvironmentSpec } from "@paddock/api/environment";
import { parseQuantity } from "@paddock/api/quantity";
import { parseEndpoint } from "./endpoint.ts";

/** What is wrong with a spec that the schema alone cannot see. */
export interface SpecFault {
  readonly reason: Extract<EnvironmentReason, "InvalidReference" | "Invalid">;
  readonly message: string;
}

/** The first fault, or undefined. Pure. */
export function findSpecFault(spec: EnvironmentSpec, privateRanges: readonly string[]): SpecFault | undefined {
  for (const { name, baseURL } of spec.models) {
    const message = explainEndpoint(`spec.models[${name}].baseURL`, baseURL, { spec, privateRanges });
    if (message !== undefined) return { reason: "InvalidReference", message };
  }
  const message = explainResources("spec.runner.resources", spec.runner?.resources) ?? explainResources("spec.sandbox.resources", spec.sandbox?.resources);
  return message === undefined ? undefined : { reason: "Invalid", message };
}

function explainEndpoint(
  field: string, baseURL: string, { spec, privateRanges }: { readonly spec: EnvironmentSpec; readonly privateRanges: readonly string[] },
): string | undefined {
  const endpoint = parseEndpoint(baseURL, privateRanges);
  if (endpoint === undefined) return `${field} "${baseURL}" is not a URL: write one such as https://api.openai.com/v1`;
  if (!endpoint.isInCluster || (spec.network?.inCluster ?? []).length > 0) return undefined;
  return `${field} points to ${endpoint.host} inside the cluster, which runners cannot reach: add a peer to spec.network.inCluster that selects its pods and their ports`;
}

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
