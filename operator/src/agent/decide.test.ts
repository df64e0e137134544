import assert from "node:assert/strict";
import { test } from "node:test";
import type { Agent } from "@paddock/api/agent";
import { digestOf } from "@paddock/api/log/canonical";
import { nextStatus } from "../kernel/conditions.ts";
import { agentKind } from "./agent.ts";
import { decideAgent } from "./decide.ts";

const agent: Agent = {
  apiVersion: "paddock.dev/v1alpha1",
  kind: "Agent",
  metadata: { name: "writer", namespace: "demo", uid: "a-1", resourceVersion: "1", generation: 3, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { model: { name: "default" }, instructions: "Write.", tools: [{ name: "bash" }, { name: "read" }] },
};

test("an Agent is Ready at once and tells its digest and its number of tools", () => {
  const plan = decideAgent({ self: agent });
  assert.deepEqual(plan.actions, []);
  assert.deepEqual(plan.status, { revision: digestOf(agent.spec), tools: 2 });
  assert.deepEqual(plan.claims?.map(({ type, status, reason }) => [type, status, reason]), [["Ready", "True", "Available"]]);
});

test("an Agent without tools shows 0", () => {
  const { tools: _, ...spec } = agent.spec;
  assert.equal(decideAgent({ self: { ...agent, spec } }).status?.tools, 0);
});

test("an Agent that is being deleted is left as it is", () => {
  const self = { ...agent, metadata: { ...agent.metadata, deletionTimestamp: "2026-01-01T00:01:00Z" } };
  assert.deepEqual(decideAgent({ self }), { actions: [], claims: undefined });
});

test("an Agent's second pass changes nothing", () => {
  const first = nextStatus(agent, decideAgent({ self: agent }), [], new Date("2026-01-01T00:00:01Z"));
  const self = { ...agent, status: first ?? {} };
  assert.deepEqual(nextStatus(self, decideAgent({ self }), [], new Date("2026-01-01T01:00:00Z")), first);
});

test("the kind observes an Agent by its key, and nothing when it is gone", () => {
  const read = (found: Agent | undefined) => ({ get: <T>() => found as T | undefined, list: () => [], isSynced: () => true });
  assert.deepEqual(agentKind().observe(read(agent), { namespace: "demo", name: "writer" }), { self: agent });
  assert.equal(agentKind().observe(read(undefined), { namespace: "demo", name: "writer" }), undefined);
});
