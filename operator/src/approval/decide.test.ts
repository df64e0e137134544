import assert from "node:assert/strict";
import { test } from "node:test";
import type { Approval, ApprovalStatus } from "@paddock/api/approval";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { EnvironmentSpec } from "@paddock/api/environment";
import type { ApprovalView, RecordView } from "@paddock/api/wire/records";
import { nextStatus } from "../kernel/conditions.ts";
import type { Plan } from "../kernel/kind.ts";
import { decideApproval } from "./decide.ts";
import type { ApprovalWorld } from "./observe.ts";

const START = "2026-11-21T12:00:00.000Z";
const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

const asked: ApprovalView = { call: "root/1/0", tool: "bash", fingerprint: digest("f"), summary: "command: git push", argumentsDigest: digest("a"), requestedAt: START, expiresAt: "2026-11-22T12:00:00.000Z" };

function approval(status: ApprovalStatus = {}, { spec = {}, metadata = {} }: { spec?: Partial<Approval["spec"]>; metadata?: Partial<Approval["metadata"]> } = {}): Approval {
  return {
    apiVersion: "paddock.dev/v1alpha1",
    kind: "Approval",
    metadata: {
      name: "notes-a1-0", namespace: "demo", uid: "approval-uid", resourceVersion: "1", creationTimestamp: START,
      labels: { [LABELS.managedBy]: MANAGED_BY },
      ownerReferences: [{ apiVersion: "paddock.dev/v1alpha1", kind: "Session", name: "notes", uid: "session-uid", controller: true }],
      ...metadata,
    },
    spec: {
      sessionRef: { name: "notes", uid: "session-uid" },
      agentName: "writer", call: asked.call, tool: asked.tool, fingerprint: asked.fingerprint, argumentsSummary: "", argumentsDigest: asked.argumentsDigest,
      requesters: ["ann"], allowRequester: false, allowServiceAccounts: false,
      requestedAt: asked.requestedAt, expiresAt: asked.expiresAt, traceID: "0".repeat(32),
      ...spec,
    },
    status,
  };
}

function record(approvals: readonly ApprovalView[] = [asked], change: Partial<RecordView> = {}, rules: EnvironmentSpec["approvals"] = {}): RecordView {
  return {
    uid: "session-uid", version: 1, namespace: "demo", name: "notes",
    activity: { kind: "Waiting", for: "approval", since: START },
    bundle: { digest: "d", agentDigest: "a", environment: { name: "e", uid: "e", digest: "e", spec: { models: [], approvals: rules } }, limits: { maxTurns: 1, timeoutSeconds: 1 }, startTime: START, traceId: "t" },
    runner: { epoch: 1, connected: false, since: START },
    sandbox: { requested: 0, pending: false },
    cancelled: false, suspended: false, approvals, authors: ["bob"], lastSeq: 9, turns: 1, toolCalls: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0 },
    recentSteps: [],
    ...change,
  };
}

function world(change: Partial<ApprovalWorld> = {}): ApprovalWorld {
  return { self: approval(), isRecordsSynced: true, record: record(), creator: "ann", admission: { trusted: true, problems: [] }, ...change };
}

type Made = NonNullable<ApprovalStatus["decision"]>;
const decided = (change: Partial<Made> = {}): ApprovalStatus => ({ decision: { decision: "Approved", decidedBy: "carol", ...change } });
const over = (reason: string, more: ApprovalStatus = {}): ApprovalStatus => ({ ...more, conditions: [{ type: "Resolved", status: "True", reason, message: "", lastTransitionTime: START }] });
const resolved = (decision: "Approved" | "Denied" | "Expired", by?: string): ApprovalView => ({ ...asked, summary: "", resolution: { decision, scope: "Once", seq: 10, at: START, ...(by === undefined ? {} : { by }) } });
const finished: Partial<RecordView> = { activity: { kind: "Finished", outcome: "Cancelled", at: START } };

/** A plan in a few words. */
function summary({ actions, claims }: Plan<ApprovalStatus>): readonly string[] {
  const done = actions.map((action) => (action.verb === "append" ? action.events.map(({ type, data }) => (type === "approval.resolved" ? `${data.decision} ${data.scope} by ${data.by ?? "nobody"}${data.reason === undefined ? "" : ` because ${data.reason}`}` : type)).join() : action.verb));
  return [...done, ...(claims ?? []).map(({ status, reason }) => `${status} ${reason}`)];
}

