import type { AgentStatus } from "@paddock/api/agent";
import type { AgentCondition, AgentReason, Claim } from "@paddock/api/conditions";
import { digestOf } from "@paddock/api/log/canonical";
import type { Plan } from "../kernel/kind.ts";
import type { AgentWorld } from "./agent.ts";

/** Pure. Whether the model exists is an Environment's affair and is checked for each session. */
export function decideAgent({ self }: AgentWorld): Plan<AgentStatus> {
  if (self.metadata.deletionTimestamp !== undefined) return { actions: [], claims: undefined };
  const ready: Claim<AgentCondition, AgentReason> = { type: "Ready", status: "True", reason: "Available", message: "Sessions can run this agent." };
  return { actions: [], claims: [ready], status: { revision: digestOf(self.spec), tools: self.spec.tools?.length ?? 0 } };
}
