import assert from "node:assert/strict";
import { test } from "node:test";
import type { Identity } from "./review.ts";
import { decideCaller } from "./roles.ts";

const OPERATOR = "system:serviceaccount:paddock-system:paddock-operator";
const POD = "system:serviceaccount:team:paddock-pod";
const bound = { "authentication.kubernetes.io/pod-uid": ["p1"], "authentication.kubernetes.io/pod-name": ["job-r1"] };

function identity(username: string, change: Partial<Identity> = {}): Identity {
  return { username, uid: "", groups: [], extra: {}, forGateway: true, ...change };
}

function roleOf(caller: Identity): string {
  return decideCaller(caller, OPERATOR).role;
}

test("a pod-bound token of the pods' service account is a runner's", () => {
  assert.deepEqual(decideCaller(identity(POD, { extra: bound }), OPERATOR), { role: "runner", namespace: "team", podUid: "p1", podName: "job-r1" });
});

test("the operator's user is the operator, with a token for the gateway", () => {
  assert.equal(roleOf(identity(OPERATOR)), "operator");
});

test("everybody else is a person, however similar", () => {
  for (const caller of [
    identity(OPERATOR, { forGateway: false }),
    identity(POD, { extra: bound, forGateway: false }),
    identity(POD),
    identity(POD, { extra: { "authentication.kubernetes.io/pod-uid": ["p1"] } }),
    identity("system:serviceaccount:team:paddock-pod-2", { extra: bound }),
    identity("system:serviceaccount:team:other", { extra: bound }),
    identity("x:system:serviceaccount:team:paddock-pod", { extra: bound }),
    identity("paddock-pod", { extra: bound }),
    identity("system:serviceaccount:elsewhere:paddock-operator"),
    identity("ann"),
  ]) {
    assert.equal(roleOf(caller), "person", caller.username);
  }
});
