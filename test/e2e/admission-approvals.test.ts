import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Approval, ApprovalSpec } from "@paddock/api/approval";
import { API_VERSION } from "@paddock/api/group";
import type { Session } from "@paddock/api/session";
import { type Identity, admissionActive, grant, openOperator, openServiceAccount, openUser } from "./identities.ts";
import { get, kubectl } from "./kubectl.ts";
import { apply, buildSession, eventually } from "./lab.ts";
import { openNamespace } from "./namespace.ts";

// An approval is a person's own decision, by their right, once and in time.

let namespace: string;
let operator: Identity;
let approver: Identity;
let onlooker: Identity;
/** Of the Session that all approvals here belong to. It names no Agent that exists, so nothing runs. */
let sessionUid: string;

const digest = `sha256:${"0".repeat(64)}`;
const FAR = "2999-01-01T00:00:00Z";

function approval(name: string, spec: Partial<ApprovalSpec> = {}, where = namespace): object {
  const whole: ApprovalSpec = {
    sessionRef: { name: "session", uid: sessionUid }, agentName: "writer", call: "call-1", tool: "bash", fingerprint: digest, argumentsSummary: "git push", argumentsDigest: digest,
    requesters: [], allowRequester: false, allowServiceAccounts: false, requestedAt: "2026-01-01T00:00:00Z", expiresAt: FAR, traceID: "0".repeat(32), ...spec,
  };
  const labels = { "app.kubernetes.io/managed-by": "paddock" };
  const ownerReferences = [{ apiVersion: API_VERSION, kind: "Session", name: "session", uid: sessionUid, controller: true }];
  return { apiVersion: API_VERSION, kind: "Approval", metadata: { name, namespace: where, labels, ownerReferences }, spec: whole };
}

const decide = (name: string, decision: object | null) => ["patch", "approval", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { decision } })];
const approved = (by: Identity, more: object = {}) => ({ decision: "Approved", decidedBy: by.name, at: "2026-01-01T00:00:00Z", ...more });

before(async () => {
  namespace = await openNamespace("approvals");
  await admissionActive(namespace);
  await apply(namespace, buildSession("session", "none", { agent: "none" }));
  sessionUid = (await get<Session>("session", "session", namespace))?.metadata.uid ?? "";
  [operator, approver, onlooker] = await Promise.all([openOperator(), openUser("approver"), openUser("onlooker")]);
  await grant(namespace, operator, [{ apiGroups: ["paddock.dev"], resources: ["approvals", "approvals/status"], verbs: ["create", "get", "update", "patch", "delete"] }]);
  await grant(namespace, approver, "paddock-approver");
  // All of RBAC, but for the agents that calls are made by: `*` on agents would hold the verb approve as well.
  await grant(namespace, onlooker, [{ apiGroups: ["paddock.dev"], resources: ["approvals", "approvals/status"], verbs: ["*"] }]);
});

test("only the operator makes, changes and takes away approvals", async () => {
  const refused = /approvals are written by the operator of Paddock only: decide with status\.decision/;
  const { metadata, ...forged } = approval("forged") as { metadata: { labels: object } };
  // Without the label that would be refused for itself.
  const { labels: _, ...bare } = metadata;
  assert.match(await onlooker.refusal(["create", "-f", "-"], { ...forged, metadata: bare }), refused);
  await operator.must(["create", "-f", "-"], approval("made"));
  assert.match(await onlooker.refusal(["label", "approval", "made", "-n", namespace, "a=b"]), refused);
  assert.match(await onlooker.refusal(["delete", "approval", "made", "-n", namespace]), refused);
  assert.match((await kubectl(["delete", "approval", "made", "-n", namespace])).stderr, refused);
  await operator.must(["delete", "approval", "made", "-n", namespace]);
});

test("the operator makes approvals for the Session that they name only", async () => {
  const strange = { ...approval("strange"), metadata: { name: "strange", namespace, labels: { "app.kubernetes.io/managed-by": "paddock" } } };
  assert.match(await operator.refusal(["create", "-f", "-"], strange), /an Approval of the operator must be owned by the Session that spec\.sessionRef names/);
});

