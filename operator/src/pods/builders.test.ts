import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import type { Environment } from "@paddock/api/environment";
import { at, record, session, settings } from "../session/sample.ts";
import { buildRunnerPod } from "./runner.ts";
import { buildSandboxPod } from "./sandbox.ts";
import { buildWorkspaceClaim } from "./workspace.ts";

// The golden files are what reviewers read. After a wanted change: node --test --test-update-snapshots operator/src/pods/builders.test.ts

const golden = { serializers: [(value: unknown) => stringify(value, { lineWidth: 0 })] };
const { bundle, deadline } = record();
const parts = { session: session(), bundle, deadline, settings };

function withSpec(change: Partial<Environment["spec"]>): typeof parts {
  return { ...parts, bundle: { ...bundle, environment: { ...bundle.environment, spec: { ...bundle.environment.spec, ...change } } } };
}

test("the runner pod is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildRunnerPod(parts, 1, at(0)), join(import.meta.dirname, "runner.golden.yaml"), golden);
});

test("the sandbox pod is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildSandboxPod(parts, 1, at(0)), join(import.meta.dirname, "sandbox.golden.yaml"), golden);
});

test("the sandbox pod follows its Environment's image, runtime class, resources and workspace", (t) => {
  const sandbox = {
    image: "registry.example/python@sha256:0123",
    runtimeClassName: "gvisor",
    resources: { requests: { cpu: "2", memory: "2Gi" }, limits: { memory: "4Gi" } },
    workspace: { size: "4Gi" },
  };
  t.assert.fileSnapshot(buildSandboxPod(withSpec({ sandbox }), 3, at(599)), join(import.meta.dirname, "sandbox-custom.golden.yaml"), golden);
});

test("no pod builder changes what it is given, and equal input gives equal pods", () => {
  const before = structuredClone(parts);
  assert.deepEqual(buildRunnerPod(parts, 2, at(3)), buildRunnerPod(parts, 2, at(3)));
  assert.deepEqual(buildSandboxPod(parts, 2, at(3)), buildSandboxPod(parts, 2, at(3)));
  assert.deepEqual(parts, before);
});

test("the sandbox pod holds no secret, no token and no volume but empty directories", () => {
  const { spec } = buildSandboxPod(parts, 1, at(0));
  assert.deepEqual(spec.volumes.map((volume) => Object.keys(volume).sort()), [["emptyDir", "name"], ["emptyDir", "name"], ["emptyDir", "name"]]);
  assert.equal(spec.automountServiceAccountToken, false);
  assert.deepEqual(spec.containers.map(({ env }) => env.map(({ name }) => name)), [["PADDOCK_WORKSPACE", "PADDOCK_HOST_IP"]]);
});

test("a runner has the values of credentials and authorities as optional files of one key each, apart from a model of the same name", (t) => {
  const secretKeyRef = { name: "git", key: "token" };
  const change = {
    models: [{ name: "git", model: "x", baseURL: "https://a.example/v1", apiKey: { secretKeyRef: { name: "openai", key: "api-key" } } }],
    credentials: [{ name: "git", secretKeyRef, hosts: ["git.example.com"] }],
    network: { allowedHosts: [{ host: "git.example.com" }], caBundle: { configMapKeyRef: { name: "company", key: "roots.pem" } } },
  };
  const given = { ...withSpec(change), settings: { ...settings, canaries: ["203.0.113.7:443"] } };
  t.assert.fileSnapshot(buildRunnerPod(given, 1, at(0)), join(import.meta.dirname, "runner-files.golden.yaml"), golden);
});

test("a workspace that is kept is a claim, which the pod's own storage does not count", (t) => {
  const { spec } = buildSandboxPod(withSpec({ sandbox: { workspace: { size: "20Gi", persistence: "Session" } } }), 2, at(0));
  assert.deepEqual(spec.volumes[0], { name: "workspace", persistentVolumeClaim: { claimName: "notes-w" } });
  assert.equal(spec.containers[0]?.resources.limits["ephemeral-storage"], "512Mi");
  const kept = { ...bundle.environment, spec: { ...bundle.environment.spec, sandbox: { workspace: { size: "20Gi", persistence: "Session" as const, storageClassName: "fast" } } } };
  t.assert.fileSnapshot(buildWorkspaceClaim(session(), kept), join(import.meta.dirname, "workspace.golden.yaml"), golden);
});

