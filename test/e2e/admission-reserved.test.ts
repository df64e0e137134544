import assert from "node:assert/strict";
import { before, test } from "node:test";
import { API_VERSION } from "@paddock/api/group";
import { ANNOTATIONS } from "@paddock/api/names";
import { type Identity, admissionActive, grant, openOperator, openUser } from "./identities.ts";
import { get, kubectl, must } from "./kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession } from "./lab.ts";
import { openNamespace } from "./namespace.ts";

// What is the operator's own: labels and annotations under paddock.dev/, the stamp of who created what, and status. Not even a role with
// `*` in the namespace gets round it.

let namespace: string;
let owner: Identity;
let other: Identity;

const DRY_RUN = ["create", "--dry-run=server", "-f", "-"];
const CREATE = ["create", "-f", "-"];
const inNamespace = (object: object): object => ({ ...object, metadata: { ...(object as { metadata: object }).metadata, namespace } });
const withMetadata = (object: object, metadata: object): object => ({ ...object, metadata: { ...(object as { metadata: object }).metadata, ...metadata } });
const pod = (name: string, metadata: object = {}): object => inNamespace({ apiVersion: "v1", kind: "Pod", metadata: { name, ...metadata }, spec: { containers: [{ name: "main", image: "none" }], nodeSelector: { none: "such" } } });
const session = (name: string, metadata: object = {}): object => inNamespace(withMetadata(buildSession(name, "hi", { environment: "none-such" }), metadata));

async function annotationsOf(kind: string, name: string): Promise<Readonly<Record<string, string>>> {
  return (await get<{ metadata: { annotations?: Record<string, string> } }>(kind, name, namespace))?.metadata.annotations ?? {};
}

function schedule(name: string, spec: object = {}, metadata: object = {}): object {
  const template = (buildSession("unused", "hi", { environment: "none-such" }) as { spec: object }).spec;
  return inNamespace({ apiVersion: API_VERSION, kind: "Schedule", metadata: { name, ...metadata }, spec: { schedule: "0 0 1 1 *", suspend: true, sessionTemplate: { spec: template }, ...spec } });
}

before(async () => {
  namespace = await openNamespace("reserved");
  await admissionActive(namespace);
  [owner, other] = await Promise.all([openUser("owner", ["team-blue", "a,system:masters"]), openUser("other")]);
  for (const identity of [owner, other]) await grant(namespace, identity, [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }]);
});

test("labels and annotations of Paddock's are refused on its own kinds and on pods, policies and accounts", async () => {
  const policy = inNamespace({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "mine", labels: { "app.kubernetes.io/managed-by": "paddock" } }, spec: { podSelector: {} } });
  const account = inNamespace({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "mine", annotations: { "paddock.dev/x": "y" } } });
  const labels = { "paddock.dev/component": "runner" };
  for (const object of [pod("mine", { labels }), session("mine", { labels }), inNamespace(withMetadata(buildAgent("mine"), { labels })), inNamespace(withMetadata(buildEnvironment("mine"), { labels }))]) {
    assert.match(await owner.refusal(DRY_RUN, object), /the label paddock\.dev\/component belongs to the operator of Paddock: do not add, change or remove it, use a prefix of your own/);
  }
  assert.match(await owner.refusal(DRY_RUN, pod("mine", { labels: { "app.kubernetes.io/managed-by": "paddock" } })), /label app\.kubernetes\.io\/managed-by belongs/);
  assert.match(await owner.refusal(DRY_RUN, pod("mine", { annotations: { "paddock.dev/x": "y" } })), /annotation paddock\.dev\/x belongs/);
  assert.match(await owner.refusal(DRY_RUN, policy), /label app\.kubernetes\.io\/managed-by belongs/);
  assert.match(await owner.refusal(DRY_RUN, account), /annotation paddock\.dev\/x belongs/);
  assert.match(await owner.refusal(DRY_RUN, session("mine", { annotations: { [ANNOTATIONS.trigger]: "1" } })), /annotation paddock\.dev\/trigger belongs/);
});

