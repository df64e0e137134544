import { digestOf } from "../log/canonical.ts";
import type { AgentSpec } from "../agent.ts";
import type { EnvironmentSpec } from "../environment.ts";
import { toolOf } from "./tools.ts";
import type { Effect } from "./effects.ts";

export type Decision = "Allow" | "Deny";

/** A verdict on one call and the rule that gave it, in words a person can find in the manifests. */
export interface Verdict {
  readonly decision: Decision;
  readonly effect: Effect;
  readonly rule: string;
}

/** The parts of a session's frozen bundle that decide about its calls. */
export interface PolicyInput {
  readonly agent: { readonly digest: string; readonly spec: Pick<AgentSpec, "tools"> };
  readonly environment: { readonly spec: Pick<EnvironmentSpec, "permissions" | "sandbox"> };
}

type Entry = NonNullable<AgentSpec["tools"]>[number];

/**
 * May the agent call this tool? Deny wins over Allow; the Environment's floor holds whatever the Agent says.
 * Pure; runner and gateway both call it, and the gateway's answer counts.
 */
export function decideTool(input: PolicyInput, name: string): Verdict {
  const tool = toolOf(name);
  if (tool === undefined) return { decision: "Deny", effect: "Once", rule: `no tool is called ${JSON.stringify(name.slice(0, 64))}` };
  const entry = input.agent.spec.tools?.find((candidate) => candidate.name === name);
  if (entry === undefined) return { decision: "Deny", effect: tool.effect, rule: `agent.spec.tools does not list ${name}` };
  return { effect: tool.effect, ...decideListed(input.environment.spec, entry) };
}

function decideListed({ permissions, sandbox }: PolicyInput["environment"]["spec"], { name, permission }: Entry): Omit<Verdict, "effect"> {
  const floor = permissions?.find((candidate) => candidate.tool === name);
  if (floor?.decision === "Deny") return { decision: "Deny", rule: `environment.spec.permissions denies ${name}` };
  if (permission === "Deny") return { decision: "Deny", rule: `agent.spec.tools denies ${name}` };
  if (sandbox?.provisioning === "Never") return { decision: "Deny", rule: `${name} needs a sandbox and environment.spec.sandbox.provisioning is Never` };
  return { decision: "Allow", rule: floor === undefined ? `agent.spec.tools allows ${name}` : `environment.spec.permissions and agent.spec.tools allow ${name}` };
}

/** Digest that binds a decision to an agent, a tool's definition and its validated arguments. */
export function fingerprintOf(input: PolicyInput, name: string, args: Readonly<Record<string, unknown>>): string {
  return digestOf({ agent: input.agent.digest, tool: name, definition: toolOf(name)?.digest ?? "", arguments: args });
}
