import type { Bundle } from "@paddock/api/log/bundle";
import type { NewEvent } from "@paddock/api/log/events";
import { customToolOf, decideTool, fingerprintOf } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";
import type { MadeCall } from "../context/turn.ts";
import { customFaults } from "./custom.ts";
import { finishedEvent } from "./result.ts";

/** Deepest nesting of what an event takes over: whatever walks or hashes an event could run out of stack, and the gateway takes little more. */
const MAX_DEPTH = 48;

/**
 * The event that settles one call: known? arguments valid? policy? A call that fails one of the first two gets a result that the model can
 * repair; it never reaches policy or a person. The gateway decides the same again and its answer counts.
 */
export async function decideCall(bundle: Bundle, { call, name, argumentsText }: MadeCall): Promise<NewEvent> {
  const faultsOf = checkOf(bundle, name);
  if (faultsOf === undefined) return invalid(call, `No tool is called ${JSON.stringify(name.slice(0, 64))}. ${toolsOf(bundle)}`);
  const parsed = parseArguments(argumentsText);
  if (parsed === undefined) return invalid(call, `The arguments of ${name} are not a JSON object. Write them again as one.`);
  if (!isStorable(parsed)) return invalid(call, `The arguments of ${name} are nested deeper than ${MAX_DEPTH} levels or hold a number that is too large. Write them again without.`);
  const faults = await faultsOf(parsed);
  if (faults.length > 0) return invalid(call, `The arguments of ${name} do not fit its schema:\n${faults.join("\n")}\nCorrect them and call it again.`);
  const { decision, effect, rule } = decideTool(bundle, name);
  const fingerprint = fingerprintOf(bundle, name, parsed);
  return { type: "tool.decided", data: { call, tool: name, fingerprint, arguments: parsed, effect, decision, rule: rule.slice(0, 512) } };
}

type Check = (args: unknown) => readonly string[] | Promise<readonly string[]>;

/** How arguments of the tool of that name are checked; undefined when there is none. */
function checkOf(bundle: Bundle, name: string): Check | undefined {
  const tool = toolOf(name);
  if (tool !== undefined) return (args) => tool.faultsOf(args);
  const custom = customToolOf(bundle, name);
  return custom === undefined ? undefined : (args) => customFaults(custom, args);
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

/** Whether a log can hold the value, as it came from JSON: that has texts of numbers that no number is, and any depth. */
export function isStorable(value: unknown): boolean {
  let level: readonly unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH || level.some((item) => typeof item === "number" && !Number.isFinite(item))) return false;
    level = level.flatMap((item): unknown[] => (item !== null && typeof item === "object" ? Object.values(item) : []));
  }
  return true;
}

function invalid(call: string, content: string): NewEvent {
  return finishedEvent(call, { status: "error", content });
}

function toolsOf({ agent }: Bundle): string {
  const names = [...(agent.spec.tools ?? []), ...(agent.spec.customTools ?? [])].map(({ name }) => name);
  return names.length === 0 ? "This agent has no tools." : `The tools are: ${names.join(", ")}.`;
}
