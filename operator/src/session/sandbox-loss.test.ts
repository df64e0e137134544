import assert from "node:assert/strict";
import { test } from "node:test";
import type { PodView } from "../sources.ts";
import { decideSession } from "./decide.ts";
import { START, at, attempted, failed, pod, record, running, session, world } from "./sample.ts";

const bound = { podUid: "uid-of-notes-s1", podName: "notes-s1", address: "10.0.0.7" };
const log = record({ sandbox: { requested: 1, pending: false, bound }, runner: { podUid: "uid-of-notes-r1", epoch: 1, connected: true, since: START } });

/** What the log is told of a bound sandbox in this state; [] when nothing. */
function told(status: PodView["status"], metadata: Partial<PodView["metadata"]> = {}, seconds = 10) {
  const sandbox = { ...pod("notes-s1", "sandbox", { status, metadata }), spec: { nodeName: "node-a" } };
  const plan = decideSession(world({ self: session({ status: attempted(1) }), record: log, pods: [pod("notes-r1", "runner", { status: running }), sandbox] }), at(seconds));
  const reasons = plan.actions.flatMap((action) => (action.verb === "append" ? action.events.flatMap((event) => (event.type === "sandbox.lost" ? [event.data.reason] : [])) : []));
  return { reasons, requeueAfterMs: plan.requeueAfterMs };
}

const evicted = (message: string): PodView["status"] => ({ phase: "Failed", reason: "Evicted", message, conditions: [{ type: "DisruptionTarget", status: "True", reason: "TerminationByKubelet", message }] });

const CASES: readonly (readonly [string, PodView["status"], RegExp])[] = [
  ["memory", failed(137, { reason: "OOMKilled" }), /^Pod notes-s1 ended: OOMKilled, exit code 137\. .*raise spec\.sandbox\.resources\.limits\.memory of Environment standard\.$/],
  ["the workspace's size", evicted('Usage of EmptyDir volume "workspace" exceeds the limit "1Gi". '), /EmptyDir volume "workspace" exceeds the limit "1Gi"\. Raise spec\.sandbox\.workspace\.size of Environment standard\.$/],
  ["the size of /tmp", evicted('Usage of EmptyDir volume "tmp" exceeds the limit "256Mi". '), /The size of \/tmp is fixed: .*\/workspace\.$/],
  ["a container's storage", evicted('Container sandbox exceeded its local ephemeral storage limit "512Mi". '), /Raise spec\.sandbox\.resources\.limits\.ephemeral-storage of Environment standard\.$/],
  ["a pod's storage", evicted("Pod ephemeral local storage usage exceeds the total limit of containers 512Mi. "), /Raise spec\.sandbox\.resources\.limits\.ephemeral-storage/],
  ["a node's memory", evicted("The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi. "), /too little memory.*raise spec\.sandbox\.resources\.requests\.memory/],
  ["a node's disk", evicted("The node was low on resource: ephemeral-storage. "), /raise spec\.sandbox\.resources\.requests\.ephemeral-storage/],
  ["a node that is shut down", { phase: "Failed", reason: "Terminated", message: "Pod was terminated in response to imminent node shutdown." }, /^Pod notes-s1 ended: Terminated: Pod was terminated in response to imminent node shutdown$/],
  ["an exit of its own", failed(3), /^Pod notes-s1 ended: exit code 3$/],
];

for (const [name, status, says] of CASES) {
  test(`a sandbox that ends by ${name} is lost, and the log says what to raise`, () => {
    const { reasons } = told(status);
    assert.equal(reasons.length, 1);
    assert.match(reasons[0] ?? "", says);
  });
}

test("a sandbox on a node that does not answer is lost twenty seconds after it should be gone", () => {
  const leaving = { deletionTimestamp: at(10).toISOString() };
  const early = told(running, leaving, 25);
  assert.deepEqual([early.reasons, early.requeueAfterMs], [[], 5_000]);
  assert.deepEqual(told(running, leaving, 30).reasons, [`Pod notes-s1 should be gone since ${at(10).toISOString()} and is not: node node-a does not answer`]);
  assert.deepEqual(told(running, {}, 400).reasons, []);
});
