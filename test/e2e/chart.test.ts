import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { buildAdmission } from "@paddock/api/admission/policies";
import { releaseOf } from "@paddock/api/admission/policy";
import { GATEWAY_CA } from "@paddock/api/names";
import { buildRule } from "@paddock/api/rights/chart";
import { GATEWAY_CLUSTER, GATEWAY_RELEASE, OPERATOR_RELEASE, OPERATOR_TENANT, type Right, USER_ROLES, operatorClusterRights } from "@paddock/api/rights/table";
import { parseAllDocuments } from "yaml";
import { COMMON, brokenRules } from "../../operator/src/pods/testdata/posture.ts";
import type { PosturePod } from "../../operator/src/pods/testdata/posture.ts";
import { KUBECONFIG, get } from "./kubectl.ts";

// The chart: what is installed, with which rights, what its schema refuses, and what an upgrade leaves alone.

const root = join(import.meta.dirname, "../..");
const bundled = join(root, ".cluster/bin/helm");
const HELM = existsSync(bundled) ? bundled : "helm";
const RELEASE_NAMESPACE = "paddock-system";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Subject { readonly kind: string; readonly name: string; readonly namespace?: string }

interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly Subject[];
  readonly spec?: { readonly template?: { readonly metadata?: { readonly labels?: Readonly<Record<string, string>> }; readonly spec: PodSpec }; readonly volumeClaimTemplates?: readonly { readonly spec: unknown }[] };
}

type PodSpec = PosturePod["spec"];

/** What the chart installs with the given `--set` arguments; rejects with Helm's own words. */
async function render(...sets: readonly string[]): Promise<readonly Rendered[]> {
  const args = ["template", "paddock", join(root, "charts/paddock"), "--namespace", RELEASE_NAMESPACE, ...sets.flatMap((set) => ["--set", set])];
  const { stdout } = await promisify(execFile)(HELM, args, { maxBuffer: 64 * 1024 * 1024 });
  return parseAllDocuments(stdout).map((document) => document.toJS() as Rendered | null).filter((object) => object !== null);
}

/** Rules bound to a service account of the release: by namespace, "" for the whole cluster. */
function rightsOf(objects: readonly Rendered[], account: string): readonly { readonly namespace: string; readonly rule: Rule }[] {
  return objects
    .filter(({ subjects }) => subjects?.some(({ kind, name, namespace }) => kind === "ServiceAccount" && name === account && namespace === RELEASE_NAMESPACE))
    .flatMap((binding) => {
      const scope = binding.kind === "ClusterRoleBinding" ? "" : (binding.metadata.namespace ?? "");
      const role = objects.find(
        ({ kind, metadata }) => kind === binding.roleRef?.kind && metadata.name === binding.roleRef.name && (kind === "ClusterRole" || metadata.namespace === scope),
      );
      assert.ok(role, `${binding.kind} ${binding.metadata.name} names a role that the chart does not make`);
      return (role.rules ?? []).map((rule) => ({ namespace: scope, rule }));
    });
}

function inWords({ namespace, rule }: { readonly namespace: string; readonly rule: Rule }): string {
  const names = rule.resourceNames === undefined ? "" : ` ${rule.resourceNames.join("|")}`;
  return `${namespace || "*"}: ${rule.verbs.join(",")} ${rule.resources.join(",")}${names}`;
}

