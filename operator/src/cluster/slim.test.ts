import assert from "node:assert/strict";
import { test } from "node:test";
import { NETWORK_POLICIES, SESSIONS } from "./resources.ts";
import type { RawObject } from "./resources.ts";
import { BY_AGENT, BY_ENVIRONMENT_LIVE, BY_SCHEDULE } from "../sources.ts";

const metadata: RawObject["metadata"] = { name: "s", namespace: "team", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" };
const spec = { agentRef: { name: "a" }, environmentRef: { name: "e" }, prompt: "long", files: [], ttlSecondsAfterFinished: 60 };
const condition = (type: string, status: string) => ({ type, status, reason: "R", message: "m", lastTransitionTime: "2026-01-01T00:00:00Z" });

test("a Session keeps its prompt until it is bound, and its status whole until it is finished", () => {
  assert.equal(SESSIONS.slim({ metadata, spec }).spec.prompt, "long");
  const status = { startTime: "2026-01-01T00:00:00Z", recentSteps: [{ seq: 1 }], conditions: [condition("Finished", "False")], result: { text: "t" } };
  const bound = SESSIONS.slim({ metadata, spec, status });
  assert.deepEqual(bound.spec, { agentRef: { name: "a" }, environmentRef: { name: "e" }, ttlSecondsAfterFinished: 60 });
  assert.deepEqual(bound.status, status);
});

test("a finished Session keeps what tells how and when, and stands in no look-up of live ones", () => {
  const owner = { apiVersion: "paddock.dev/v1alpha1", kind: "Schedule", name: "nightly", uid: "schedule-uid", controller: true };
  const status = { completionTime: "2026-01-01T00:01:00Z", recentSteps: [{ seq: 1 }], conditions: [condition("Finished", "True")], result: { outcome: "Completed", text: "t", message: "m" }, usage: { inputTokens: 1 } };
  const finished = SESSIONS.slim({ metadata: { ...metadata, ownerReferences: [owner] }, spec, status });
  assert.deepEqual(finished.status, { completionTime: "2026-01-01T00:01:00Z", conditions: [{ ...condition("Finished", "True"), message: "" }], result: { outcome: "Completed" } });
  assert.equal(finished.spec.prompt, undefined);
  const entry = (index: string, value: typeof finished) => SESSIONS.indexes[index]?.(value);
  assert.deepEqual([entry(BY_AGENT, finished), entry(BY_ENVIRONMENT_LIVE, finished), entry(BY_SCHEDULE, finished)], [undefined, undefined, "schedule-uid"]);
  const live = SESSIONS.slim({ metadata, spec });
  assert.deepEqual([entry(BY_AGENT, live), entry(BY_ENVIRONMENT_LIVE, live), entry(BY_SCHEDULE, live)], ["team/a", "team/e", undefined]);
});

test("of a foreign policy its selector and what it opens are kept, of ours everything", () => {
  const policy = { podSelector: { matchLabels: { app: "x" } }, policyTypes: ["Ingress", "Egress"], ingress: [{ from: [{ ipBlock: { cidr: "0.0.0.0/0" } }] }], egress: [] };
  assert.deepEqual(NETWORK_POLICIES.slim({ metadata, spec: policy }), { metadata, spec: { podSelector: policy.podSelector, policyTypes: policy.policyTypes }, opens: ["Ingress"] });
  const ours = { ...metadata, labels: { "app.kubernetes.io/managed-by": "paddock" } };
  assert.deepEqual(NETWORK_POLICIES.slim({ metadata: ours, spec: policy }), { metadata: ours, spec: policy });
});
