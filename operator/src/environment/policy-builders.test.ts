import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import { buildBaselinePolicy } from "./policy-baseline.ts";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { environment, settings } from "./sample.ts";
import { buildServiceAccount } from "./service-account.ts";

// The golden files are what reviewers read. After a wanted change: node --test --test-update-snapshots operator/src/environment/policy-builders.test.ts

const golden = { serializers: [(value: unknown) => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })] };
const file = (name: string): string => join(import.meta.dirname, `${name}.golden.yaml`);

const mixed = environment({
  models: [
    { name: "default", model: "a", baseURL: "https://api.openai.com/v1" },
    { name: "second", model: "b", baseURL: "https://models.example:8443/v1" },
    { name: "third", model: "c", baseURL: "https://other.example/v1" },
    { name: "local", model: "d", baseURL: "http://llama.models.svc:8000/v1" },
  ],
  network: {
    inCluster: [
      { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "models" } }, podSelector: { matchLabels: { app: "llama" } }, ports: [8000] },
      { podSelector: { matchLabels: { app: "cache" } }, ports: [6379, 6380] },
      { ports: [9000] },
    ],
  },
});

test("the service account is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildServiceAccount("demo"), file("service-account"), golden);
});

test("the baseline policy is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildBaselinePolicy("demo"), file("policy-baseline"), golden);
});

test("the sandbox policy is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildSandboxPolicy(environment()), file("policy-sandbox"), golden);
});

test("the runner policy is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildRunnerPolicy(mixed, settings), file("policy-runner"), golden);
});

type Rule = ReturnType<typeof buildRunnerPolicy>["spec"]["egress"][number];
const isPublic = ({ to }: Rule): boolean => to.some(({ ipBlock }) => ipBlock !== undefined);

test("an Environment whose models are all in the cluster opens no public address", () => {
  const inside = environment({ models: [{ name: "local", model: "d", baseURL: "http://llama.models.svc:8000/v1" }], network: { inCluster: [{ ports: [8000] }] } });
  assert.equal(buildRunnerPolicy(inside, settings).spec.egress.some(isPublic), false);
});

test("allowed hosts open their ports to the internet, named networks theirs only, and a Service nothing", () => {
  const allowedHosts = [
    { host: "api.example.com" },
    { host: "*.example.org", ports: [8443, 443] },
    { host: "git.company.example", ports: [22, 2222], addresses: ["10.20.0.0/16", "fd00:20::/64"] },
    { host: "mirror.company.example", addresses: ["169.254.0.0/16", "10.0.0.0/40", "10.30.0.0/16"] },
    { host: "git.tools.svc", ports: [3000] },
  ];
  const opened = environment({ models: [{ name: "local", model: "d", baseURL: "http://llama.models.svc:8000/v1" }], network: { allowedHosts } });
  const { egress } = buildRunnerPolicy(opened, settings).spec;
  const shown = egress.filter(isPublic).map(({ to, ports }) => `${to.map(({ ipBlock }) => ipBlock?.cidr).join(" ")} ${ports.map(({ port }) => port).join()}`);
  assert.deepEqual(shown, ["0.0.0.0/0 ::/0 22,443,2222,8443", "10.20.0.0/16 fd00:20::/64 22,2222", "10.30.0.0/16 443"]);
  assert.equal(JSON.stringify(egress).includes("3000"), false);
});

test("no rule is ever without peers or ports, which would allow everything", () => {
  const { egress } = buildRunnerPolicy(mixed, { ...settings, dnsPeers: [] }).spec;
  assert.equal(egress.some(({ ports }) => ports.some(({ port }) => port === 53)), false);
  assert.ok(egress.length > 0 && egress.every(({ to, ports }) => to.length > 0 && ports.length > 0));
});

test("private ranges are excepted by address family", () => {
  const rule = buildRunnerPolicy(mixed, settings).spec.egress.find(isPublic);
  assert.deepEqual(rule?.to.map(({ ipBlock }) => [ipBlock?.cidr, ipBlock?.except?.every((cidr) => cidr.includes(":") === (ipBlock.cidr === "::/0"))]), [["0.0.0.0/0", true], ["::/0", true]]);
  assert.equal(rule?.to.flatMap(({ ipBlock }) => ipBlock?.except ?? []).length, settings.privateRanges.length);
});

test("a long Environment name gives labels that Kubernetes takes, the same in pods' selector and policy", () => {
  const long = environment({}, { name: `${"e".repeat(100)}.x` });
  const label = buildSandboxPolicy(long).spec.podSelector.matchLabels["paddock.dev/environment"] ?? "";
  assert.ok(label.length <= 63);
  assert.equal(buildRunnerPolicy(long, settings).spec.podSelector.matchLabels["paddock.dev/environment"], label);
});
