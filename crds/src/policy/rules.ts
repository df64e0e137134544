import { digestOf } from "../log/canonical.ts";
import type { AgentSpec } from "../agent.ts";
import type { EnvironmentSpec } from "../environment.ts";
import { toolOf } from "./tools.ts";
import type { Effect } from "./effects.ts";

/** Deny wins over Ask over Allow. Ask waits for a person's approval. */
export type Decision = "Allow" | "Ask" | "Deny";

/** A verdict on one call and the rule that gave it, in words a person can find in the manifests. */
export interface Verdict {
  readonly decision: Decision;
  readonly effect: Effect;
  readonly rule: string;
}

/** The parts of a session's frozen bundle that decide about its calls. */
export interface PolicyInput {
  readonly agent: { readonly digest: string; readonly spec: Pick<AgentSpec, "tools" | "customTools"> };
  readonly environment: { readonly spec: Pick<EnvironmentSpec, "permissions" | "sandbox"> };
}

type Entry = NonNullable<AgentSpec["tools"]>[number];

/**
 * May the agent call this tool? Deny wins over Allow; the Environment's floor holds whatever the Agent says.
 * Pure; runner and gateway both call it, and the gateway's answer counts.
 */
export function decideTool(input: PolicyInput, name: string): Verdict {
  if (customToolOf(input, name) !== undefined) return decideCustom(input, name);
  const tool = toolOf(name);
  if (tool === undefined) return { decision: "Deny", effect: "Once", rule: `no tool is called ${JSON.stringify(name.slice(0, 64))}` };
  const entry = input.agent.spec.tools?.find((candidate) => candidate.name === name);
  if (entry === undefined) return { decision: "Deny", effect: tool.effect, rule: `agent.spec.tools does not list ${name}` };
  return { effect: tool.effect, ...decideListed(input.environment.spec, entry) };
}

function decideListed({ permissions, sandbox }: PolicyInput["environment"]["spec"], { name, permission = "Allow" }: Entry): Omit<Verdict, "effect"> {
  const floor = permissions?.find((candidate) => candidate.tool === name)?.decision;
  if (floor === "Deny") return { decision: "Deny", rule: `environment.spec.permissions denies ${name}` };
  if (permission === "Deny") return { decision: "Deny", rule: `agent.spec.tools denies ${name}` };
  if (sandbox?.provisioning === "Never") return { decision: "Deny", rule: `${name} needs a sandbox and environment.spec.sandbox.provisioning is Never` };
  return decideUndenied(name, floor, permission);
}

function decideUndenied(name: string, floor: Decision | undefined, permission: Decision): Omit<Verdict, "effect"> {
  if (floor === "Ask") return { decision: "Ask", rule: `environment.spec.permissions asks for ${name}` };
  if (permission === "Ask") return { decision: "Ask", rule: `agent.spec.tools asks for ${name}` };
  return { decision: "Allow", rule: floor === undefined ? `agent.spec.tools allows ${name}` : `environment.spec.permissions and agent.spec.tools allow ${name}` };
}

export type CustomTool = NonNullable<AgentSpec["customTools"]>[number];

/** The custom tool of that name: its calls are answered by a client of the log, never by a pod. A built-in tool of the name comes first. */
export function customToolOf({ agent }: Pick<PolicyInput, "agent">, name: string): CustomTool | undefined {
  return toolOf(name) === undefined ? agent.spec.customTools?.find((candidate) => candidate.name === name) : undefined;
}

/** Allowed unless the Agent asks: the client that gives the result is the gate. Started once; its result is waited for, however often a runner is replaced. */
function decideCustom(input: PolicyInput, name: string): Verdict {
  const asks = customToolOf(input, name)?.permission === "Ask";
  return asks ? { decision: "Ask", effect: "Once", rule: `agent.spec.customTools asks for ${name}` } : { decision: "Allow", effect: "Once", rule: `agent.spec.customTools allows ${name}` };
}

/** Digest that binds a decision to an agent, a tool's definition and its validated arguments. */
export function fingerprintOf(input: PolicyInput, name: string, args: Readonly<Record<string, unknown>>): string {
  return digestOf({ agent: input.agent.digest, tool: name, definition: definitionDigest(input, name), arguments: args });
}

function definitionDigest(input: PolicyInput, name: string): string {
  const custom = customToolOf(input, name);
  return custom === undefined ? (toolOf(name)?.digest ?? "") : digestOf({ name, description: custom.description, parameters: custom.inputSchema });
}
