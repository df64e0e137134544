import type { Environment } from "@paddock/api/environment";
import { SANDBOX_PORT } from "@paddock/api/names";
import { buildPodSelector, buildPolicyMeta } from "./policy-peers.ts";

/** Sandbox pods: runners of the same Environment dial in, nothing goes out. */
export function buildSandboxPolicy(environment: Pick<Environment, "apiVersion" | "kind" | "metadata">) {
  const { name } = environment.metadata;
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: buildPolicyMeta(environment, "sandbox"),
    spec: {
      podSelector: buildPodSelector(name, "sandbox"),
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: [{ podSelector: buildPodSelector(name, "runner") }], ports: [{ protocol: "TCP", port: SANDBOX_PORT }] }],
      egress: [],
    },
  };
}