test("labels of Paddock's are refused on claims as well: a claim that carries them would be taken for a session's", async () => {
  const claim = (name: string, metadata: object = {}): object => inNamespace({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name, ...metadata }, spec: { accessModes: ["ReadWriteOnce"], storageClassName: "none-such", resources: { requests: { storage: "1Mi" } } } });
  assert.match(await owner.refusal(DRY_RUN, claim("mine", { labels: { "paddock.dev/session-uid": "x" } })), /label paddock\.dev\/session-uid belongs to the operator/);
  assert.match(await owner.refusal(DRY_RUN, claim("mine", { labels: { "app.kubernetes.io/managed-by": "paddock" } })), /label app\.kubernetes\.io\/managed-by belongs/);
  await owner.must(CREATE, claim("mine-w", { labels: { "example.com/team": "blue" } }));
  assert.match(await owner.refusal(["label", "persistentvolumeclaim", "mine-w", "-n", namespace, "paddock.dev/session-uid=x"]), /label paddock\.dev\/session-uid belongs/);
  const patch = JSON.stringify({ metadata: { labels: { "paddock.dev/session-uid": "x" } } });
  assert.match(await owner.refusal(["patch", "persistentvolumeclaim", "mine-w", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch]), /label paddock\.dev\/session-uid belongs/);
  await owner.must(["label", "persistentvolumeclaim", "mine-w", "-n", namespace, "example.com/tier=one"]);
});

test("other labels, other managers and the trigger of a Schedule are people's own", async () => {
  await owner.must(DRY_RUN, pod("mine", { labels: { "app.kubernetes.io/managed-by": "argocd", "example.com/component": "runner" } }));
  await owner.must(DRY_RUN, schedule("mine", {}, { annotations: { [ANNOTATIONS.trigger]: "1" } }));
});

test("the administrator's own labels are refused as well, and none can be put on later, in any way a pod's metadata is written", async () => {
  assert.match((await kubectl(DRY_RUN, { input: JSON.stringify(pod("admins", { labels: { "paddock.dev/session": "x" } })) })).stderr, /label paddock\.dev\/session belongs/);
  await owner.must(CREATE, pod("plain"));
  assert.match(await owner.refusal(["label", "pod", "plain", "-n", namespace, "paddock.dev/component=runner"]), /label paddock\.dev\/component belongs/);
  const patch = JSON.stringify({ metadata: { labels: { "paddock.dev/component": "runner" } } });
  assert.match(await owner.refusal(["patch", "pod", "plain", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch]), /label paddock\.dev\/component belongs/);
  await owner.must(["label", "pod", "plain", "-n", namespace, "example.com/team=blue"]);
});

test("labels that the operator has set can be neither changed nor removed", async () => {
  const operator = await openOperator();
  const account = inNamespace({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "paddock-pod", labels: { "app.kubernetes.io/managed-by": "paddock" } }, automountServiceAccountToken: false });
  await grant(namespace, operator, [{ apiGroups: [""], resources: ["serviceaccounts"], verbs: ["create", "get", "patch"] }]);
  await operator.must(["apply", "--server-side", "-f", "-"], account);
  for (const change of ["app.kubernetes.io/managed-by-", "app.kubernetes.io/managed-by=me"]) {
    assert.match(await owner.refusal(["label", "--overwrite", "serviceaccount", "paddock-pod", "-n", namespace, change]), /label app\.kubernetes\.io\/managed-by belongs/);
  }
  await owner.must(["label", "serviceaccount", "paddock-pod", "-n", namespace, "example.com/team=blue"]);
});

test("a Session says who created it, and nobody can write it otherwise", async () => {
  await owner.must(CREATE, session("stamped"));
  const stamp = await annotationsOf("session", "stamped");
  assert.equal(stamp[ANNOTATIONS.createdBy], owner.name);
  // A group whose name holds a comma would read as two.
  assert.deepEqual(stamp[ANNOTATIONS.createdByGroups]?.split(","), ["team-blue", "system:authenticated"]);
  await owner.must(CREATE, session("forged", { annotations: { [ANNOTATIONS.createdBy]: "root" } }));
  assert.equal((await annotationsOf("session", "forged"))[ANNOTATIONS.createdBy], owner.name);
});