const FORBIDDEN_RESOURCES = ["secrets", "pods/exec", "pods/attach", "pods/ephemeralcontainers", "nodes", "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "serviceaccounts/token"];
const FORBIDDEN_VERBS = ["*", "impersonate", "escalate", "bind"];

for (const [mode, sets] of [["cluster-wide", []], ["namespaced", ["watchNamespaces={blue,green}"]]] as const) {
  test(`${mode}: no right on Secrets, no wildcard, nothing that gives more rights`, async () => {
    const objects = await render(...sets);
    const rules = [...rightsOf(objects, "paddock-operator"), ...rightsOf(objects, "paddock-gateway")];
    assert.ok(rules.length >= 8, "both accounts have rights");
    const allRules = [...rules.map(({ rule }) => rule), ...objects.flatMap((object) => object.rules ?? [])];
    for (const rule of allRules) {
      const words = JSON.stringify(rule);
      for (const part of [...rule.apiGroups, ...rule.resources]) assert.ok(!part.includes("*"), `wildcard in ${words}`);
      assert.deepEqual(rule.verbs.filter((verb) => FORBIDDEN_VERBS.includes(verb)), [], words);
      assert.deepEqual(rule.resources.filter((resource) => FORBIDDEN_RESOURCES.includes(resource)), [], words);
    }
  });

  test(`${mode}: accounts have the rights of the table, no more and no fewer`, async () => {
    const objects = await render(...sets);
    const tenant = sets.length === 0 ? [""] : ["blue", "green"];
    assert.deepEqual(rightsOf(objects, "paddock-operator").map(inWords).sort(), [
      ...tenant.flatMap((namespace) => tabled(namespace, OPERATOR_TENANT)),
      ...tabled("", operatorClusterRights(RELEASE_NAMESPACE)),
      ...tabled(RELEASE_NAMESPACE, OPERATOR_RELEASE),
    ].sort());
    assert.deepEqual(rightsOf(objects, "paddock-gateway").map(inWords).sort(), [...tabled("", GATEWAY_CLUSTER), ...tabled(RELEASE_NAMESPACE, GATEWAY_RELEASE)].sort());
  });

  test(`${mode}: the policies are those that the operator looks for`, async () => {
    const rendered = (await render(...sets, "admission.creatorStamp=true")).filter(({ kind }) => kind.includes("AdmissionPolicy"));
    const wanted = buildAdmission(releaseOf(RELEASE_NAMESPACE, sets.length === 0 ? [] : ["blue", "green"]), { creatorStamp: true });
    assert.ok(wanted.length >= 30, `${wanted.length} policies and bindings`);
    // All at once and in any order: Helm sorts by kind.
    assert.deepEqual(byName(rendered), byName(wanted));
  });
}

/** Lines of the table as `inWords` writes them. */
function tabled(namespace: string, rights: readonly Right[]): readonly string[] {
  return rights.map((right) => inWords({ namespace, rule: buildRule(right) }));
}

function byName(objects: readonly { readonly kind: string; readonly metadata: { readonly name: string }; readonly spec?: unknown }[]): ReadonlyMap<string, unknown> {
  return new Map(objects.map(({ kind, metadata, spec }) => [`${kind} ${metadata.name}`, spec]));
}

test("roles for people are those of the table, without wildcards", async () => {
  const roles = (await render()).filter(({ kind, metadata }) => kind === "ClusterRole" && USER_ROLES.some(({ name }) => name === metadata.name));
  assert.deepEqual(roles.map(({ metadata, rules }) => [metadata.name, rules]).sort(), USER_ROLES.map(({ name, rights }) => [name, rights.map(buildRule)]).sort());
  assert.deepEqual(roles.filter(({ rules }) => JSON.stringify(rules).includes('"*"')), []);
});

test("roles for people are added to Kubernetes' own only when asked", async () => {
  const labelsOf = async (...sets: readonly string[]) => (await render(...sets)).filter(({ metadata }) => USER_ROLES.some(({ name }) => name === metadata.name)).flatMap(({ metadata }) => Object.keys(metadata.labels ?? {}).filter((key) => key.startsWith("rbac.")));
  assert.deepEqual(await labelsOf(), []);
  assert.deepEqual((await labelsOf("userRoles.aggregate=true")).sort(), ["admin", "admin", "edit", "edit"].map((role) => `rbac.authorization.k8s.io/aggregate-to-${role}`));
});

test("the operator is told whether creators are stamped, and policies may be left to an administrator", async () => {
  for (const stamp of ["true", "false"]) {
    const objects = await render(`admission.creatorStamp=${stamp}`);
    const env = objects.find(({ kind }) => kind === "Deployment")?.spec?.template?.spec.containers[0]?.env ?? [];
    assert.equal(env.find(({ name }) => name === "PADDOCK_CREATOR_STAMP")?.value, stamp);
    assert.equal(objects.some(({ kind }) => kind === "MutatingAdmissionPolicy"), stamp === "true");
  }
  assert.deepEqual((await render("admission.install=false")).filter(({ kind }) => kind.includes("AdmissionPolicy")), []);
});

test("namespaced: the operator has its rights on tenants in the listed namespaces only", async () => {
  const tenant = OPERATOR_TENANT.map(buildRule);
  const rights = rightsOf(await render("watchNamespaces={blue,green}"), "paddock-operator");
  for (const namespace of ["blue", "green"]) {
    assert.deepEqual(rights.filter((right) => right.namespace === namespace).map(({ rule }) => rule), tenant);
  }
  assert.deepEqual([...new Set(rights.map(({ namespace }) => namespace))].sort(), ["", "blue", "green", RELEASE_NAMESPACE]);
  assert.deepEqual(
    rights.filter(({ namespace }) => namespace === "").flatMap(({ rule }) => rule.resources),
    ["subjectaccessreviews", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"],
  );
});

/** What the chart's pods do not keep of what every pod of Paddock's keeps, and a pod that does so all the same: nothing else may be broken with it. */
const EXCEPTIONS: readonly { readonly why: string; readonly rules: readonly string[]; readonly mended: (pod: PosturePod) => PosturePod }[] = [
  {
    why: "both speak to the API server, each by an account of its own with the rights of the table",
    rules: ["no token of the account by default"],
    mended: (pod) => ({ ...pod, spec: { ...pod.spec, automountServiceAccountToken: false } }),
  },
  {
    why: "a limit on CPU would hold up all sessions of a busy cluster at once, and without persistence a limit on storage would count the gateway's log",
    rules: ["limits of CPU, memory and storage", "no request above its limit"],
    mended: (pod) => ({ ...pod, spec: { ...pod.spec, containers: pod.spec.containers.map((container) => ({ ...container, resources: { ...container.resources, limits: { ...limitsLeftOut(container.name), ...container.resources?.limits } } })) } }),
  },
];

/** Memory is limited everywhere: who runs out of it takes others along. */
function limitsLeftOut(container: string): Readonly<Record<string, string>> {
  return container === "gateway" ? { cpu: "1", "ephemeral-storage": "1Gi" } : { cpu: "1" };
}

const INSTALLED: Readonly<Record<string, readonly string[]>> = {
  "by default": [],
  "without persistence": ["gateway.persistence.enabled=false"],
  "with a log in Postgres": ["gateway.postgres.secretName=paddock-postgres", "gateway.postgres.caKey=root", "gateway.replicas=2"],
  "for a few namespaces": ["watchNamespaces={blue,green}"],
};

for (const [how, sets] of Object.entries(INSTALLED)) {
  test(`pods keep what every pod of Paddock's keeps, but for exceptions with a reason, installed ${how}`, async () => {
    const pods = (await render(...sets)).flatMap(({ kind, metadata, spec }) => (spec?.template === undefined ? [] : [{ of: `${kind}/${metadata.name}`, pod: { ...spec.template, metadata: { name: metadata.name, ...spec.template.metadata } } }]));
    assert.deepEqual(pods.map(({ of }) => of).sort(), ["Deployment/paddock-operator", "StatefulSet/paddock-gateway"]);
    for (const { of, pod } of pods) {
      assert.deepEqual([...brokenRules(pod, COMMON)].sort(), EXCEPTIONS.flatMap(({ rules }) => rules).sort(), `${of}: an exception that is not needed any more is taken out`);
      assert.deepEqual(brokenRules(EXCEPTIONS.reduce<PosturePod>((one, { mended }) => mended(one), pod), COMMON), [], `${of}: nothing else is broken along with an exception`);
      assert.equal(pod.spec.securityContext?.["runAsUser"], 65532, of);
    }
  });
}

test("an upgrade leaves the certificate that the gateway has published", async () => {
  const publishedCa = async () => (await get<{ data?: Record<string, string> }>("configmap", GATEWAY_CA.configMap, RELEASE_NAMESPACE))?.data?.[GATEWAY_CA.key];
  const before = await publishedCa();
  assert.match(before ?? "", /BEGIN CERTIFICATE/);
  const args = ["upgrade", "paddock", join(root, "charts/paddock"), "--namespace", RELEASE_NAMESPACE, "--reuse-values", "--kubeconfig", KUBECONFIG];
  await promisify(execFile)(HELM, args);
  assert.equal(await publishedCa(), before);
});

async function gatewayOf(...sets: readonly string[]): Promise<{ readonly claims: readonly unknown[]; readonly volumes: readonly unknown[] | undefined }> {
  const spec = (await render(...sets)).find(({ kind }) => kind === "StatefulSet")?.spec;
  assert.ok(spec?.template);
  return { claims: (spec.volumeClaimTemplates ?? []).map((claim) => claim.spec), volumes: spec.template.spec.volumes };
}

test("persistence: a claim by default, one that exists, or none", async () => {
  const claim = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "8Gi" } } };
  assert.deepEqual(await gatewayOf(), { claims: [claim], volumes: undefined });
  assert.deepEqual(await gatewayOf("gateway.persistence.storageClassName="), { claims: [{ ...claim, storageClassName: "" }], volumes: undefined });
  const named = { name: "data", persistentVolumeClaim: { claimName: "log" } };
  assert.deepEqual(await gatewayOf("gateway.persistence.existingClaim=log"), { claims: [], volumes: [named] });
  assert.deepEqual(await gatewayOf("gateway.persistence.enabled=false"), { claims: [], volumes: [{ name: "data", emptyDir: { sizeLimit: "8Gi" } }] });
});

