import type { Environment } from "@paddock/api/environment";
import { LABELS, MANAGED_BY, ownerReference, runnerPodName, sandboxPodName, shorten, workspaceClaimName } from "@paddock/api/names";
import type { Manifest } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import { buildRunnerSpec } from "./runner.ts";
import { buildSandboxSpec } from "./sandbox.ts";

/**
 * The pods that a session of the Environment would get, for dry runs: only the names, the owner and the labels of a session differ. The sandbox comes
 * first: it has all that can be wrong with the runner, and a runtime class besides. Without hands there is no sandbox. Pure.
 */
export function buildPreflightPods(environment: Pick<Environment, "apiVersion" | "kind" | "metadata" | "spec">, settings: Settings): readonly Manifest[] {
  const { metadata, spec } = environment;
  const parts = { environment: spec, settings, workspaceClaim: workspaceClaimName(metadata.name), activeDeadlineSeconds: 60 };
  const metaOf = (component: "runner" | "sandbox", name: string) => ({
    name,
    namespace: metadata.namespace,
    labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: component, [LABELS.environment]: shorten(metadata.name) },
    ownerReferences: [ownerReference(environment)],
  });
  // Sessions count their pods from 1.
  const sandbox = { apiVersion: "v1", kind: "Pod", metadata: metaOf("sandbox", sandboxPodName(metadata.name, 0)), spec: buildSandboxSpec(parts) };
  const runner = { apiVersion: "v1", kind: "Pod", metadata: metaOf("runner", runnerPodName(metadata.name, 0)), spec: buildRunnerSpec(parts) };
  return spec.sandbox?.provisioning === "Never" ? [runner] : [sandbox, runner];
}
