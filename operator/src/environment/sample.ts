import type { EnvironmentReason } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import type { ObjectMeta } from "@paddock/api/object";
import type { Manifest } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import type { EnvironmentWorld } from "./observe.ts";
import { buildBaselinePolicy } from "./policy-baseline.ts";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { buildServiceAccount } from "./service-account.ts";

// Values that tests of this folder start from.

export const CREATED = "2026-11-21T12:00:00Z";

export const settings: Settings = {
  runnerImage: "ghcr.io/paddock/runner:0.1.0",
  sandboxImage: "ghcr.io/paddock/sandbox:0.1.0",
  imagePullPolicy: "IfNotPresent",
  gatewayUrl: "https://paddock-gateway.paddock-system.svc:8443",
  gatewayCa: "",
  dnsPeers: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } }, podSelector: { matchLabels: { "k8s-app": "kube-dns" } } }],
  privateRanges: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"],
  canaries: [],
  releaseNamespace: "paddock-system",
  propagatedLabels: [],
  logLevel: "info",
};

export function environment(spec: Partial<Environment["spec"]> = {}, metadata: Partial<ObjectMeta> = {}): Environment {
  return {
    apiVersion: "paddock.dev/v1alpha1",
    kind: "Environment",
    metadata: { name: "standard", namespace: "demo", uid: "environment-uid", resourceVersion: "1", generation: 1, creationTimestamp: CREATED, ...metadata },
    spec: { models: [{ name: "default", model: "gpt-5.2", baseURL: "https://api.openai.com/v1" }], ...spec },
  };
}

export function world(change: Partial<EnvironmentWorld> = {}): EnvironmentWorld {
  return {
    self: environment(),
    settings,
    account: undefined,
    baseline: undefined,
    runnerPolicy: undefined,
    sandboxPolicy: undefined,
    policies: [],
    labelledPods: [],
    admission: { trusted: true, problems: [] },
    waiting: [],
    probes: { open: [], clean: [] },
    told: { budget: undefined },
    ...change,
  };
}

/** A manifest as the cache shows it once it stands. */
export function standing<T extends Manifest>({ metadata, ...rest }: T): Omit<T, "metadata"> & { readonly metadata: ObjectMeta } {
  return { ...rest, metadata: { ...metadata, uid: `uid-of-${metadata.name}`, resourceVersion: "1", creationTimestamp: CREATED } };
}

/** Everything stands as built for this Environment. */
export function complete(self = environment(), change: Partial<EnvironmentWorld> = {}): EnvironmentWorld {
  return world({
    self,
    account: standing(buildServiceAccount("demo")),
    baseline: standing(buildBaselinePolicy("demo")),
    runnerPolicy: standing(buildRunnerPolicy(self, settings)),
    sandboxPolicy: standing(buildSandboxPolicy(self)),
    ...change,
  });
}

/** The Environment with a status that says `reason`, since CREATED. */
export function told(self: Environment, reason: EnvironmentReason, { abnormal, generation = 1 }: { readonly abnormal?: "Reconciling" | "Stalled"; readonly generation?: number } = {}): Environment {
  const status = reason === "Available" ? "True" : "False";
  const said = { reason, message: "", observedGeneration: generation, lastTransitionTime: CREATED };
  const conditions = [{ type: "Ready", status, ...said } as const, ...(abnormal === undefined ? [] : [{ type: abnormal, status: "True", ...said } as const])];
  return { ...self, status: { observedGeneration: generation, conditions } };
}
