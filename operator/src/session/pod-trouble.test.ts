import assert from "node:assert/strict";
import { test } from "node:test";
import { describeEnd, describeWait } from "./pod-trouble.ts";
import { at, failed, pod, running } from "./sample.ts";
import type { PodView } from "../sources.ts";

const waiting = (reason: string, message?: string): PodView["status"] => ({
  phase: "Pending",
  containerStatuses: [{ name: "main", state: { waiting: { reason, ...(message === undefined ? {} : { message }) } } }],
});
const described = (status: PodView["status"]): string | undefined => describeWait(pod("notes-r1", "runner", { status }), at(0));
const ended = (status: PodView["status"], isTrusted = true): string => describeEnd(pod("notes-r1", "runner", { status }), isTrusted);

test("the end of a pod names its reason, its container's reason or the exit code", () => {
  assert.equal(ended(failed(137, { reason: "OOMKilled" })), "Pod notes-r1 ended: OOMKilled, exit code 137");
  assert.equal(ended(failed(2)), "Pod notes-r1 ended: exit code 2");
  assert.equal(ended(failed(0, { reason: "Completed" })), "Pod notes-r1 ended: exit code 0");
  assert.equal(ended({ phase: "Failed", reason: "Evicted", message: "The node was low on memory." }), "Pod notes-r1 ended: Evicted: The node was low on memory.");
  assert.equal(ended({ phase: "Failed" }), "Pod notes-r1 ended (Failed)");
});

test("a runner's last line is told, a sandbox's is not: the model could have written it", () => {
  const status: PodView["status"] = { phase: "Failed", containerStatuses: [{ name: "main", state: { terminated: { exitCode: 1, reason: "Error", message: "one\nCannot find module\n" } } }] };
  assert.equal(ended(status), "Pod notes-r1 ended: exit code 1: Cannot find module");
  assert.equal(ended(status, false), "Pod notes-r1 ended: exit code 1");
});

test("what keeps a pod from running is told, the ordinary steps are not", () => {
  assert.equal(described({ phase: "Pending" }), undefined);
  assert.equal(described(waiting("ContainerCreating")), undefined);
  assert.equal(described(running), undefined);
  assert.equal(described(waiting("CreateContainerConfigError", "no such key")), "Pod notes-r1 is waiting: CreateContainerConfigError: no such key");
  const unscheduled: PodView["status"] = { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes are available" }] };
  assert.equal(described(unscheduled), "Pod notes-r1 is not scheduled: Unschedulable: 0/1 nodes are available");
});

test("the kubelet's swing between pulling and backing off is one message", () => {
  const cause = 'failed to resolve image "x"';
  const expected = `Pod notes-r1 is waiting: ImagePullBackOff: ${cause}`;
  assert.equal(described(waiting("ErrImagePull", cause)), expected);
  assert.equal(described(waiting("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: ${cause}`)), expected);
  assert.equal(described(waiting("ImagePullBackOff", 'Back-off pulling image "x"')), "Pod notes-r1 is waiting: ImagePullBackOff");
});

test("long details are cut", () => {
  assert.ok(ended({ phase: "Failed", reason: "Evicted", message: "x".repeat(5000) }).length < 400);
});