test("a log in Postgres: the connection string is a mounted file, no claim, and more than one gateway may serve it", async () => {
  const objects = await render("gateway.postgres.secretName=paddock-postgres", "gateway.postgres.key=dsn", "gateway.postgres.caKey=root", "gateway.replicas=2", "gateway.retentionSeconds=0");
  const spec = objects.find(({ kind }) => kind === "StatefulSet")?.spec as { replicas?: number; volumeClaimTemplates?: unknown; template?: { spec: PodSpec } };
  assert.deepEqual([spec.replicas, spec.volumeClaimTemplates], [2, undefined]);
  assert.deepEqual(spec.template?.spec.volumes, [{ name: "postgres", secret: { secretName: "paddock-postgres", items: [{ key: "dsn", path: "url" }, { key: "root", path: "ca.crt" }] } }]);
  const env = new Map(spec.template?.spec.containers[0]?.env?.map(({ name, value }) => [name, value]));
  assert.deepEqual([env.get("PADDOCK_STORE"), env.get("PADDOCK_POSTGRES_URL_FILE"), env.get("PADDOCK_RETENTION_SECONDS"), env.has("PADDOCK_DATA_DIR")], ["postgres", "/run/paddock/postgres/url", "0", false]);
  assert.ok(objects.some(({ kind, metadata }) => kind === "PodDisruptionBudget" && metadata.name === "paddock-gateway"));
});

test("a second gateway on a log in a file is refused", async () => {
  await assert.rejects(render("gateway.replicas=2"), /a log in a file has one writer; set replicas to 1, or keep the log in Postgres/);
});

const REFUSED: Readonly<Record<string, string>> = {
  "a name that does not exist": "watchNamespace={a}",
  "a name that does not exist, deeper": "gateway.persistence.path=/data",
  "a namespace that cannot be one": "watchNamespaces={Blue_1}",
  "a log level that does not exist": "logLevel=verbose",
  "a range without its length": "network.privateRanges={10.0.0.0}",
  "a size without its unit": "gateway.persistence.size=8",
  "a list in place of a word": "image.pullPolicy={Always}",
  "a word in place of yes or no": "admission.creatorStamp=auto",
};

for (const [what, set] of Object.entries(REFUSED)) {
  test(`the schema refuses ${what}`, async () => {
    await assert.rejects(render(set), /specifications of the schema/);
  });
}
