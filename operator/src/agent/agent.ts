import type { Agent, AgentStatus } from "@paddock/api/agent";
import type { Kind } from "../kernel/kind.ts";
import { agents } from "../sources.ts";
import { decideAgent } from "./decide.ts";

export interface AgentWorld {
  readonly self: Agent;
}

/** An Agent is data: nothing is made for it, its status tells the digest that sessions record. */
export function agentKind(): Kind<AgentWorld, AgentStatus> {
  return {
    name: "Agent",
    observe: (read, key) => {
      const self = read.get(agents, key);
      return self === undefined ? undefined : { self };
    },
    decide: decideAgent,
  };
}
