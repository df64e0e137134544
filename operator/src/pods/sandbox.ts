import { SANDBOX_PORT, SANDBOX_TRUST_DIRECTORY, sandboxPodName } from "@paddock/api/names";
import { parseQuantity } from "@paddock/api/quantity";
import { type PodParts, type PodSpecParts, buildPodMeta, buildSharedSpec, podSpecParts } from "./meta.ts";
import { type ResourceDefaults, buildResources } from "./resources.ts";
import { SANDBOX_UID, buildContainerSecurity, buildPodSecurity } from "./security.ts";
import { workspaceOf } from "./workspace.ts";

const WORKSPACE = "/workspace";
const TMP_SIZE = "256Mi";
/** The image's certificates and those of the session, several times over. */
const TRUST_SIZE = "4Mi";
const MEBIBYTE = 2 ** 20;

/** What commands leave behind beside the workspace: /tmp, certificates and the container's log. */
const BESIDE_MEBIBYTES = 512;

/** The n-th sandbox pod of a session: where model-written commands run. It gets no secret, no token and no resolver. Pure. */
export function buildSandboxPod(parts: PodParts, n: number, now: Date) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: buildPodMeta(parts, "sandbox", { name: sandboxPodName(parts.session.metadata.name, n), isEvictable: false }),
    spec: buildSandboxSpec(podSpecParts(parts, now)),
  };
}

export function buildSandboxSpec(parts: PodSpecParts) {
  const { environment, settings, workspaceClaim } = parts;
  const { image, resources, runtimeClassName, userNamespaces } = environment.sandbox ?? {};
  const { size, isKept } = workspaceOf(environment);
  return {
    ...buildSharedSpec(parts),
    terminationGracePeriodSeconds: 2,
    // Nothing listens there: no name is resolved in a sandbox.
    dnsPolicy: "None",
    dnsConfig: { nameservers: ["127.0.0.1"] },
    ...(runtimeClassName === undefined ? {} : { runtimeClassName }),
    ...(userNamespaces === true ? { hostUsers: false } : {}),
    securityContext: buildPodSecurity(SANDBOX_UID),
    containers: [
      {
        name: "sandbox",
        image: image ?? settings.sandboxImage,
        imagePullPolicy: settings.imagePullPolicy,
        env: [
          { name: "PADDOCK_WORKSPACE", value: WORKSPACE },
          // For the probe: what it must not reach on its own node.
          { name: "PADDOCK_HOST_IP", valueFrom: { fieldRef: { fieldPath: "status.hostIP" } } },
        ],
        ports: [{ name: "tools", containerPort: SANDBOX_PORT, protocol: "TCP" }],
        resources: buildResources(resources, defaultsFor(isKept ? 0 : (parseQuantity(size) ?? 0))),
        securityContext: buildContainerSecurity(),
        volumeMounts: [
          { name: "workspace", mountPath: WORKSPACE },
          { name: "tmp", mountPath: "/tmp" },
          { name: "trust", mountPath: SANDBOX_TRUST_DIRECTORY },
        ],
      },
    ],
    volumes: [
      { name: "workspace", ...(isKept ? { persistentVolumeClaim: { claimName: workspaceClaim } } : { emptyDir: { sizeLimit: size } }) },
      { name: "tmp", emptyDir: { sizeLimit: TMP_SIZE } },
      { name: "trust", emptyDir: { sizeLimit: TRUST_SIZE } },
    ],
  };
}

// The kubelet counts emptyDirs against the container's limit, so that one grows with a workspace that is no volume of its own.
function defaultsFor(workspaceBytes: number): ResourceDefaults {
  const storage = `${Math.ceil(workspaceBytes / MEBIBYTE) + BESIDE_MEBIBYTES}Mi`;
  return {
    requests: { cpu: "100m", memory: "128Mi", "ephemeral-storage": "64Mi" },
    limits: { cpu: "1", memory: "1Gi", "ephemeral-storage": storage },
  };
}
