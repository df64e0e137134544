import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { API_VERSION } from "@paddock/api/group";
import { ANNOTATIONS } from "@paddock/api/names";
import { parse } from "yaml";
import { type Identity, admissionActive, grant, openOperator, openUser } from "./identities.ts";
import { get, kubectl, must } from "./kubectl.ts";
import { apply, buildEnvironment, buildSession } from "./lab.ts";
import { openNamespace } from "./namespace.ts";

// The operator's own account in the hands of somebody else: it makes what sessions need, and nothing else. And who gets into a runner pod.

interface Pod {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly ownerReferences: readonly Readonly<Record<string, unknown>>[] };
  readonly spec: Readonly<Record<string, unknown>> & {
    readonly containers: readonly Readonly<Record<string, unknown>>[];
    readonly volumes: readonly Readonly<Record<string, unknown>>[];
    readonly securityContext: object;
  };
}

interface Claim {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly ownerReferences: readonly Readonly<Record<string, unknown>>[] };
  readonly spec: Readonly<Record<string, unknown>>;
}

const POD_FOLDER = join(import.meta.dirname, "../../operator/src/pods");

let namespace: string;
let operator: Identity;
let runner: Pod;
let sandbox: Pod;
let claim: Claim;

const DRY_RUN = ["create", "--dry-run=server", "-f", "-"];

/** The pod that reviewers of the operator look at, in our namespace. */
function golden(file: string): Pod {
  const pod = parse(readFileSync(join(POD_FOLDER, file), "utf8")) as Pod;
  const { runtimeClassName: _runtimeClass, priorityClassName: _priority, ...spec } = pod.spec;
  return { ...pod, metadata: { ...pod.metadata, namespace } as Pod["metadata"], spec: { ...spec, containers: pod.spec.containers, volumes: pod.spec.volumes, securityContext: pod.spec.securityContext } };
}

/** The claim of a session's workspace, likewise. */
function goldenClaim(): Claim {
  const whole = parse(readFileSync(join(POD_FOLDER, "workspace.golden.yaml"), "utf8")) as Claim;
  return { ...whole, metadata: { ...whole.metadata, namespace } as Claim["metadata"] };
}

const withSpec = (pod: Pod, spec: object): object => ({ ...pod, spec: { ...pod.spec, ...spec } });
const withMetadata = (pod: Pod, metadata: object): object => ({ ...pod, metadata: { ...pod.metadata, ...metadata } });
const withContainer = (pod: Pod, change: object): object => withSpec(pod, { containers: pod.spec.containers.map((container) => ({ ...container, ...change })) });
const withVolume = (pod: Pod, volume: object): object => withSpec(pod, { volumes: [...pod.spec.volumes, { name: "more", ...volume }] });

before(async () => {
  namespace = await openNamespace("operator");
  await admissionActive(namespace);
  operator = await openOperator();
  await grant(namespace, operator, [
    { apiGroups: [""], resources: ["pods", "serviceaccounts", "persistentvolumeclaims"], verbs: ["create"] },
    { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["create"] },
    { apiGroups: ["paddock.dev"], resources: ["sessions"], verbs: ["create"] },
  ]);
  await operator.must(["create", "-f", "-"], { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "paddock-pod", namespace, labels: { "app.kubernetes.io/managed-by": "paddock" } } });
  runner = golden("runner.golden.yaml");
  sandbox = golden("sandbox.golden.yaml");
  claim = goldenClaim();
});

const WORKSPACE = { name: "workspace", persistentVolumeClaim: { claimName: "notes-w" } };
const onClaim = (pod: Pod, volume: object = WORKSPACE): object => withSpec(pod, { volumes: pod.spec.volumes.map((other) => (other["name"] === "workspace" ? volume : other)) });
const AUTHORITIES = { name: "ca", configMap: { name: "company", optional: true, defaultMode: 288, items: [{ key: "roots.pem", path: "ca.crt" }] } };
const withFile = (pod: Pod, volume: object): object => withSpec(pod, { volumes: [...pod.spec.volumes.filter(({ name }) => name !== "ca"), volume] });

test("runner and sandbox pods are accepted as the operator builds them: plain, with credentials and authorities, with an image and a place of their own, on a claim", async () => {
  for (const file of ["runner.golden.yaml", "runner-files.golden.yaml", "sandbox.golden.yaml", "sandbox-custom.golden.yaml", "sandbox-placed.golden.yaml"]) await operator.must(DRY_RUN, golden(file));
  await operator.must(DRY_RUN, onClaim(sandbox));
});

