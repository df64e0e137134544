import assert from "node:assert/strict";
import { test } from "node:test";
import { buildAdmission } from "@paddock/api/admission/policies";
import { releaseOf } from "@paddock/api/admission/policy";
import { type Finding, reviewAdmission } from "./review.ts";

const wanted = buildAdmission(releaseOf("paddock-system", ["blue"]), { creatorStamp: true });

/** What is held when everything stands, with the finding of one object replaced. */
function heldBut(index: number, change: (spec: Readonly<Record<string, unknown>>) => Finding): readonly Finding[] {
  return wanted.map((object, at): Finding => (at === index ? change(object.spec) : { spec: object.spec }));
}

const onlyProblem = (findings: readonly Finding[]): string => {
  const { trusted, problems } = reviewAdmission(wanted, findings);
  assert.deepEqual([trusted, problems.length], [false, 1]);
  return problems[0] ?? "";
};

const bindingAt = wanted.findIndex(({ kind }) => kind === "ValidatingAdmissionPolicyBinding");

test("what stands as it was made is trusted", () => {
  assert.deepEqual(reviewAdmission(wanted, wanted.map(({ spec }) => ({ spec, status: { typeChecking: {} } }))), { trusted: true, problems: [] });
});

test("an absent policy is named, and who can help", () => {
  assert.match(onlyProblem(heldBut(0, () => "absent")), /^ValidatingAdmissionPolicy environment-references\.paddock-system\.paddock\.dev does not exist: a cluster administrator .*helm upgrade/);
});

test("every hole that somebody makes is seen: a condition, another action, other namespaces, a softer failure", () => {
  assert.match(onlyProblem(heldBut(0, (spec) => ({ spec: { ...spec, matchConditions: [{ name: "never", expression: "false" }] } }))), /was changed in spec\.matchConditions/);
  assert.match(onlyProblem(heldBut(0, (spec) => ({ spec: { ...spec, failurePolicy: "Ignore" } }))), /was changed in spec\.failurePolicy/);
  assert.match(onlyProblem(heldBut(0, (spec) => ({ spec: { ...spec, paramKind: { apiVersion: "v1", kind: "ConfigMap" } } }))), /was changed in spec\.paramKind/);
  assert.match(onlyProblem(heldBut(bindingAt, (spec) => ({ spec: { ...spec, validationActions: ["Warn"] } }))), /was changed in spec\.validationActions/);
  assert.match(onlyProblem(heldBut(bindingAt, (spec) => ({ spec: { ...spec, matchResources: { matchPolicy: "Equivalent", objectSelector: {}, namespaceSelector: { matchLabels: { none: "such" } } } } }))), /was changed in spec\.matchResources/);
});

test("policies of a release that serves other namespaces are not this one's", () => {
  const others = buildAdmission(releaseOf("paddock-system", []), { creatorStamp: true });
  assert.equal(reviewAdmission(wanted, others.map(({ spec }) => ({ spec }))).trusted, false);
});

test("an object that is going, that we may not see, or that does not type-check is not trusted", () => {
  assert.match(onlyProblem(heldBut(0, (spec) => ({ spec, metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }))), /is being deleted/);
  assert.match(onlyProblem(heldBut(0, () => "forbidden")), /may not get .*paddock-operator-cluster/);
  const status = { typeChecking: { expressionWarnings: [{ fieldRef: "spec.validations[0].expression", warning: "paddock.dev/v1alpha1, Kind=Environment:\nundefined field 'models'" }] } };
  assert.match(onlyProblem(heldBut(0, (spec) => ({ spec, status }))), /does not type-check at spec\.validations\[0\]\.expression \(paddock\.dev/);
});

test("of many problems the first are told and the others counted", () => {
  const { problems } = reviewAdmission(wanted, []);
  assert.equal(problems.length, 4);
  assert.equal(problems[3], `${wanted.length - 3} more policies or bindings are not as they should be`);
});
