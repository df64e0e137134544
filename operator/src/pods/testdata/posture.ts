import { parseQuantity } from "@paddock/api/quantity";

// What the design asks of every pod of Paddock's (isolation, "Pods"), as rules over plain manifests. Rules of COMMON hold for all pods there are, those of
// the chart too; the others for the pods that sessions run in. Each rule has a control: a change of a good pod that breaks this rule.

/** A pod as a manifest, as deep as rules look at it. */
export interface PostureVolume {
  readonly name: string;
  readonly [source: string]: unknown;
}
export interface PostureContainer {
  readonly name: string;
  readonly image: string;
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: Readonly<Record<string, unknown>> }[];
  readonly envFrom?: readonly unknown[];
  readonly ports?: readonly { readonly containerPort: number; readonly hostPort?: number }[];
  readonly resources?: { readonly requests?: Readonly<Record<string, string>>; readonly limits?: Readonly<Record<string, string>> };
  readonly securityContext?: Readonly<Record<string, unknown>> & { readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] } };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}
export interface PosturePod {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly controller?: boolean; readonly blockOwnerDeletion?: boolean }[];
  };
  readonly spec: {
    readonly containers: readonly PostureContainer[];
    readonly initContainers?: readonly PostureContainer[];
    readonly volumes?: readonly PostureVolume[];
    readonly securityContext?: Readonly<Record<string, unknown>>;
    readonly serviceAccountName?: string;
    readonly [field: string]: unknown;
  };
}

export interface PostureRule {
  readonly name: string;
  holds(pod: PosturePod): boolean;
  /** Breaks this rule in a pod that keeps all of them. */
  readonly control: (pod: PosturePod) => PosturePod;
}

type Container = PostureContainer;

const containersOf = ({ spec }: PosturePod): readonly Container[] => [...spec.containers, ...(spec.initContainers ?? [])];
const volumesOf = ({ spec }: PosturePod): readonly PostureVolume[] => spec.volumes ?? [];
const envOf = (pod: PosturePod) => containersOf(pod).flatMap(({ env = [] }) => env);
const AMOUNTS = ["cpu", "memory", "ephemeral-storage"];
const isAmount = (quantity: string | undefined): boolean => quantity !== undefined && (parseQuantity(quantity) ?? 0) > 0;

const withSpec = (change: Readonly<Record<string, unknown>>) => (pod: PosturePod): PosturePod => ({ ...pod, spec: { ...pod.spec, ...change } });
const withMeta = (change: Partial<PosturePod["metadata"]>) => (pod: PosturePod): PosturePod => ({ ...pod, metadata: { ...pod.metadata, ...change } });
const withContainer = (change: (container: Container) => Partial<Container>) => (pod: PosturePod): PosturePod =>
  withSpec({ containers: pod.spec.containers.map((container) => ({ ...container, ...change(container) })) })(pod);
const withSecurity = (change: Readonly<Record<string, unknown>>) => withContainer(({ securityContext }) => ({ securityContext: { ...securityContext, ...change } }));
const withPodSecurity = (change: Readonly<Record<string, unknown>>) => (pod: PosturePod): PosturePod => withSpec({ securityContext: { ...pod.spec.securityContext, ...change } })(pod);
const withVolume = (volume: PostureVolume) => (pod: PosturePod): PosturePod => withSpec({ volumes: [...volumesOf(pod), volume] })(pod);
const withEnv = (variable: NonNullable<Container["env"]>[number]) => withContainer(({ env = [] }) => ({ env: [...env, variable] }));

/** `path` of a container's security context, or of its pod's where the container says nothing. */
const securityOf = (pod: PosturePod, { securityContext }: Container, path: string): unknown => securityContext?.[path] ?? pod.spec.securityContext?.[path];

function rule(name: string, holds: PostureRule["holds"], control: PostureRule["control"]): PostureRule {
  return { name, holds, control };
}

function everyContainer(name: string, holds: (container: Container, pod: PosturePod) => boolean, control: PostureRule["control"]): PostureRule {
  return rule(name, (pod) => pod.spec.containers.length > 0 && containersOf(pod).every((container) => holds(container, pod)), control);
}