const TABLE: readonly (readonly [string, ApprovalWorld, readonly string[]])[] = [
  ["nothing is said before the records are known", world({ isRecordsSynced: false }), []],
  ["nobody has decided", world(), ["Unknown Pending"]],
  ["a person approves: the log is asked, and status waits for its answer", world({ self: approval(decided()) }), ["Approved Once by carol"]],
  ["… with the digest of the arguments", world({ self: approval(decided({ argumentsDigest: asked.argumentsDigest })) }), ["Approved Once by carol"]],
  ["… for the session", world({ self: approval(decided({ scope: "Session" })) }), ["Approved Session by carol"]],
  ["a person denies, and says why", world({ self: approval(decided({ decision: "Denied", reason: "not before Monday" })) }), ["Denied Once by carol because not before Monday"]],
  ["a denial is for this call only", world({ self: approval(decided({ decision: "Denied", scope: "Session", reason: "" })) }), ["Denied Once by carol"]],

  ["the log says that it was approved", world({ self: approval(decided()), record: record([resolved("Approved", "carol")]) }), ["True Approved"]],
  ["the log says that it was denied", world({ self: approval(decided({ decision: "Denied" })), record: record([resolved("Denied", "carol")]) }), ["True Denied"]],
  ["the log says so of a session that has finished since", world({ self: approval(decided()), record: record([resolved("Approved", "carol")], finished) }), ["True Approved"]],
  ["nobody decided in time", world({ record: record([resolved("Expired")]) }), ["True Expired"]],
  ["somebody decided when it had expired", world({ self: approval(decided()), record: record([resolved("Expired")]) }), ["True TooLate"]],
  ["… and after that had been told", world({ self: approval(over("Expired", decided())) }), ["True TooLate"]],
  ["the call is over undecided", world({ record: record([]) }), ["True Withdrawn"]],
  ["the session has finished meanwhile", world({ record: record([asked], finished) }), ["True Withdrawn"]],
  ["the session's record is gone", world({ record: undefined }), ["True Withdrawn"]],
  ["somebody decided when the call was over", world({ self: approval(decided()), record: record([]) }), ["True TooLate"]],
  ["… and after that had been told", world({ self: approval(over("Withdrawn", decided())) }), ["True TooLate"]],
  ["what is resolved stays so, and nothing is appended", world({ self: approval(over("Approved", decided())) }), []],
  ["… also when nobody decides after all", world({ self: approval(over("Withdrawn")) }), []],

  ["a decision while admission policies are missing", world({ self: approval(decided()), admission: { trusted: false, problems: ["policy x does not exist"] } }), ["Unknown AdmissionMissing"]],
  ["a decision before anybody has looked at them", world({ self: approval(decided()), admission: undefined }), ["Unknown AdmissionMissing"]],
  ["… which nobody needs who has not decided", world({ admission: { trusted: false, problems: [] } }), ["Unknown Pending"]],
  ["the creator decides", world({ self: approval(decided({ decidedBy: "ann" }), { spec: { requesters: [] } }) }), ["Unknown Pending"]],
  ["an author decides who wrote after the Approval was made", world({ self: approval(decided({ decidedBy: "bob" })) }), ["Unknown Pending"]],
  ["a requester decides by an Approval that says that this is allowed", world({ self: approval(decided({ decidedBy: "bob" }), { spec: { allowRequester: true } }) }), ["Unknown Pending"]],
  ["a requester decides where the Environment allows it", world({ self: approval(decided({ decidedBy: "bob" })), record: record([asked], {}, { allowRequester: true }) }), ["Approved Once by bob"]],
  ["a service account decides", world({ self: approval(decided({ decidedBy: "system:serviceaccount:demo:bot" })) }), ["Unknown Pending"]],
  ["a service account decides where the Environment allows it", world({ self: approval(decided({ decidedBy: "system:serviceaccount:demo:bot" })), record: record([asked], {}, { allowServiceAccounts: true }) }), ["Approved Once by system:serviceaccount:demo:bot"]],
  ["a decision about other arguments", world({ self: approval(decided({ argumentsDigest: digest("0") })) }), ["Unknown Pending"]],
  ["an Approval of another fingerprint than the log's", world({ self: approval(decided(), { spec: { fingerprint: digest("0") } }) }), ["True TooLate"]],
  ["an Approval of other arguments than the log's", world({ self: approval(decided(), { spec: { argumentsDigest: digest("0") } }) }), ["True TooLate"]],
  ["one that somebody made under another name", world({ self: approval(decided(), { metadata: { name: "mine" } }) }), []],
  ["one that belongs to no Session", world({ self: approval(decided(), { metadata: { ownerReferences: [] } }) }), []],
];

for (const [name, observed, expected] of TABLE) {
  test(`approval: ${name}`, () => {
    assert.deepEqual(summary(decideApproval(observed)), expected);
  });
}

test("what waits says until when, and the command that decides", () => {
  const [claim] = decideApproval(world()).claims ?? [];
  assert.match(claim?.message ?? "", /until 2026-11-22T12:00:00\.000Z.*kubectl patch approval notes-a1-0 -n demo --subresource=status --type=merge -p '\{"status":\{"decision":/);
});

test("a decision that is not honoured is named with its reason and what happens now", () => {
  const message = (change: Partial<ApprovalWorld>): string => decideApproval(world(change)).claims?.[0]?.message ?? "";
  assert.match(message({ self: approval(decided({ decidedBy: "ann" })) }), /The decision of ann is not honoured: who asked for the work may not decide on it .*denied at 2026-11-22/);
  assert.match(message({ self: approval(decided()), admission: { trusted: false, problems: ["policy x does not exist"] } }), /decision of carol is not honoured before .*: policy x does not exist/);
});

test("the decision stays as its maker wrote it when the condition is written", () => {
  const self = approval(decided({ reason: "fine", scope: "Session" }));
  const status = nextStatus(self, decideApproval(world({ self, record: record([resolved("Approved", "carol")]) })), [], new Date(START));
  assert.deepEqual((status as ApprovalStatus).decision, self.status?.decision);
});
