import { BASELINE_POLICY, type Component, LABELS, MANAGED_BY } from "@paddock/api/names";

const PODS: readonly Component[] = ["runner", "sandbox"];

/**
 * Denies every pod of ours all traffic. Without owner and never deleted, so that losing an Environment's policies, which only add
 * allowances, fails closed.
 */
export function buildBaselinePolicy(namespace: string) {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: BASELINE_POLICY, namespace, labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: "policy" } },
    spec: {
      podSelector: {
        matchLabels: { [LABELS.managedBy]: MANAGED_BY },
        matchExpressions: [{ key: LABELS.component, operator: "In", values: PODS }],
      },
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: [],
    },
  };
}
