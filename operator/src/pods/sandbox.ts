import { SANDBOX_PORT, sandboxPodName } from "@paddock/api/names";
import { parseQuantity } from "@paddock/api/quantity";
import { type PodParts, type PodSpecParts, buildPodMeta, buildSharedSpec, podSpecParts } from "./meta.ts";
import { type ResourceDefaults, buildResources } from "./resources.ts";
import { SANDBOX_UID, buildContainerSecurity, buildPodSecurity } from "./security.ts";

const WORKSPACE = "/workspace";
const WORKSPACE_SIZE = "1Gi";
const TMP_SIZE = "256Mi";
const MEBIBYTE = 2 ** 20;

/** What commands leave behind beside the workspace: /tmp and the container's log. */
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
  const { environment, settings } = parts;
  const { image, resources, runtimeClassName, userNamespaces, workspace } = environment.sandbox ?? {};
  const size = String(workspace?.size ?? WORKSPACE_SIZE);
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
        env: [{ name: "PADDOCK_WORKSPACE", value: WORKSPACE }],
        ports: [{ name: "tools", containerPort: SANDBOX_PORT, protocol: "TCP" }],
        resources: buildResources(resources, defaultsFor(size)),
        securityContext: buildContainerSecurity(),
        volumeMounts: [
          { name: "workspace", mountPath: WORKSPACE },
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [
      { name: "workspace", emptyDir: { sizeLimit: size } },
      { name: "tmp", emptyDir: { sizeLimit: TMP_SIZE } },
    ],
  };
}

// The kubelet counts emptyDirs against the container's limit, so that one grows with the workspace.
function defaultsFor(size: string): ResourceDefaults {
  const storage = `${Math.ceil((parseQuantity(size) ?? 0) / MEBIBYTE) + BESIDE_MEBIBYTES}Mi`;
  return {
    requests: { cpu: "100m", memory: "128Mi", "ephemeral-storage": "64Mi" },
    limits: { cpu: "1", memory: "1Gi", "ephemeral-storage": storage },
  };
}