test("whoever changes a Session later, by replacing it too, its creator stays", async () => {
  await other.must(["patch", "session", "stamped", "-n", namespace, "--type=merge", "-p", JSON.stringify({ spec: { cancel: true } })]);
  await other.must(["replace", "-f", "-"], { ...session("stamped"), spec: { ...(session("stamped") as { spec: object }).spec, cancel: true } });
  await other.must(["annotate", "--overwrite", "session", "stamped", "-n", namespace, `${ANNOTATIONS.createdBy}=${other.name}`]);
  await other.must(["annotate", "session", "stamped", "-n", namespace, `${ANNOTATIONS.createdBy}-`]);
  const stamp = await annotationsOf("session", "stamped");
  assert.deepEqual([stamp[ANNOTATIONS.createdBy], stamp[ANNOTATIONS.createdByGroups]], [owner.name, "team-blue,system:authenticated"]);
});

test("a Session that takes a run's place in a Schedule is refused: only the operator makes a Schedule's sessions", async () => {
  await owner.must(CREATE, schedule("audit"));
  const uid = (await get<{ metadata: { uid: string } }>("schedule", "audit", namespace))?.metadata.uid;
  const ownerReferences = [{ apiVersion: API_VERSION, kind: "Schedule", name: "audit", uid, controller: true }];
  const refused = /metadata\.ownerReferences names Schedule audit, whose sessions only the operator of Paddock makes: leave the reference out/;
  assert.match(await other.refusal(DRY_RUN, session("audit-run", { ownerReferences })), refused);
  await other.must(CREATE, session("adopted"));
  assert.match(await other.refusal(["patch", "session", "adopted", "-n", namespace, "--type=merge", "-p", JSON.stringify({ metadata: { ownerReferences } })]), refused);
});

test("owners of other groups are people's own, and an owner may be taken away", async () => {
  await apply(namespace, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "pipeline" } });
  const uid = (await get<{ metadata: { uid: string } }>("configmap", "pipeline", namespace))?.metadata.uid;
  await other.must(CREATE, session("piped", { ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "pipeline", uid }] }));
  await other.must(["patch", "session", "piped", "-n", namespace, "--type=json", "-p", JSON.stringify([{ op: "remove", path: "/metadata/ownerReferences" }])]);
});

test("a Schedule says who last changed its spec", async () => {
  const createdBy = async () => (await annotationsOf("schedule", "nightly"))[ANNOTATIONS.createdBy];
  await owner.must(CREATE, schedule("nightly"));
  await other.must(["annotate", "schedule", "nightly", "-n", namespace, `${ANNOTATIONS.trigger}=1`]);
  assert.equal(await createdBy(), owner.name);
  await other.must(["patch", "schedule", "nightly", "-n", namespace, "--type=merge", "-p", JSON.stringify({ spec: { schedule: "1 0 1 1 *" } })]);
  assert.equal(await createdBy(), other.name);
});

test("applying the same file twice changes nothing, with the stamp in the object", async () => {
  const version = async () => (await get<{ metadata: { resourceVersion: string; generation: number } }>("schedule", "applied", namespace))?.metadata;
  for (const mode of [[], ["--server-side", "--force-conflicts"]]) {
    await owner.must(["apply", ...mode, "-f", "-"], schedule("applied"));
    const before = await version();
    await owner.must(["apply", ...mode, "-f", "-"], schedule("applied"));
    assert.deepEqual(await version(), before);
  }
});

test("status is the operator's: a role with * does not write it", async () => {
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  await must(["create", "-f", "-"], { input: JSON.stringify(session("waiting")) });
  const patch = JSON.stringify({ status: { observedGeneration: 7 } });
  for (const name of ["agent/agent", "environment/environment", "session/waiting", "schedule/nightly"]) {
    assert.match(await owner.refusal(["patch", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch]), /status is written by the operator of Paddock only/, name);
  }
  await grant(namespace, await openOperator(), [{ apiGroups: ["paddock.dev"], resources: ["agents/status"], verbs: ["get", "patch"] }]);
  await (await openOperator()).must(["patch", "agent/agent", "-n", namespace, "--subresource=status", "--type=merge", "--dry-run=server", "-p", patch]);
});
