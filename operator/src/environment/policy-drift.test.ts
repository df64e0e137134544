import assert from "node:assert/strict";
import { test } from "node:test";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { isSamePolicy } from "./policy-drift.ts";
import { environment, settings } from "./sample.ts";

const { spec } = buildRunnerPolicy(environment({ network: { inCluster: [{ podSelector: {}, ports: [9000] }] } }), settings);

/** As the API server gives it back: key order of its own, empty lists dropped. */
const served = JSON.parse(JSON.stringify({ policyTypes: spec.policyTypes, egress: spec.egress, podSelector: spec.podSelector })) as typeof spec;

test("what the API server gives back is the same policy", () => {
  assert.ok(isSamePolicy(spec, served));
  const { spec: sandbox } = buildSandboxPolicy(environment());
  const { egress: _, ...rest } = sandbox;
  assert.ok(isSamePolicy(sandbox, rest));
  assert.ok(isSamePolicy({ ingress: [{ ports: [{ port: 8080 }] }] }, { ingress: [{ ports: [{ port: 8080, protocol: "TCP" }] }] }));
});

test("every change that allows more or less is a difference", () => {
  const open = { ...served, ingress: [{}] };
  assert.equal(isSamePolicy(spec, open), false, "ingress from everywhere");
  assert.equal(isSamePolicy(spec, { ...served, egress: [...served.egress, {}] }), false, "egress to everywhere");
  assert.equal(isSamePolicy(spec, { ...served, egress: served.egress.slice(1) }), false, "a rule is missing");
  assert.equal(isSamePolicy(spec, { ...served, policyTypes: ["Ingress"] }), false, "egress not covered");
  assert.equal(isSamePolicy(spec, { ...served, podSelector: {} }), false, "other pods");
  const noPorts = served.egress.map(({ to }) => ({ to }));
  assert.equal(isSamePolicy(spec, { ...served, egress: noPorts }), false, "every port");
  const wider = JSON.parse(JSON.stringify(served).replace('"10.0.0.0/8",', "")) as typeof spec;
  assert.equal(isSamePolicy(spec, wider), false, "an exception is missing");
  assert.equal(isSamePolicy(spec, undefined), false);
});

test("an empty selector is not the same as none: it selects every namespace", () => {
  assert.equal(isSamePolicy({ from: [{ namespaceSelector: {}, podSelector: {} }] }, { from: [{ podSelector: {} }] }), false);
});
