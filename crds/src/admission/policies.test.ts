import assert from "node:assert/strict";
import { test } from "node:test";
import { runnerPodName, sandboxPodName, workspaceClaimName } from "../names.ts";
import { buildAdmission, validatingDefinitions } from "./policies.ts";
import { releaseOf } from "./policy.ts";

const release = releaseOf("paddock-system", ["blue", "green"]);
const definitions = validatingDefinitions(release);
const objects = buildAdmission(release, { creatorStamp: true });

test("every policy fails closed, denies, and carries the name of its release", () => {
  for (const { kind, metadata, spec } of objects) {
    assert.match(metadata.name, /^[a-z-]+\.paddock-system\.paddock\.dev$/);
    if (kind.endsWith("Policy")) assert.equal(spec.failurePolicy, "Fail", metadata.name);
    if (kind === "ValidatingAdmissionPolicyBinding") assert.deepEqual(spec.validationActions, ["Deny"], metadata.name);
    if (kind.endsWith("Binding")) assert.equal(spec.policyName, metadata.name);
  }
});

test("a policy has one binding, and names are its own", () => {
  const named = (kind: RegExp) => objects.filter((object) => kind.test(object.kind)).map(({ metadata }) => metadata.name);
  assert.deepEqual(named(/Policy$/), named(/Binding$/));
  assert.equal(new Set(named(/Policy$/)).size, definitions.length + 1);
});

test("bindings match the release's namespaces only; what binds the operator holds everywhere", () => {
  const selector = { matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "In", values: ["blue", "green"] }] };
  for (const { kind, metadata, spec } of objects.filter((object) => object.kind.endsWith("Binding"))) {
    const { namespaceSelector } = spec.matchResources as { namespaceSelector: unknown };
    assert.deepEqual(namespaceSelector, metadata.name.startsWith("operator-") ? {} : selector, `${kind} ${metadata.name}`);
  }
});

test("no expression asks the authorizer twice, and no policy more than 20 times: the API server bounds what both may cost", () => {
  const asked = (text: string): number => text.split(".check(").length - 1;
  for (const { name, checks } of definitions) {
    for (const { expression } of checks) assert.ok(asked(expression) <= 1, `${name}: ${expression}`);
    assert.ok(checks.reduce((sum, { expression }) => sum + asked(expression), 0) <= 20, name);
  }
});

test("every refusal says something to people, on one line, also when its words cannot be made", () => {
  for (const { name, checks } of definitions) {
    for (const { message } of checks) assert.ok(message.length > 30 && message.length < 300 && !message.includes("\n"), `${name}: ${message}`);
  }
});

test("a check of a right says how to ask for it", () => {
  for (const { name, checks } of definitions) {
    for (const { expression, tell = "" } of checks.filter((check) => check.expression.includes("authorizer"))) assert.match(tell, /ask for \w+ on .*kubectl auth can-i /, `${name}: ${expression}`);
  }
});

test("where creators cannot be stamped, they are still proven", () => {
  const kinds = new Set(buildAdmission(release, { creatorStamp: false }).map(({ kind }) => kind));
  assert.deepEqual([...kinds], ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]);
  assert.ok(definitions.some(({ name }) => name === "creator-proof"));
});

test("an operator outside watchNamespaces writes nothing: the list is in its policies", () => {
  const pods = definitions.find(({ name }) => name === "operator-pods");
  assert.match(pods?.checks[0]?.expression ?? "", /request\.namespace in \['blue', 'green'\]$/);
  assert.equal(releaseOf("paddock-system", []).watchedCel, "[]");
});

test("policies that go by names know those of pods and claims, however long a session's is", () => {
  const pattern = (policy: string, expression: (text: string) => boolean): RegExp => {
    const { conditions = [], checks } = definitions.find(({ name }) => name === policy) ?? assert.fail(policy);
    const found = [...conditions, ...checks].map((part) => part.expression).find(expression) ?? assert.fail(policy);
    return new RegExp(/matches\('(.+?)'\)/.exec(found)?.[1] ?? assert.fail(found));
  };
  const byName = (text: string) => text.includes("matches(");
  const [exec, ports, claims] = [pattern("runner-exec", byName), pattern("pod-ports", byName), pattern("operator-claims", byName)];
  for (const session of ["a", "nightly.build", "x".repeat(253)]) {
    const [runner, sandbox] = [runnerPodName(session, 12), sandboxPodName(session, 3)];
    assert.deepEqual([runner, sandbox].map((name) => exec.test(name)), [true, false], "who may look into a sandbox is not asked for Secrets");
    // `proxy` is asked for with a scheme before the name and a port behind it.
    for (const name of [runner, sandbox]) for (const written of [name, `${name}:8080`, `${name}:tools`, `https:${name}:8080`]) assert.match(written, ports);
    assert.match(workspaceClaimName(session), claims);
  }
  for (const foreign of ["web-1", "s1", "web:8080", "a-s1-x", "a-s1x"]) assert.doesNotMatch(foreign, ports);
});