test("an approver decides once: the decision can be neither changed nor removed, by nobody", async () => {
  await operator.must(["create", "-f", "-"], approval("once"));
  await approver.must(decide("once", approved(approver, { reason: "fine", scope: "Once" })));
  const again = /the approval was Approved by approver-[0-9a-f]+@e2e: a decision can be neither changed nor removed/;
  assert.match(await approver.refusal(decide("once", approved(approver, { decision: "Denied" }))), again);
  assert.match(await approver.refusal(decide("once", null)), again);
  assert.match(await operator.refusal(decide("once", null)), again);
  await approver.must(decide("once", approved(approver, { reason: "fine", scope: "Once" })));
  assert.equal((await get<Approval>("approval", "once", namespace))?.status?.decision?.decidedBy, approver.name);
});

test("a decision is made in one's own name, with the right to approve calls of the agent", async () => {
  await operator.must(["create", "-f", "-"], approval("named"));
  assert.match(await approver.refusal(decide("named", approved(onlooker))), /status\.decision\.decidedBy is onlooker-[0-9a-f]+@e2e, but you are approver-[0-9a-f]+@e2e: write your own user name/);
  assert.match(
    await onlooker.refusal(decide("named", approved(onlooker))),
    new RegExp(`you may not approve calls of agent writer: ask for approve on agents\\.paddock\\.dev writer in namespace ${namespace} \\(kubectl auth can-i approve agents\\.paddock\\.dev/writer`),
  );
  await grant(namespace, onlooker, [{ apiGroups: ["paddock.dev"], resources: ["agents"], resourceNames: ["writer"], verbs: ["approve"] }]);
  await onlooker.must([...decide("named", approved(onlooker)), "--dry-run=server"]);
  await operator.must(["create", "-f", "-"], approval("of-another-agent", { agentName: "payer" }));
  assert.match(await onlooker.refusal(decide("of-another-agent", approved(onlooker))), /you may not approve calls of agent payer/);
});

test("who asked for the work does not decide on it, unless the Environment allows that", async () => {
  await operator.must(["create", "-f", "-"], approval("asked", { requesters: ["somebody", approver.name] }));
  assert.match(await approver.refusal(decide("asked", approved(approver))), /who asked for the work may not decide on it: ask somebody else/);
  await operator.must(["create", "-f", "-"], approval("asked-allowed", { requesters: [approver.name], allowRequester: true }));
  await approver.must(decide("asked-allowed", approved(approver)));
});

test("service accounts do not decide, unless the Environment allows that", async () => {
  await apply(namespace, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot" } });
  const robot = await openServiceAccount(namespace, "robot");
  await grant(namespace, robot, "paddock-approver");
  await operator.must(["create", "-f", "-"], approval("robots"));
  assert.match(await robot.refusal(decide("robots", approved(robot))), /service accounts may not decide here: a person has to/);
  await operator.must(["create", "-f", "-"], approval("robots-allowed", { allowServiceAccounts: true }));
  await robot.must(decide("robots-allowed", approved(robot)));
});

test("an approval that has expired takes no decision", async () => {
  await operator.must(["create", "-f", "-"], approval("late", { expiresAt: "2026-01-02T00:00:00Z" }));
  assert.match(await approver.refusal(decide("late", approved(approver))), /the approval expired at 2026-01-02T00:00:00Z, which is a denial: let the session ask again/);
});

test("people write the decision and nothing else of status; the operator may not approve", async () => {
  await operator.must(["create", "-f", "-"], approval("rest"));
  const conditions = [{ type: "Resolved", status: "True", reason: "Approved", message: "", lastTransitionTime: FAR }];
  const whole = (status: object) => ["patch", "approval", "rest", "-n", namespace, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })];
  assert.match(await approver.refusal(whole({ conditions, decision: approved(approver) })), /people write status\.decision only: leave the rest as it is/);
  assert.match(await operator.refusal(decide("rest", approved(operator))), /the operator may not approve: a person has to/);
  await operator.must(whole({ conditions }));
  await approver.must(decide("rest", approved(approver)));
});

test("approvals go with their namespace", async () => {
  const gone = await openNamespace("approvals-gone");
  await grant(gone, operator, [{ apiGroups: ["paddock.dev"], resources: ["approvals"], verbs: ["create"] }]);
  await operator.must(["create", "-f", "-"], approval("left", {}, gone));
  await kubectl(["delete", "namespace", gone, "--wait=false"]);
  await eventually("the namespace to be gone", async () => (await kubectl(["get", "namespace", gone])).stderr.includes("NotFound"));
});