test("a runner mounts one file with authorities and no other ConfigMap, a sandbox the claim of a workspace and no other volume", async () => {
  const files = golden("runner-files.golden.yaml");
  const mounts = (pod: Pod, volume: string) => withContainer(pod, { volumeMounts: [...(pod.spec.containers[0]?.["volumeMounts"] as readonly object[]), { name: volume, mountPath: `/run/paddock/${volume}` }] }) as Pod;
  await operator.must(DRY_RUN, withFile(mounts(runner, "ca"), AUTHORITIES));
  const bad: Readonly<Record<string, object>> = {
    "a ConfigMap of another name": withFile(runner, { ...AUTHORITIES, name: "settings" }),
    "a whole ConfigMap": withFile(mounts(runner, "ca"), { name: "ca", configMap: { name: "company" } }),
    "two of its keys": withFile(mounts(runner, "ca"), { name: "ca", configMap: { name: "company", items: [{ key: "a", path: "ca.crt" }, { key: "b", path: "more.crt" }] } }),
    "another file": withFile(mounts(runner, "ca"), { name: "ca", configMap: { name: "company", items: [{ key: "a", path: "settings.json" }] } }),
    "a ConfigMap beside the authorities": withVolume(files, { configMap: { name: "company", items: [{ key: "a", path: "ca.crt" }] } }),
    "a runner with a claim": withVolume(runner, { persistentVolumeClaim: { claimName: "notes-w" } }),
    "a sandbox with authorities": withFile(mounts(sandbox, "ca"), AUTHORITIES),
    "a claim that is no workspace": onClaim(sandbox, { name: "workspace", persistentVolumeClaim: { claimName: "postgres-data" } }),
    "a second claim": withVolume(sandbox, { persistentVolumeClaim: { claimName: "other-w" } }),
    "a volume of a driver": onClaim(sandbox, { name: "workspace", csi: { driver: "secrets-store.csi.k8s.io" } }),
    "a claim of the pod's own": onClaim(sandbox, { name: "workspace", ephemeral: { volumeClaimTemplate: { spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } } } }),
    "facts about the pod": withVolume(sandbox, { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } }),
  };
  for (const [what, pod] of Object.entries(bad)) assert.match(await operator.refusal(DRY_RUN, pod), /a pod of the operator must mount only .* \(rule volumes\)/, what);
});

test("a claim is accepted as the operator builds it, with a class or without", async () => {
  await operator.must(DRY_RUN, claim);
  const { storageClassName: _, ...spec } = claim.spec;
  await operator.must(DRY_RUN, { ...claim, spec });
});

test("any other claim of the operator's is refused, and what it must be is said", async () => {
  const [owner] = claim.metadata.ownerReferences;
  const { "paddock.dev/session-uid": _, ...withoutUid } = claim.metadata.labels;
  const { ownerReferences: __, ...ownerless } = claim.metadata;
  const metadata = (change: object): object => ({ ...claim, metadata: { ...claim.metadata, ...change } });
  const spec = (change: object): object => ({ ...claim, spec: { ...claim.spec, ...change } });
  const snapshot = { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "backup" };
  const bad: readonly (readonly [must: string, object])[] = [
    ["have a name that ends in -w", metadata({ name: "postgres-data" })],
    ["be owned by one Session", { ...claim, metadata: ownerless }],
    ["be owned by one Session", metadata({ ownerReferences: [{ ...owner, kind: "Environment" }] })],
    ["be owned by one Session", metadata({ ownerReferences: [{ ...owner, controller: false }] })],
    ["be owned by one Session", metadata({ ownerReferences: [owner, { ...owner, name: "other", uid: "other-uid", controller: false }] })],
    ["be owned by one Session", metadata({ ownerReferences: [{ ...owner, uid: "other-uid" }] })],
    ["be owned by one Session", metadata({ labels: withoutUid })],
    ["carry the label app.kubernetes.io/managed-by: paddock", metadata({ labels: { ...claim.metadata.labels, "app.kubernetes.io/managed-by": "me" } })],
    ["ask for a file system that one node has at a time", spec({ accessModes: ["ReadWriteMany"] })],
    ["ask for a file system that one node has at a time", spec({ accessModes: ["ReadWriteOnce", "ReadOnlyMany"] })],
    ["ask for a file system that one node has at a time", spec({ volumeMode: "Block" })],
    ["be empty", spec({ dataSource: snapshot })],
    ["be empty", spec({ dataSourceRef: { kind: "PersistentVolumeClaim", name: "postgres-data" } })],
    ["be empty", spec({ volumeName: "pv-of-postgres" })],
    ["be empty", spec({ selector: { matchLabels: { app: "postgres" } } })],
  ];
  for (const [must, object] of bad) {
    const refusal = await operator.refusal(DRY_RUN, object);
    assert.ok(refusal.includes(`a PersistentVolumeClaim of the operator must ${must}`), `${must}: ${refusal}`);
  }
});

