import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import type { Approval } from "@paddock/api/approval";
import { approvalSpecSchema, isGenuine } from "@paddock/api/approval";
import type { RecordView } from "@paddock/api/wire/records";
import type { Session } from "@paddock/api/session";
import { announceSession } from "./claim.ts";
import { askPeople, buildApproval } from "./approvals.ts";
import { decideSession } from "./decide.ts";
import type { SessionWorld } from "./observe.ts";
import { asked, at, attempted, environment, failed, pod, record, running, session, world } from "./sample.ts";

const golden = { serializers: [(value: unknown) => stringify(value, { lineWidth: 0 })] };
const creator = { annotations: { "paddock.dev/created-by": "ann" } };

/** An Approval as the cache shows it. */
function standing(self: Session, view: RecordView, status?: Approval["status"]): readonly Approval[] {
  return view.approvals.map((one) => {
    const { metadata, ...rest } = buildApproval(self, view, one);
    return { ...rest, metadata: { ...metadata, uid: `uid-of-${metadata.name}`, resourceVersion: "1", creationTimestamp: at(5).toISOString() }, ...(status === undefined ? {} : { status }) };
  });
}

const waiting = (view: Partial<RecordView> = {}): RecordView => record({ activity: { kind: "Waiting", for: "approval", since: at(10).toISOString() }, approvals: [asked()], ...view });
const alive = { pods: [pod("notes-r1", "runner", { status: running })] };

function made({ actions }: { readonly actions: ReturnType<typeof decideSession>["actions"] }): readonly string[] {
  return actions.map((action) => (action.verb === "create" ? `create ${action.object.kind} ${action.object.metadata.name}` : action.verb));
}

test("an Approval is as its golden file shows", (t) => {
  t.assert.fileSnapshot(buildApproval(session({ metadata: creator }), record({ authors: ["bob", "ann"] }), asked()), join(import.meta.dirname, "approval.golden.yaml"), golden);
});

test("an Approval is what the API server takes, and known again as genuine", () => {
  const self = session({ metadata: creator });
  const { spec, metadata } = buildApproval(self, record(), asked());
  assert.deepEqual(approvalSpecSchema.parse(spec), spec);
  assert.equal(isGenuine({ metadata: { ...metadata, uid: "u", resourceVersion: "1", creationTimestamp: "" }, spec }), true);
  assert.equal(isGenuine({ metadata: { ...metadata, uid: "u", resourceVersion: "1", creationTimestamp: "", name: "notes-a9-9" }, spec }), false);
  assert.equal(isGenuine({ metadata: { ...metadata, uid: "u", resourceVersion: "1", creationTimestamp: "", ownerReferences: [] }, spec }), false);
});

test("who may decide is what the session was bound with, not what the Environment says today", () => {
  const { bundle } = record();
  const approvals = { allowRequester: true, allowServiceAccounts: true };
  const { spec } = buildApproval(session(), record({ bundle: { ...bundle, environment: { ...bundle.environment, spec: { ...environment.spec, approvals } } } }), asked());
  assert.deepEqual([spec.allowRequester, spec.allowServiceAccounts, spec.requesters], [true, true, []]);
});

test("33 requesters fit: as many authors as a session has, and its creator", () => {
  const authors = Array.from({ length: 32 }, (_, index) => `author-${index}@${"x".repeat(900)}`);
  const { spec } = buildApproval(session({ metadata: creator }), record({ authors }), asked());
  assert.equal(approvalSpecSchema.parse(spec).requesters.length, 33);
});

test("each call that waits gets its Approval once, after the pods' part", () => {
  const self = session({ status: attempted(1), spec: { idleTimeoutSeconds: 60 } });
  const view = waiting({ approvals: [asked("root/1/0"), asked("root/1/1")] });
  assert.deepEqual(made(decideSession(world({ self, record: view, ...alive }), at(11))), ["register", "create Approval notes-a1-0", "create Approval notes-a1-1"]);
  const [first] = standing(self, view);
  assert.ok(first);
  assert.deepEqual(made(decideSession(world({ self, record: view, ...alive, approvals: [first] }), at(11))), ["register", "create Approval notes-a1-1"]);
  assert.deepEqual(askPeople(world({ self, record: view, approvals: standing(self, view) }), view), []);
});

test("what is resolved, or waits in a session that ends, is asked of nobody", () => {
  const self = session({ status: attempted(1) });
  const resolution = { decision: "Expired", scope: "Once", seq: 9, at: at(20).toISOString() } as const;
  assert.deepEqual(made(decideSession(world({ self, record: waiting({ approvals: [{ ...asked(), resolution }] }), ...alive }), at(11))), ["register"]);
  const ended = waiting({ activity: { kind: "Finished", outcome: "Cancelled", at: at(12).toISOString() } });
  assert.deepEqual(made(decideSession(world({ self, record: ended, ...alive }), at(13))), ["delete"]);
});

test("nothing is asked of people for a run that is being ended in the same pass", () => {
  const self = session({ status: attempted(3, { failuresInARow: 2 }) });
  const view = record({ approvals: [asked()], runner: { podUid: "uid-of-notes-r3", epoch: 3, connected: false, since: at(1).toISOString() } });
  const observed = world({ self, record: view, pods: [pod("notes-r3", "runner", { status: failed(1) })] });
  assert.deepEqual(made(decideSession(observed, at(60))), ["append"]);
});

test("a call waits while others run: the condition says so, the reason stays Running", () => {
  const self = session({ status: attempted(1) });
  const { claims } = decideSession(world({ self, record: record({ approvals: [asked()] }), ...alive }), at(11));
  assert.deepEqual(claims?.map(({ type, status, reason }) => `${type} ${status} ${reason}`), ["Succeeded Unknown Running", "Finished False Running", "AwaitingApproval True AwaitingApproval", "Isolated Unknown NotProbed"]);
});

test("the condition names what waits and the command that decides; people are told once by an Event", () => {
  const self = session({ status: attempted(1) });
  const { claims } = decideSession(world({ self, record: waiting({ approvals: [asked("root/1/0"), asked("root/1/1")] }), ...alive }), at(11));
  const condition = claims?.find(({ type }) => type === "AwaitingApproval");
  assert.match(condition?.message ?? "", /^Waiting for a decision on Approval notes-a1-0 \(bash\), notes-a1-1 \(bash\): kubectl get approvals -n demo .* kubectl patch approval notes-a1-0 -n demo --subresource=status --type=merge -p '\{"status":\{"decision":\{"decision":"Approved","decidedBy":"YOUR-USER-NAME"\}\}\}'/);
  const conditions = (claims ?? []).map((claim) => ({ ...claim, lastTransitionTime: at(11).toISOString() }));
  assert.deepEqual(announceSession(self.status, { conditions }).map(({ type, reason }) => [type, reason]), [["Normal", "ApprovalNeeded"]]);
  assert.deepEqual(announceSession({ conditions }, { conditions }), []);
});

test("the record is kept until every Approval has read in it how it ended", () => {
  const self = session({ status: { ...attempted(1), conditions: [{ type: "Finished", status: "True", reason: "Cancelled", message: "", lastTransitionTime: at(1).toISOString() }] } });
  const ended = waiting({ activity: { kind: "Finished", outcome: "Cancelled", at: at(12).toISOString() } });
  const left: SessionWorld = world({ self, record: ended, approvals: standing(self, ended) });
  assert.deepEqual(made(decideSession(left, at(13))), []);
  assert.deepEqual(made(decideSession({ ...left, approvals: [] }, at(13))), ["acknowledge"]);
});
