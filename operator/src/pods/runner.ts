import { GATEWAY_AUDIENCE, runnerPodName } from "@paddock/api/names";
import { buildRunnerFiles } from "./credentials.ts";
import { type PodParts, type PodSpecParts, buildPodMeta, buildSharedSpec, podSpecParts } from "./meta.ts";
import { type ResourceDefaults, buildResources } from "./resources.ts";
import { READ_ONLY_MODE, RUNNER_UID, buildContainerSecurity, buildPodSecurity } from "./security.ts";

const DEFAULTS: ResourceDefaults = {
  requests: { cpu: "50m", memory: "128Mi", "ephemeral-storage": "32Mi" },
  limits: { cpu: "1", memory: "512Mi", "ephemeral-storage": "256Mi" },
};

/** The n-th runner pod of a session: the harness, with the credentials of its frozen Environment as files. Pure. */
export function buildRunnerPod(parts: PodParts, attempt: number, now: Date) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: buildPodMeta(parts, "runner", { name: runnerPodName(parts.session.metadata.name, attempt), isEvictable: true }),
    spec: buildRunnerSpec(podSpecParts(parts, now)),
  };
}

export function buildRunnerSpec(parts: PodSpecParts) {
  const { environment, settings } = parts;
  const files = buildRunnerFiles(environment);
  return {
    ...buildSharedSpec(parts),
    terminationGracePeriodSeconds: 10,
    securityContext: buildPodSecurity(RUNNER_UID),
    containers: [
      {
        name: "runner",
        image: settings.runnerImage,
        imagePullPolicy: settings.imagePullPolicy,
        env: [
          { name: "PADDOCK_GATEWAY_URL", value: settings.gatewayUrl },
          { name: "PADDOCK_GATEWAY_CA", value: settings.gatewayCa },
          { name: "PADDOCK_POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: "PADDOCK_POD_UID", valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } },
          { name: "PADDOCK_PRIVATE_RANGES", value: JSON.stringify(settings.privateRanges) },
          { name: "PADDOCK_CANARIES", value: JSON.stringify(settings.canaries) },
          { name: "PADDOCK_LOG_LEVEL", value: settings.logLevel },
        ],
        resources: buildResources(environment.runner?.resources, DEFAULTS),
        securityContext: buildContainerSecurity(),
        // The last words of a runner that cannot even start are told in status.
        terminationMessagePolicy: "FallbackToLogsOnError",
        volumeMounts: [
          { name: "token", mountPath: "/run/paddock/token", readOnly: true },
          ...files.mounts,
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [buildTokenVolume(), ...files.volumes, { name: "tmp", emptyDir: { sizeLimit: "64Mi" } }],
  };
}

/** A token for the gateway and nobody else, bound to this pod; the kubelet renews it. */
function buildTokenVolume() {
  const token = { serviceAccountToken: { audience: GATEWAY_AUDIENCE, expirationSeconds: 600, path: "token" } };
  return { name: "token", projected: { defaultMode: READ_ONLY_MODE, sources: [token] } };
}