test("any other pod of the operator's is refused, and the rule is named", async () => {
  const { ownerReferences: _, ...ownerless } = runner.metadata;
  const [owner] = runner.metadata.ownerReferences;
  const security = (change: object) => ({ securityContext: { ...(runner.spec.containers[0]?.securityContext as object), ...change } });
  const bad: readonly (readonly [string, object])[] = [
    ["labels", withMetadata(runner, { labels: {} })],
    ["labels", withMetadata(runner, { labels: { ...runner.metadata.labels, "paddock.dev/component": "policy" } })],
    ["name", withMetadata(runner, { name: "innocent" })],
    ["name", withMetadata(runner, { name: "notes-s1" })],
    ["owner", { ...runner, metadata: ownerless }],
    ["owner", withMetadata(runner, { ownerReferences: [{ ...owner, kind: "Agent" }] })],
    ["owner", withMetadata(runner, { ownerReferences: [{ ...owner, controller: false }] })],
    ["account", withSpec(runner, { automountServiceAccountToken: true })],
    ["account", withSpec(runner, { serviceAccountName: "default" })],
    ["host", withSpec(runner, { hostNetwork: true })],
    ["host", withSpec(runner, { hostPID: true })],
    ["host", withContainer(sandbox, { ports: [{ containerPort: 8080, hostPort: 8080 }] })],
    ["containers", withSpec(runner, { initContainers: runner.spec.containers.map((container) => ({ ...container, name: "first" })) })],
    ["containers", withSpec(runner, { containers: [...runner.spec.containers, { ...runner.spec.containers[0], name: "second" }] })],
    ["user", withSpec(runner, { securityContext: { ...runner.spec.securityContext, runAsNonRoot: false } })],
    ["user", withSpec(runner, { securityContext: { ...runner.spec.securityContext, seccompProfile: { type: "Unconfined" } } })],
    ["user", withContainer(runner, security({ runAsUser: 0 }))],
    ["privileges", withContainer(runner, security({ privileged: true, allowPrivilegeEscalation: true }))],
    ["privileges", withContainer(runner, security({ capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } }))],
    ["privileges", withContainer(runner, security({ readOnlyRootFilesystem: false }))],
    ["env", withContainer(sandbox, { env: [{ name: "KEY", valueFrom: { secretKeyRef: { name: "openai", key: "api-key" } } }] })],
    ["env", withContainer(runner, { envFrom: [{ secretRef: { name: "openai" } }] })],
    ["volumes", withVolume(runner, { hostPath: { path: "/" } })],
    ["volumes", withVolume(sandbox, { secret: { secretName: "openai" } })],
    ["volumes", withVolume(sandbox, { projected: { sources: [{ serviceAccountToken: { audience: "paddock-gateway", path: "token" } }] } })],
    ["token", withVolume(runner, { projected: { sources: [{ serviceAccountToken: { path: "token" } }] } })],
    ["token", withVolume(runner, { projected: { sources: [{ serviceAccountToken: { audience: "https://kubernetes.default.svc", path: "token" } }] } })],
    ["token", withVolume(runner, { projected: { sources: [{ secret: { name: "openai" } }] } })],
    ["restart", withSpec(runner, { restartPolicy: "Always" })],
  ];
  for (const [rule, pod] of bad) {
    assert.match(await operator.refusal(DRY_RUN, pod), new RegExp(`a pod of the operator must .* \\(rule ${rule}\\)`), `${rule}: ${JSON.stringify(pod).slice(0, 400)}`);
  }
});

test("a Session of the operator's belongs to a Schedule and carries the name of who is to answer for it", async () => {
  const owner = { apiVersion: "paddock.dev/v1alpha1", kind: "Schedule", name: "nightly", uid: "uid", controller: true };
  const session = (metadata: object): object => ({ ...buildSession("nightly-1", "hi"), metadata: { name: "nightly-1", namespace, ...metadata } });
  const annotations = { [ANNOTATIONS.createdBy]: "anna" };
  await operator.must(DRY_RUN, session({ ownerReferences: [owner], annotations, labels: { "paddock.dev/schedule": "nightly" } }));
  assert.match(await operator.refusal(DRY_RUN, session({ annotations })), /must be owned by one Schedule as its controller/);
  assert.match(await operator.refusal(DRY_RUN, session({ ownerReferences: [{ ...owner, kind: "Session" }], annotations })), /must be owned by one Schedule as its controller/);
  assert.match(await operator.refusal(DRY_RUN, session({ ownerReferences: [owner] })), /must carry the annotation paddock\.dev\/created-by/);
});

