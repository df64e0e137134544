import type { Bundle } from "@paddock/api/log/bundle";
import type { NewEvent } from "@paddock/api/log/events";
import { decideTool, fingerprintOf } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";
import type { MadeCall } from "../context/turn.ts";
import { finishedEvent } from "./result.ts";

/**
 * The event that settles one call: known? arguments valid? policy? A call that fails one of the first two gets a result that the model can
 * repair; it never reaches policy. Pure; the gateway decides the same again and its answer counts.
 */
export function decideCall(bundle: Bundle, { call, name, argumentsText }: MadeCall): NewEvent {
  const tool = toolOf(name);
  if (tool === undefined) return invalid(call, `No tool is called ${JSON.stringify(name.slice(0, 64))}. ${toolsOf(bundle)}`);
  const parsed = parseArguments(argumentsText);
  if (parsed === undefined) return invalid(call, `The arguments of ${name} are not a JSON object. Write them again as one.`);
  const faults = tool.faultsOf(parsed);
  if (faults.length > 0) return invalid(call, `The arguments of ${name} do not fit its schema:\n${faults.join("\n")}\nCorrect them and call it again.`);
  const { decision, effect, rule } = decideTool(bundle, name);
  const fingerprint = fingerprintOf(bundle, name, parsed);
  return { type: "tool.decided", data: { call, tool: name, fingerprint, arguments: parsed, effect, decision, rule: rule.slice(0, 512) } };
}

/** A JSON object's value; an empty text is an empty object, as some endpoints write it. Undefined for anything else. */
export function parseArguments(text: string): Record<string, unknown> | undefined {
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function invalid(call: string, content: string): NewEvent {
  return finishedEvent(call, { status: "error", content });
}

function toolsOf({ agent }: Bundle): string {
  const names = agent.spec.tools?.map(({ name }) => name) ?? [];
  return names.length === 0 ? "This agent has no tools." : `The tools are: ${names.join(", ")}.`;
}
