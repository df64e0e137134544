import assert from "node:assert/strict";
import { test } from "node:test";
import { LABELS, ownerReference } from "@paddock/api/names";
import type { Key, Read, Source } from "../kernel/kind.ts";
import { type ClaimView, sessions, workspaceClaims } from "../sources.ts";
import { decideSession } from "./decide.ts";
import { observeSession } from "./observe.ts";
import { at, attempted, claim, keptRecord, pod, record, running, session, settings, world } from "./sample.ts";
import { createSlots } from "./slots.ts";

const self = session({ status: attempted(1) });
const connected = { podUid: "uid-of-notes-r1", epoch: 1, connected: true, since: at(1).toISOString() };
const asking = (storageClassName?: string) => keptRecord({ sandbox: { requested: 1, pending: true }, runner: connected }, storageClassName);
const runner = pod("notes-r1", "runner", { status: running });

function decide(change: Parameters<typeof world>[0], seconds = 30) {
  const plan = decideSession(world({ self, record: asking(), pods: [runner], ...change }), at(seconds));
  const made = plan.actions.flatMap((action) => (action.verb === "create" ? [`${action.object.kind} ${action.object.metadata.name}`] : [action.verb]));
  return { made, plan, message: plan.claims?.find(({ type }) => type === "Succeeded")?.message };
}

test("the claim of a workspace that is kept is made before the pod that uses it, and once", () => {
  assert.deepEqual(decide({}).made, ["PersistentVolumeClaim notes-w", "Pod notes-s1"]);
  for (const phase of ["Pending", "Bound"]) assert.deepEqual(decide({ claim: claim(phase) }).made, ["Pod notes-s1"], phase);
});

test("a workspace that ends with its pod has no claim", () => {
  assert.deepEqual(decide({ record: record({ sandbox: { requested: 1, pending: true }, runner: connected }) }).made, ["Pod notes-s1"]);
});

test("a second sandbox finds the claim of the first", () => {
  const kept = keptRecord({ sandbox: { requested: 2, pending: true, lost: "uid-of-notes-s1" }, runner: connected });
  const { plan } = decide({ record: kept, claim: claim("Bound") });
  const [made] = plan.actions.flatMap((action) => (action.verb === "create" ? [action.object] : []));
  assert.partialDeepStrictEqual(made, { metadata: { name: "notes-s2" }, spec: { volumes: [{ name: "workspace", persistentVolumeClaim: { claimName: "notes-w" } }] } });
});

test("a claim that somebody deleted is waited out, told, and made anew, also under a pod that waits for it", () => {
  const leaving = decide({ claim: claim("Bound", { deletionTimestamp: at(20).toISOString() }) });
  assert.deepEqual(leaving.made, []);
  assert.match(leaving.message ?? "", /PersistentVolumeClaim demo\/notes-w, .* is being deleted/);
  assert.equal(leaving.plan.requeueAfterMs, 2_000);
  assert.deepEqual(decide({ pods: [runner, pod("notes-s1", "sandbox")] }).made, ["PersistentVolumeClaim notes-w"]);
});

test("a volume that does not come is told after a while with claim, command and field, in the same words at every look", () => {
  const unscheduled = { phase: "Pending" as const, conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." }] };
  const sandbox = pod("notes-s1", "sandbox", { status: unscheduled, metadata: { creationTimestamp: at(30).toISOString() } });
  const early = decide({ pods: [runner, sandbox], claim: claim("Pending") }, 35);
  assert.doesNotMatch(early.message ?? "", /not scheduled|PersistentVolumeClaim/);
  assert.equal(early.plan.requeueAfterMs, 5_000);
  const late = decide({ pods: [runner, sandbox], claim: claim("Pending"), record: asking("fast") }, 40).message ?? "";
  assert.match(late, /Pod notes-s1 waits for its workspace: PersistentVolumeClaim demo\/notes-w has no volume yet \(storage class fast\)\. kubectl describe pvc notes-w -n demo .*spec\.sandbox\.workspace\.storageClassName of Environment standard/);
  assert.equal(decide({ pods: [runner, sandbox], claim: claim("Pending"), record: asking("fast") }, 400).message, late);
  assert.match(decide({ pods: [runner, sandbox], claim: claim("Pending") }, 40).message ?? "", /the cluster's default storage class/);
  assert.match(decide({ pods: [runner, sandbox], claim: claim("Lost") }, 31).message ?? "", /has lost its volume/);
});

test("a pod that is not scheduled for another reason says that one", () => {
  const unscheduled = { phase: "Pending" as const, conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes are available: 1 Insufficient cpu." }] };
  assert.match(decide({ pods: [runner, pod("notes-s1", "sandbox", { status: unscheduled })], claim: claim("Bound") }).message ?? "", /Insufficient cpu/);
});

test("somebody else's claim under the name, or an earlier Session's, is not taken for the session's own", () => {
  const observe = (found: ClaimView) => {
    const objects = new Map<string, unknown>([[sessions.name, self], [workspaceClaims.name, found]]);
    const read: Read = { get: <T>(source: Source<T>, key: Key) => (key.name === "notes" || key.name === "notes-w" ? (objects.get(source.name) as T | undefined) : undefined), list: () => [], isSynced: () => false };
    return observeSession(read, self.metadata, { settings, slots: createSlots() })?.claim;
  };
  assert.equal(observe(claim("Bound"))?.metadata.name, "notes-w");
  assert.equal(observe(claim("Bound", { ownerReferences: [] })), undefined);
  assert.equal(observe(claim("Bound", { ownerReferences: [{ ...ownerReference(session()), uid: "earlier" }], labels: { [LABELS.sessionUid]: "session-uid" } })), undefined);
});