export const COMMON: readonly PostureRule[] = [
  everyContainer("non-root by number", (container, pod) => securityOf(pod, container, "runAsNonRoot") === true && Number(securityOf(pod, container, "runAsUser")) > 0, withSecurity({ runAsUser: 0 })),
  everyContainer("non-root is held to", (container, pod) => securityOf(pod, container, "runAsNonRoot") === true, (pod) => withSecurity({ runAsNonRoot: false })(withPodSecurity({ runAsNonRoot: false })(pod))),
  everyContainer("no capability", ({ securityContext }) => securityContext?.capabilities?.drop?.includes("ALL") === true && (securityContext.capabilities.add ?? []).length === 0, withSecurity({ capabilities: { drop: ["ALL"], add: ["NET_RAW"] } })),
  everyContainer("capabilities are dropped", ({ securityContext }) => securityContext?.capabilities?.drop?.includes("ALL") === true, withSecurity({ capabilities: {} })),
  everyContainer("no privilege escalation", ({ securityContext }) => securityContext?.["allowPrivilegeEscalation"] === false, withSecurity({ allowPrivilegeEscalation: true })),
  everyContainer("not privileged", ({ securityContext }) => securityContext?.["privileged"] !== true, withSecurity({ privileged: true })),
  everyContainer("masked /proc", ({ securityContext }) => securityContext?.["procMount"] === undefined, withSecurity({ procMount: "Unmasked" })),
  everyContainer("read-only root", ({ securityContext }) => securityContext?.["readOnlyRootFilesystem"] === true, withSecurity({ readOnlyRootFilesystem: false })),
  everyContainer("seccomp RuntimeDefault", (container, pod) => (securityOf(pod, container, "seccompProfile") as { readonly type?: string } | undefined)?.type === "RuntimeDefault", withPodSecurity({ seccompProfile: { type: "Unconfined" } })),
  everyContainer("requests of CPU, memory and storage", ({ resources }) => AMOUNTS.every((name) => isAmount(resources?.requests?.[name])), withContainer(({ resources }) => ({ resources: { ...resources, requests: {} } }))),
  everyContainer("limits of CPU, memory and storage", ({ resources }) => AMOUNTS.every((name) => isAmount(resources?.limits?.[name])), withContainer(({ resources }) => ({ resources: { ...resources, limits: { cpu: "1", memory: "1Gi" } } }))),
  everyContainer("no request above its limit", ({ resources }) => AMOUNTS.every((name) => (parseQuantity(resources?.requests?.[name] ?? "") ?? 0) <= (parseQuantity(resources?.limits?.[name] ?? "") ?? 0)), withContainer(({ resources }) => ({ resources: { ...resources, requests: { ...resources?.requests, cpu: "1000000" } } }))),
  everyContainer("no port of the node", ({ ports = [] }) => ports.every(({ hostPort }) => hostPort === undefined), withContainer(() => ({ ports: [{ containerPort: 1, hostPort: 1 }] }))),
  ...["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"].map((field) => rule(`no ${field}`, ({ spec }) => spec[field] !== true, withSpec({ [field]: true }))),
  rule("nothing of the node is mounted", (pod) => volumesOf(pod).every((volume) => volume["hostPath"] === undefined), withVolume({ name: "node", hostPath: { path: "/" } })),
  rule("no Secret in the environment", (pod) => containersOf(pod).every(({ envFrom = [] }) => envFrom.length === 0) && envOf(pod).every(({ valueFrom }) => valueFrom?.["secretKeyRef"] === undefined), withEnv({ name: "KEY", valueFrom: { secretKeyRef: { name: "s", key: "k" } } })),
  rule("no service links", ({ spec }) => spec["enableServiceLinks"] === false, withSpec({ enableServiceLinks: true })),
  rule("empty directories are bounded", (pod) => volumesOf(pod).every(({ emptyDir }) => emptyDir === undefined || isAmount((emptyDir as { readonly sizeLimit?: string }).sizeLimit)), withVolume({ name: "more", emptyDir: {} })),
  rule("no token of the account by default", ({ spec }) => spec["automountServiceAccountToken"] === false, withSpec({ automountServiceAccountToken: true })),
];

const isEvictable = (expected: string): PostureRule =>
  rule("says whether it may be evicted", ({ metadata }) => metadata.annotations?.["cluster-autoscaler.kubernetes.io/safe-to-evict"] === expected, withMeta({ annotations: {} }));