test("a runner has a credential for each model with an API key, and none in its environment variables", () => {
  const { spec } = buildRunnerPod(parts, 1, at(0));
  assert.deepEqual(spec.volumes.map(({ name }) => name), ["token", "model-default", "tmp"]);
  assert.equal(JSON.stringify(spec.containers.map(({ env }) => env)).includes("openai"), false);
});

test("a model's name of 63 characters still gives a volume name that Kubernetes takes", () => {
  const name = "m".repeat(63);
  const { spec } = buildRunnerPod(withSpec({ models: [{ name, model: "x", baseURL: "https://a.example/v1", apiKey: { secretKeyRef: { name: "s", key: "k" } } }] }), 1, at(0));
  const volume = spec.volumes[1];
  assert.match(volume?.name ?? "", /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  assert.deepEqual(spec.containers[0]?.volumeMounts[1], { name: volume?.name, mountPath: `/run/paddock/credentials/model-${name}`, readOnly: true });
});

test("default requests give way to a lower given limit, default limits to a higher given request", () => {
  const resources = { requests: { cpu: 4 }, limits: { memory: "64Mi" } };
  assert.deepEqual(buildRunnerPod(withSpec({ runner: { resources } }), 1, at(0)).spec.containers[0]?.resources, {
    requests: { cpu: "4", memory: "64Mi", "ephemeral-storage": "32Mi" },
    limits: { cpu: "4", memory: "64Mi", "ephemeral-storage": "256Mi" },
  });
});

test("the pods' last net is a day behind the session's deadline, for waiting does not count towards it", () => {
  assert.equal(buildRunnerPod(parts, 1, at(0)).spec.activeDeadlineSeconds, 87_000);
  assert.equal(buildSandboxPod(parts, 1, at(599.5)).spec.activeDeadlineSeconds, 86_401);
  assert.equal(buildSandboxPod(parts, 1, at(9999)).spec.activeDeadlineSeconds, 86_400);
  assert.equal(buildSandboxPod({ ...parts, deadline: undefined }, 1, at(9999)).spec.activeDeadlineSeconds, 87_000, "one that goes on after a wait has its whole time at most");
});

test("pods follow their Environment's placement, pull secrets and user namespaces, and carry a schedule's and let-through labels only", (t) => {
  const scheduling = { nodeSelector: { pool: "agents" }, tolerations: [{ key: "agents", operator: "Exists" as const }], priorityClassName: "batch" };
  const labels = { "paddock.dev/schedule": "nightly", team: "docs", other: "x", "app.kubernetes.io/managed-by": "argocd", "argocd.argoproj.io/instance": "app" };
  const placed = {
    ...withSpec({ imagePullSecrets: [{ name: "registry" }], scheduling, sandbox: { userNamespaces: true } }),
    session: session({ metadata: { labels } }),
    settings: { ...settings, propagatedLabels: ["team", "app.kubernetes.io/managed-by", "argocd.argoproj.io/instance", "paddock.dev/agent"] },
  };
  t.assert.fileSnapshot(buildSandboxPod(placed, 1, at(0)), join(import.meta.dirname, "sandbox-placed.golden.yaml"), golden);
  const { hostUsers, imagePullSecrets, nodeSelector } = { hostUsers: undefined, ...buildRunnerPod(placed, 1, at(0)).spec };
  assert.deepEqual([hostUsers, imagePullSecrets, nodeSelector], [undefined, [{ name: "registry" }], { pool: "agents" }]);
});

test("the pods of a Conversation are not bound to the time of its first message", () => {
  const { spec } = buildRunnerPod({ ...parts, session: session({ spec: { mode: "Conversation" } }) }, 1, at(500_000));
  assert.equal(spec.activeDeadlineSeconds, 604_800);
});
