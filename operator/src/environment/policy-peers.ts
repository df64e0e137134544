import type { Environment } from "@paddock/api/environment";
import { LABELS, MANAGED_BY, environmentPolicyName, ownerReference, shorten } from "@paddock/api/names";

/** Selects the runner or sandbox pods of one Environment, within its own namespace. */
export function buildPodSelector(environment: string, component: "runner" | "sandbox") {
  return { matchLabels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: component, [LABELS.environment]: shorten(environment) } };
}

/** Metadata of an Environment's own policy: it goes when the Environment goes. */
export function buildPolicyMeta(environment: Pick<Environment, "apiVersion" | "kind" | "metadata">, component: "runner" | "sandbox") {
  const { name, namespace } = environment.metadata;
  return {
    name: environmentPolicyName(name, component),
    namespace,
    labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: "policy", [LABELS.environment]: shorten(name) },
    ownerReferences: [ownerReference(environment)],
  };
}