const endsWithin = (seconds: number): PostureRule =>
  rule(`ends within ${seconds} s`, ({ spec }) => Number(spec["terminationGracePeriodSeconds"]) <= seconds, withSpec({ terminationGracePeriodSeconds: seconds + 1 }));
const runsAs = (uid: number): PostureRule => rule(`runs as ${uid}`, ({ spec }) => spec.securityContext?.["runAsUser"] === uid && spec.securityContext["fsGroup"] === uid, withPodSecurity({ runAsUser: uid + 1 }));

/** Of pods that sessions run in. */
const SESSION: readonly PostureRule[] = [
  ...COMMON,
  rule("one container", ({ spec }) => spec.containers.length === 1 && spec.initContainers === undefined && spec["ephemeralContainers"] === undefined, (pod) => withSpec({ containers: [...pod.spec.containers, ...pod.spec.containers] })(pod)),
  rule("no second life", ({ spec }) => spec["restartPolicy"] === "Never", withSpec({ restartPolicy: "Always" })),
  rule("a last net", ({ spec }) => Number(spec["activeDeadlineSeconds"]) > 0, withSpec({ activeDeadlineSeconds: undefined })),
  rule("the account without rights", ({ spec }) => spec.serviceAccountName === "paddock-pod", withSpec({ serviceAccountName: "default" })),
  rule("an owner that drain and the garbage collector know", ({ metadata: { ownerReferences = [] } }) => ownerReferences.length === 1 && ownerReferences[0]?.controller === true, withMeta({ ownerReferences: [] })),
  rule("an owner that it does not keep", ({ metadata: { ownerReferences = [] } }) => ownerReferences.every(({ blockOwnerDeletion }) => blockOwnerDeletion !== true), withMeta({ ownerReferences: [{ kind: "Session", controller: true, blockOwnerDeletion: true }] })),
  rule("the labels that policies go by", ({ metadata: { labels = {} } }) => ["app.kubernetes.io/managed-by", "paddock.dev/component", "paddock.dev/environment"].every((key) => /^.{1,63}$/.test(labels[key] ?? "")), withMeta({ labels: {} })),
  rule("names of volumes are labels, and different", (pod) => isDistinct(volumesOf(pod).map(({ name }) => name)), withVolume({ name: "tmp", emptyDir: { sizeLimit: "1Mi" } })),
  rule("mounts at different places, of volumes that there are", (pod) => areMountsWhole(pod), withContainer(({ volumeMounts = [] }) => ({ volumeMounts: [...volumeMounts, { name: "none", mountPath: "/none" }] }))),
];

const CREDENTIALS = "/run/paddock/credentials/";

export const RUNNER: readonly PostureRule[] = [
  ...SESSION,
  runsAs(65532),
  endsWithin(10),
  isEvictable("true"),
  rule("its token is for the gateway, for ten minutes", (pod) => tokensOf(pod).length === 1 && tokensOf(pod).every(({ audience, expirationSeconds }) => audience === "paddock-gateway" && Number(expirationSeconds) <= 600), withVolume({ name: "more", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } })),
  rule("volumes are its token, Secrets, authorities and /tmp", (pod) => volumesOf(pod).every(({ name, ...source }) => ["projected", "secret", "emptyDir"].includes(Object.keys(source).join()) || (name === "ca" && Object.keys(source).join() === "configMap")), withVolume({ name: "more", persistentVolumeClaim: { claimName: "c" } })),
  rule("what it mounts of others is optional, one key, and for its group only", (pod) => filesOf(pod).every(isOneFile), withVolume({ name: "more", secret: { secretName: "s" } })),
  rule("credentials are read-only", (pod) => containersOf(pod).every(({ volumeMounts = [] }) => volumeMounts.every(({ mountPath, readOnly }) => mountPath === "/tmp" || readOnly === true)), withContainer(({ volumeMounts = [] }) => ({ volumeMounts: volumeMounts.map(({ name, mountPath }) => ({ name, mountPath })) }))),
  rule("credentials are where the runner looks", (pod) => secretMountsOf(pod).every((path) => path.startsWith(CREDENTIALS) && !path.slice(CREDENTIALS.length).includes("/")), withSpec({ volumes: [{ name: "tmp", secret: { secretName: "s" } }] })),
  rule("it listens nowhere", (pod) => containersOf(pod).every(({ ports = [] }) => ports.length === 0), withContainer(() => ({ ports: [{ containerPort: 8080 }] }))),
  rule("the cluster's runtime", ({ spec }) => spec["runtimeClassName"] === undefined, withSpec({ runtimeClassName: "gvisor" })),
];

