import type { ToolArguments, ToolName } from "@paddock/api/policy/tools";
import { ToolFailure } from "./failure.ts";

interface Field {
  readonly kind: "text" | "integer" | "flag";
  readonly required?: true;
}

const text: Field = { kind: "text", required: true };
const maybeText: Field = { kind: "text" };
const integer: Field = { kind: "integer" };
const flag: Field = { kind: "flag" };

/** Shapes only: the runner has checked each call against the contract's schema, whose limits the size limit of a request bounds here. */
const FIELDS: { readonly [Name in ToolName]: { readonly [F in keyof Required<ToolArguments[Name]>]: Field } } = {
  bash: { command: text, timeoutSeconds: integer },
  read: { path: text, offset: integer, limit: integer },
  write: { path: text, content: text },
  edit: { path: text, oldText: text, newText: text, replaceAll: flag },
  glob: { pattern: text, path: maybeText },
  grep: { pattern: text, path: maybeText, glob: maybeText, ignoreCase: flag },
};

/** File content may be empty and hold any character; paths, patterns and commands may not. */
const CONTENTS = ["content", "oldText", "newText"];

/** Whether a tool of this name is ours; own names only, so that `constructor` is none. */
export function isToolName(name: string): name is ToolName {
  return Object.hasOwn(FIELDS, name);
}

/** The arguments of a call. Throws a ToolFailure that names the field. */
export function parseArguments<Name extends ToolName>(tool: Name, value: Readonly<Record<string, unknown>>): ToolArguments[Name] {
  const fields: Readonly<Record<string, Field>> = FIELDS[tool];
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) throw new ToolFailure(`${tool} has no argument ${JSON.stringify(unknown)}; it has ${Object.keys(fields).join(", ")}`);
  for (const [name, { kind, required }] of Object.entries(fields)) {
    const wrong = value[name] === undefined ? required && "is missing" : faultOf(kind, value[name], CONTENTS.includes(name));
    if (wrong) throw new ToolFailure(`argument ${name} of ${tool} ${wrong}`);
  }
  return value as ToolArguments[Name];
}

function faultOf(kind: Field["kind"], value: unknown, isContent: boolean): string | undefined {
  if (kind === "flag") return typeof value === "boolean" ? undefined : "must be true or false";
  if (kind === "integer") return Number.isSafeInteger(value) && Number(value) >= 1 ? undefined : "must be an integer of 1 or more";
  if (typeof value !== "string") return "must be a text";
  if (isContent) return undefined;
  return value === "" ? "must not be empty" : value.includes("\0") ? "must not hold a null byte" : undefined;
}
