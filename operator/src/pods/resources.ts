import type { EnvironmentSpec } from "@paddock/api/environment";
import { parseQuantity } from "@paddock/api/quantity";

export type Resources = NonNullable<NonNullable<EnvironmentSpec["runner"]>["resources"]>;

type ResourceName = "cpu" | "memory" | "ephemeral-storage";
type Amounts = Readonly<Record<ResourceName, string>>;

/** Requests and limits of every resource, so that nothing a container uses is unbounded. */
export interface ResourceDefaults {
  readonly requests: Amounts;
  readonly limits: Amounts;
}

/**
 * What the Environment says, completed by defaults. A default gives way to what is said: no default request above a given limit, no
 * default limit below a given request, both of which the API server would refuse. Pure.
 */
export function buildResources(given: Resources | undefined, defaults: ResourceDefaults): ResourceDefaults {
  const request = (name: ResourceName): string => {
    const limit = textOf(given?.limits?.[name]);
    return textOf(given?.requests?.[name]) ?? (limit !== undefined && isLess(limit, defaults.requests[name]) ? limit : defaults.requests[name]);
  };
  const limit = (name: ResourceName): string => {
    const asked = textOf(given?.requests?.[name]);
    return textOf(given?.limits?.[name]) ?? (asked !== undefined && isLess(defaults.limits[name], asked) ? asked : defaults.limits[name]);
  };
  return { requests: amountsOf(request), limits: amountsOf(limit) };
}

function amountsOf(amount: (name: ResourceName) => string): Amounts {
  return { cpu: amount("cpu"), memory: amount("memory"), "ephemeral-storage": amount("ephemeral-storage") };
}

// An unquoted `cpu: 1` arrives as a number.
function textOf(quantity: string | number | undefined): string | undefined {
  return quantity === undefined ? undefined : String(quantity);
}

function isLess(a: string, b: string): boolean {
  return (parseQuantity(a) ?? 0) < (parseQuantity(b) ?? 0);
}