export const SANDBOX: readonly PostureRule[] = [
  ...SESSION,
  runsAs(10001),
  endsWithin(2),
  isEvictable("false"),
  rule("volumes are empty directories and the session's own claim", (pod) => volumesOf(pod).every(({ name, ...source }) => Object.keys(source).join() === "emptyDir" || (name === "workspace" && Object.keys(source).join() === "persistentVolumeClaim")), withVolume({ name: "more", secret: { secretName: "s" } })),
  rule("no token", (pod) => tokensOf(pod).length === 0, withVolume({ name: "more", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } })),
  rule("no name is resolved", ({ spec }) => spec["dnsPolicy"] === "None" && JSON.stringify(spec["dnsConfig"]) === JSON.stringify({ nameservers: ["127.0.0.1"] }), withSpec({ dnsPolicy: "ClusterFirst" })),
  rule("no name is added", ({ spec }) => spec["hostAliases"] === undefined, withSpec({ hostAliases: [{ ip: "10.0.0.1", hostnames: ["a"] }] })),
  rule("it listens for its runner only", (pod) => containersOf(pod).every(({ ports = [] }) => ports.every(({ containerPort }) => containerPort === 8080)), withContainer(() => ({ ports: [{ containerPort: 22 }] }))),
  rule("its environment holds nothing of worth", (pod) => envOf(pod).every(({ name }) => ["PADDOCK_WORKSPACE", "PADDOCK_HOST_IP"].includes(name)), withEnv({ name: "API_KEY", value: "x" })),
  rule("it writes to workspace, /tmp and the place of certificates", (pod) => containersOf(pod).every(({ volumeMounts = [] }) => volumeMounts.every(({ mountPath }) => ["/workspace", "/tmp", "/run/paddock/trust"].includes(mountPath))), withContainer(({ volumeMounts = [] }) => ({ volumeMounts: [...volumeMounts, { name: "tmp", mountPath: "/etc" }] }))),
];

/** Names of the rules that the pod breaks. */
export function brokenRules(pod: PosturePod, rules: readonly PostureRule[]): readonly string[] {
  return rules.filter((each) => !each.holds(pod)).map(({ name }) => name);
}

function isDistinct(names: readonly string[]): boolean {
  return new Set(names).size === names.length && names.every((name) => /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name));
}

function areMountsWhole(pod: PosturePod): boolean {
  const names = new Set(volumesOf(pod).map(({ name }) => name));
  return containersOf(pod).every(({ volumeMounts = [] }) => {
    const mounted = new Set(volumeMounts.map(({ name }) => name));
    return new Set(volumeMounts.map(({ mountPath }) => mountPath)).size === volumeMounts.length && [...mounted].every((name) => names.has(name)) && mounted.size === names.size;
  });
}

interface Token {
  readonly audience?: string;
  readonly expirationSeconds?: number;
}

function tokensOf(pod: PosturePod): readonly Token[] {
  const sources = volumesOf(pod).flatMap((volume) => (volume["projected"] as { readonly sources?: readonly { readonly serviceAccountToken?: Token }[] } | undefined)?.sources ?? []);
  return sources.flatMap(({ serviceAccountToken }) => (serviceAccountToken === undefined ? [] : [serviceAccountToken]));
}

interface Files {
  readonly optional?: boolean;
  readonly defaultMode?: number;
  readonly items?: readonly unknown[];
}

function filesOf(pod: PosturePod): readonly Files[] {
  return volumesOf(pod).flatMap((volume) => ["secret", "configMap"].flatMap((source) => (volume[source] === undefined ? [] : [volume[source] as Files])));
}

function isOneFile({ optional, defaultMode, items = [] }: Files): boolean {
  return optional === true && defaultMode === 0o440 && items.length === 1;
}

function secretMountsOf(pod: PosturePod): readonly string[] {
  const secrets = new Set(volumesOf(pod).filter((volume) => volume["secret"] !== undefined).map(({ name }) => name));
  return containersOf(pod).flatMap(({ volumeMounts = [] }) => volumeMounts.filter(({ name }) => secrets.has(name)).map(({ mountPath }) => mountPath));
}
