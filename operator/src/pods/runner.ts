import { posix } from "node:path";
import type { ModelEndpoint } from "@paddock/api/environment";
import { GATEWAY_AUDIENCE, credentialPath, modelCredential, runnerPodName, shorten } from "@paddock/api/names";
import { type PodParts, type PodSpecParts, buildPodMeta, buildSharedSpec, podSpecParts } from "./meta.ts";
import { type ResourceDefaults, buildResources } from "./resources.ts";
import { READ_ONLY_MODE, RUNNER_UID, buildContainerSecurity, buildPodSecurity } from "./security.ts";

const DEFAULTS: ResourceDefaults = {
  requests: { cpu: "50m", memory: "128Mi", "ephemeral-storage": "32Mi" },
  limits: { cpu: "1", memory: "512Mi", "ephemeral-storage": "256Mi" },
};

/** The n-th runner pod of a session: the harness, with the credentials of its frozen Environment's models as files. Pure. */
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
  const credentials = environment.models.flatMap(buildCredential);
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
          { name: "PADDOCK_LOG_LEVEL", value: settings.logLevel },
        ],
        resources: buildResources(environment.runner?.resources, DEFAULTS),
        securityContext: buildContainerSecurity(),
        // The last words of a runner that cannot even start are told in status.
        terminationMessagePolicy: "FallbackToLogsOnError",
        volumeMounts: [
          { name: "token", mountPath: "/run/paddock/token", readOnly: true },
          ...credentials.map(({ mount }) => mount),
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [buildTokenVolume(), ...credentials.map(({ volume }) => volume), { name: "tmp", emptyDir: { sizeLimit: "64Mi" } }],
  };
}

/** A token for the gateway and nobody else, bound to this pod; the kubelet renews it. */
function buildTokenVolume() {
  const token = { serviceAccountToken: { audience: GATEWAY_AUDIENCE, expirationSeconds: 600, path: "token" } };
  return { name: "token", projected: { defaultMode: READ_ONLY_MODE, sources: [token] } };
}

// A whole directory, so that a rotated Secret arrives; optional, so that the runner itself can say what is missing.
function buildCredential({ name, apiKey }: ModelEndpoint) {
  if (apiKey === undefined) return [];
  const credential = modelCredential(name);
  const path = credentialPath(credential);
  const volume = shorten(credential);
  return [
    {
      mount: { name: volume, mountPath: posix.dirname(path), readOnly: true },
      volume: {
        name: volume,
        secret: { secretName: apiKey.secretKeyRef.name, optional: true, defaultMode: READ_ONLY_MODE, items: [{ key: apiKey.secretKeyRef.key, path: posix.basename(path) }] },
      },
    },
  ];
}
