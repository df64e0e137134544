import assert from "node:assert/strict";
import { test } from "node:test";
import { GATEWAY_CLUSTER, GATEWAY_RELEASE, OPERATOR_RELEASE, OPERATOR_TENANT, type Right, USER_ROLES, operatorClusterRights } from "./table.ts";

const ours: readonly Right[] = [...OPERATOR_TENANT, ...OPERATOR_RELEASE, ...operatorClusterRights("paddock-system"), ...GATEWAY_CLUSTER, ...GATEWAY_RELEASE];
const all: readonly Right[] = [...ours, ...USER_ROLES.flatMap(({ rights }) => rights)];

const FORBIDDEN = /^(\*|.*\*.*|secrets|nodes|pods\/(exec|attach|portforward|proxy|ephemeralcontainers)|serviceaccounts\/token|.*webhookconfigurations|(cluster)?role(binding)?s)$/;

test("nobody is given Secrets, a wildcard, entry into pods or anything that gives more rights", () => {
  for (const right of all) {
    assert.deepEqual([right.group, ...right.resources].filter((name) => FORBIDDEN.test(name)), [], JSON.stringify(right));
    assert.deepEqual(right.verbs.filter((verb) => ["*", "impersonate", "escalate", "bind"].includes(verb)), [], JSON.stringify(right));
  }
});

test("every right says why", () => {
  for (const { why } of all) assert.match(why, /^\S.*\.$/);
});

test("in the whole cluster the operator asks about access and gets its own policies, by name", () => {
  for (const { resources, verbs, names } of operatorClusterRights("paddock-system")) {
    if (resources[0] === "subjectaccessreviews") assert.deepEqual([resources, verbs], [["subjectaccessreviews"], ["create"]]);
    else {
      assert.match(resources.join(), /^(validating|mutating)admissionpolic(ies|ybindings)$/);
      assert.deepEqual(verbs, ["get"]);
      assert.ok((names ?? []).length > 0);
      assert.deepEqual((names ?? []).filter((name) => !name.endsWith(".paddock-system.paddock.dev")), []);
    }
  }
});

test("people's roles write no status but that of approvals", () => {
  const written = USER_ROLES.flatMap(({ rights }) => rights).filter(({ resources, verbs }) => resources.some((name) => name.endsWith("/status")) && verbs.some((verb) => verb !== "get"));
  assert.deepEqual(written.map(({ resources, verbs }) => [resources, verbs]), [[["approvals/status"], ["get", "patch"]]]);
});

test("who runs sessions may read their logs and send them messages", () => {
  const user = USER_ROLES.find(({ name }) => name === "paddock-user");
  const verbs = user?.rights.filter(({ resources }) => resources.includes("sessions/events")).flatMap((right) => right.verbs);
  assert.deepEqual(verbs, ["get", "create"]);
});