test("network policies of the operator's select its own pods only: policies add up, and one for others could open them", async () => {
  const policy = (name: string, podSelector: object) => ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name, namespace }, spec: { podSelector } });
  const ours = { matchLabels: { "app.kubernetes.io/managed-by": "paddock" } };
  await operator.must(DRY_RUN, policy("paddock-mine", ours));
  assert.match(await operator.refusal(DRY_RUN, policy("open", ours)), /network policies whose names start with paddock-/);
  for (const selector of [{}, { matchLabels: { app: "shop" } }, { matchExpressions: [{ key: "app.kubernetes.io/managed-by", operator: "NotIn", values: ["paddock"] }] }]) {
    assert.match(await operator.refusal(DRY_RUN, policy("paddock-mine", selector)), /must select pods by the label app\.kubernetes\.io\/managed-by: paddock/);
  }
});

test("the operator gives the account of its pods nothing, and leaves what others gave it", async () => {
  const account = (name: string, metadata: object = {}, more: object = {}) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace, ...metadata }, ...more });
  assert.match(await operator.refusal(DRY_RUN, account("admin")), /the operator makes the service account paddock-pod/);
  await grant(namespace, operator, [{ apiGroups: [""], resources: ["serviceaccounts"], verbs: ["get", "patch"] }]);
  const applied = ["apply", "--server-side", "--force-conflicts", "--field-manager=paddock-operator", "-f", "-"];
  for (const gift of [account("paddock-pod", { annotations: { "eks.amazonaws.com/role-arn": "x" } }), account("paddock-pod", {}, { imagePullSecrets: [{ name: "registry" }] })]) {
    assert.match(await operator.refusal(applied, gift), /gives the service account paddock-pod neither annotations, by which some clouds give rights, nor Secrets/);
  }
  await must(["annotate", "serviceaccount", "paddock-pod", "-n", namespace, "example.com/owner=platform"]);
  await operator.must(applied, account("paddock-pod", { labels: { "app.kubernetes.io/managed-by": "paddock" } }));
  assert.match(await must(["get", "serviceaccount", "paddock-pod", "-n", namespace, "-o", "yaml"]), /example\.com\/owner: platform/);
});

test("the operator deletes only pods of its own", async () => {
  await apply(namespace, { apiVersion: "v1", kind: "Pod", metadata: { name: "shop", labels: { app: "shop" } }, spec: { nodeSelector: { none: "such" }, containers: [{ name: "main", image: "none" }] } });
  assert.match(await operator.refusal(["delete", "pod", "shop", "-n", namespace, "--dry-run=server"]), /the operator deletes only pods that carry the labels of a runner or sandbox/);
});

test("nobody but a node gets a token of the pods' account: it would speak to the gateway as a runner", async () => {
  const person = await openUser("minter");
  await grant(namespace, person, [{ apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] }]);
  for (const args of [[], ["--audience", "paddock-gateway"]]) {
    assert.match(await person.refusal(["create", "token", "paddock-pod", "-n", namespace, ...args]), /tokens of the service account paddock-pod are runners' own proof to paddock-gateway and are given to nodes only/);
  }
  await person.must(["create", "token", "default", "-n", namespace]);
});

test("no Secret, no command in a pod, no role, nobody else's name", async () => {
  for (const [verb, resource] of [["get", "secrets"], ["list", "secrets"], ["create", "pods/exec"], ["create", "pods/attach"], ["update", "pods/ephemeralcontainers"], ["impersonate", "users"], ["escalate", "clusterroles"], ["bind", "clusterroles"], ["create", "rolebindings"], ["get", "nodes"], ["create", "serviceaccounts/token"]]) {
    const [plural = "", subresource] = resource?.split("/") ?? [];
    const { stdout } = await operator.kubectl(["auth", "can-i", verb ?? "", plural, ...(subresource === undefined ? [] : [`--subresource=${subresource}`]), "-n", namespace]);
    assert.equal(stdout.trim(), "no", `${verb} ${resource}`);
  }
});

