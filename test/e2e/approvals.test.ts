import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Approval } from "@paddock/api/approval";
import type { LogEvent } from "@paddock/api/log/events";
import { approvalName } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import { type Identity, admissionActive, grant, openUser } from "./identities.ts";
import { get, must } from "./kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf, reasonOf } from "./lab.ts";
import { call, deployModel, modelRequests, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { type PeopleClient, openGateway, readLog, userToken } from "./people.ts";

// A call with permission Ask, from the model's wish to the person's decision to the command, all of it real.

let namespace: string;
let gateway: PeopleClient;
let token: string;
let approver: Identity;
let requester: Identity;
let onlooker: Identity;

const echo = (text: string) => call("bash", { command: `echo ${text}` });

before(async () => {
  namespace = await openNamespace("approve");
  await admissionActive(namespace);
  await deployModel(namespace, {
    approve: [echo("approved-ran"), { ...say("It ran."), expect: "approved-ran" }],
    deny: [echo("never"), { ...say("It was denied."), expect: "not before Monday" }],
    expire: [echo("never"), say("Nobody came.")],
    cancel: [echo("never"), say("never")],
    pair: [{ toolCalls: [{ name: "bash", arguments: { command: "echo first" } }, { name: "bash", arguments: { command: "echo second" } }] }, { ...say("Both ran."), expect: "first[^]*second" }],
    scope: [echo("same"), echo("same"), echo("same"), say("Thrice.")],
  });
  const ask = buildAgent("asks", { tools: [{ name: "bash", permission: "Ask" }] });
  const idle = { approvals: { timeoutSeconds: 600 } };
  await apply(namespace, ask, buildEnvironment("environment", { spec: idle }), buildEnvironment("hasty", { spec: { approvals: { timeoutSeconds: 5 } } }));
  [approver, requester, onlooker] = await Promise.all([openUser("approver"), openUser("requester"), openUser("onlooker")]);
  await grant(namespace, approver, "paddock-approver");
  await grant(namespace, requester, "paddock-approver");
  await grant(namespace, requester, "paddock-user");
  await grant(namespace, requester, [{ apiGroups: ["paddock.dev"], resources: ["environments"], verbs: ["use"] }]);
  await grant(namespace, onlooker, [{ apiGroups: ["paddock.dev"], resources: ["approvals", "approvals/status"], verbs: ["get", "patch"] }]);
  token = await userToken(namespace);
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

const decide = (name: string, decision: object) => ["patch", "approval", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { decision } })];
const decision = (by: Identity, verdict: "Approved" | "Denied", more: object = {}) => ({ decision: verdict, decidedBy: by.name, at: new Date().toISOString(), ...more });

async function start(name: string, prompt: string, environment = "environment"): Promise<void> {
  await requester.must(["create", "-n", namespace, "-f", "-"], buildSession(name, prompt, { agent: "asks", environment, spec: { idleTimeoutSeconds: 0 } }));
}

async function waiting(name: string): Promise<Approval> {
  return eventually(`an Approval of ${name}`, async () => get<Approval>("approval", approvalName(name, "root/1/0"), namespace));
}

async function resolved(name: string, index = 0, turn = 1): Promise<{ reason: string; message: string }> {
  return eventually(`the end of the Approval of ${name}`, async () => {
    const approval = await get<Approval>("approval", approvalName(name, `root/${turn}/${index}`), namespace);
    const condition = approval?.status?.conditions?.find(({ type, status }) => type === "Resolved" && status === "True");
    return condition && { reason: condition.reason, message: condition.message };
  });
}

async function log(name: string): Promise<LogEvent[]> {
  return readLog(gateway, namespace, name, token);
}

test("a call waits without pods, a person with the right approves, and status and log show who", async () => {
  await start("approved", "approve");
  const approval = await waiting("approved");
  assert.deepEqual([approval.spec.tool, approval.spec.agentName, approval.spec.sessionRef.name, approval.spec.requesters], ["bash", "asks", "approved", [requester.name]]);
  assert.match(approval.spec.argumentsSummary, /echo approved-ran/);
  await eventually("AwaitingApproval without pods", async () => {
    const session = await get<Session>("session", "approved", namespace);
    const pods = [...(await podsOf(namespace, "approved", "runner")), ...(await podsOf(namespace, "approved", "sandbox"))];
    return session !== undefined && reasonOf(session) === "AwaitingApproval" && pods.length === 0;
  });
  await approver.must(decide(approval.metadata.name, decision(approver, "Approved", { reason: "fine" })));
  assert.equal(reasonOf(await finished(namespace, "approved")), "Completed");
  assert.equal((await resolved("approved")).reason, "Approved");
  const table = await must(["get", "approval", approval.metadata.name, "-n", namespace]);
  assert.match(table, new RegExp(`Approved.*${approver.name}`));
  const events = await log("approved");
  const resolution = events.find(({ type }) => type === "approval.resolved");
  assert.ok(resolution?.type === "approval.resolved" && resolution.data.by === approver.name && resolution.data.decision === "Approved");
  const started = events.find(({ type }) => type === "tool.started");
  assert.ok(started !== undefined && started.seq > resolution.seq, "the command started after the decision");
});

test("a denial reaches the model with its reason, and the command never starts", async () => {
  await start("denied", "deny");
  const { metadata } = await waiting("denied");
  await approver.must(decide(metadata.name, decision(approver, "Denied", { reason: "not before Monday" })));
  assert.equal(reasonOf(await finished(namespace, "denied")), "Completed");
  assert.equal((await log("denied")).some(({ type }) => type === "tool.started"), false);
  assert.equal((await resolved("denied")).reason, "Denied");
});

test("nobody decides: the call is denied when its time is over, without any pod, and a late decision is refused", async () => {
  await start("expired", "expire", "hasty");
  const { metadata } = await waiting("expired");
  assert.equal(reasonOf(await finished(namespace, "expired")), "Completed");
  assert.equal((await resolved("expired")).reason, "Expired");
  assert.match(await approver.refusal(decide(metadata.name, decision(approver, "Approved"))), /the approval expired at .*, which is a denial: let the session ask again/);
  const events = await log("expired");
  assert.ok(events.some((event) => event.type === "approval.resolved" && event.role === "gateway" && event.data.decision === "Expired"));
  assert.equal(events.some(({ type }) => type === "tool.started"), false);
});

test("the requester, one without the right, another's name, another digest and a second decision are refused, each with its sentence", async () => {
  await start("guarded", "approve");
  const { metadata } = await waiting("guarded");
  assert.match(await requester.refusal(decide(metadata.name, decision(requester, "Approved"))), /who asked for the work may not decide on it/);
  assert.match(await onlooker.refusal(decide(metadata.name, decision(onlooker, "Approved"))), /you may not approve calls of agent asks: ask for approve on agents\.paddock\.dev asks/);
  assert.match(await approver.refusal(decide(metadata.name, decision(requester, "Approved"))), /write your own user name/);
  const other = `sha256:${"0".repeat(64)}`;
  assert.match(await approver.refusal(decide(metadata.name, decision(approver, "Approved", { argumentsDigest: other }))), /is not the digest of the arguments that wait/);
  const { spec } = await waiting("guarded");
  await approver.must(decide(metadata.name, decision(approver, "Approved", { argumentsDigest: spec.argumentsDigest })));
  assert.match(await approver.refusal(decide(metadata.name, decision(approver, "Denied"))), /the approval was Approved by .*: a decision can be neither changed nor removed/);
  assert.equal(reasonOf(await finished(namespace, "guarded")), "Completed");
});

test("several calls of one turn: each has its Approval, and the model is asked again when all are decided", async () => {
  await start("pair", "pair");
  await waiting("pair");
  const [first, second] = [approvalName("pair", "root/1/0"), approvalName("pair", "root/1/1")];
  await eventually("the second Approval", async () => get<Approval>("approval", second, namespace));
  await approver.must(decide(second, decision(approver, "Approved")));
  await eventually("the second call's result", async () => (await log("pair")).some((event) => event.type === "tool.finished" && event.data.call === "root/1/1"));
  assert.equal((await log("pair")).filter(({ type }) => type === "model.requested").length, 1, "the model waits for the first call");
  await approver.must(decide(first, decision(approver, "Approved")));
  assert.equal(reasonOf(await finished(namespace, "pair")), "Completed");
});

test("scope Session: equal calls of the session are asked for once", async () => {
  await start("scoped", "scope");
  const { metadata } = await waiting("scoped");
  await approver.must(decide(metadata.name, decision(approver, "Approved", { scope: "Session" })));
  assert.equal(reasonOf(await finished(namespace, "scoped")), "Completed");
  const events = await log("scoped");
  assert.deepEqual([events.filter(({ type }) => type === "approval.requested").length, events.filter(({ type }) => type === "tool.started").length], [1, 3]);
});

test("cancel while a call waits: the session ends at once, and the Approval says that nobody is asked any more", async () => {
  await start("cancelled", "cancel");
  await waiting("cancelled");
  await must(["patch", "session", "cancelled", "-n", namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}']);
  assert.equal(reasonOf(await finished(namespace, "cancelled")), "Cancelled");
  assert.equal((await resolved("cancelled")).reason, "Withdrawn");
  assert.equal((await modelRequests(namespace)).filter(({ prompt }) => prompt === "cancel").length, 1);
});

test("a pending approval survives a restart of operator and gateway", async () => {
  await start("restarted", "approve");
  const { metadata } = await waiting("restarted");
  await must(["rollout", "restart", "-n", "paddock-system", "deployment/paddock-operator", "statefulset/paddock-gateway"]);
  await must(["rollout", "status", "-n", "paddock-system", "deployment/paddock-operator", "--timeout=120s"]);
  await must(["rollout", "status", "-n", "paddock-system", "statefulset/paddock-gateway", "--timeout=120s"]);
  await approver.must(decide(metadata.name, decision(approver, "Approved")));
  assert.equal(reasonOf(await finished(namespace, "restarted")), "Completed");
});