test("commands in a runner pod take the right to read Secrets", async () => {
  const person = await openUser("debugger");
  await grant(namespace, person, [{ apiGroups: [""], resources: ["pods", "pods/exec", "pods/attach"], verbs: ["get", "create"] }]);
  const refused = new RegExp(`commands in the runner pod notes-r1, which holds credentials: ask for get on secrets in namespace ${namespace} \\(kubectl auth can-i get secrets -n ${namespace}\\)`);
  const raw = (name: string, how: string) => ["create", "--raw", `/api/v1/namespaces/${namespace}/pods/${name}/${how}?command=id&container=runner&stdout=true`, "-f", "-"];
  assert.match(await person.refusal(raw("notes-r1", "exec"), {}), refused);
  assert.match(await person.refusal(raw("notes-r12", "attach"), {}), /commands in the runner pod notes-r12/);
  // Past admission: there is no such pod.
  assert.match(await person.refusal(raw("notes-s1", "exec"), {}), /not found/);
  await grant(namespace, person, [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }]);
  assert.match(await person.refusal(raw("notes-r1", "exec"), {}), /not found/);
});

test("ports of runner and sandbox pods take the right to read Secrets: requests behind them get the credentials of the session", async () => {
  const person = await openUser("forwarder");
  await grant(namespace, person, [{ apiGroups: [""], resources: ["pods", "pods/portforward", "pods/proxy"], verbs: ["get", "create", "update", "patch", "delete"] }]);
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const forward = (name: string) => person.refusal(["create", "--raw", `${pods}/${name}/portforward?ports=8080`, "-f", "-"], {});
  const proxy = (name: string, verb = "get") => person.refusal([verb, "--raw", `${pods}/${name}/proxy/v1/bind`, ...(verb === "get" || verb === "delete" ? [] : ["-f", "-"])], {});
  const refused = new RegExp(`ports of the pod \\S+, behind which requests get the credentials of its session: ask for get on secrets in namespace ${namespace} \\(kubectl auth can-i get secrets -n ${namespace}\\)`);
  for (const name of ["notes-r1", "notes-s1", "notes-s12"]) assert.match(await forward(name), refused, name);
  for (const name of ["notes-r1", "notes-s1", "notes-s1:8080", "notes-s1:tools", "http:notes-s1:8080", "https:notes-s1:8080", "http:notes-s1:"]) assert.match(await proxy(name), refused, name);
  for (const verb of ["create", "replace", "delete"]) assert.match(await proxy("notes-s1:8080", verb), refused, verb);
  // Past admission: there is no such pod.
  assert.match(await forward("shop-1"), /not found/);
  assert.match(await proxy("shop-1:8080"), /not found/);
  await grant(namespace, person, [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }]);
  for (const answer of [await forward("notes-r1"), await forward("notes-s1"), await proxy("notes-s1:8080")]) assert.match(answer, /not found/);
});

test("changing a runner pod, or putting a container beside it, takes the right to read Secrets", async () => {
  // An owner that exists, or the garbage collector takes the pod.
  await apply(namespace, buildEnvironment("owner"));
  const uid = (await get<{ metadata: { uid: string } }>("environment", "owner", namespace))?.metadata.uid;
  const held = { ...runner, metadata: { ...runner.metadata, ownerReferences: [{ apiVersion: API_VERSION, kind: "Environment", name: "owner", uid, controller: true }] } };
  await operator.must(["create", "-f", "-"], withSpec(held, { nodeSelector: { none: "such" } }));
  const person = await openUser("changer");
  await grant(namespace, person, [{ apiGroups: [""], resources: ["pods", "pods/ephemeralcontainers"], verbs: ["get", "update", "patch"] }]);
  const image = ["patch", "pod", runner.metadata.name, "-n", namespace, "--dry-run=server", "-p", JSON.stringify({ spec: { containers: [{ name: "runner", image: "evil:1" }] } })];
  const beside = ["patch", "pod", runner.metadata.name, "-n", namespace, "--dry-run=server", "--subresource=ephemeralcontainers", "-p", JSON.stringify({ spec: { ephemeralContainers: [{ name: "peek", image: "evil:1" }] } })];
  for (const change of [image, beside]) assert.match(await person.refusal(change), /changing the runner pod notes-r1, which holds credentials: ask for get on secrets/);
  await person.must(["label", "pod", runner.metadata.name, "-n", namespace, "--dry-run=server", "example.com/team=blue"]);
  await grant(namespace, person, [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }]);
  for (const change of [image, beside]) await person.must(change);
  await kubectl(["delete", "pod", runner.metadata.name, "-n", namespace, "--wait=false"]);
});
