import { digestOf } from "../log/canonical.ts";
import type { Effect } from "./effects.ts";

// The built-in tools: what the model is told, what the gateway checks and what the sandbox runs are read from this one table. The runner
// loads it at its start, so it is plain JSON Schema and its own few lines of check: zod would be most of what a runner loads.

export const TOOL_NAMES = ["bash", "read", "write", "edit", "glob", "grep"] as const;
export type ToolName = (typeof TOOL_NAMES)[number];

/** Arguments of each tool, checked. */
export interface ToolArguments {
  readonly bash: { readonly command: string; readonly timeoutSeconds?: number | undefined };
  readonly read: { readonly path: string; readonly offset?: number | undefined; readonly limit?: number | undefined };
  readonly write: { readonly path: string; readonly content: string };
  readonly edit: { readonly path: string; readonly oldText: string; readonly newText: string; readonly replaceAll?: boolean | undefined };
  readonly glob: { readonly pattern: string; readonly path?: string | undefined };
  readonly grep: { readonly pattern: string; readonly path?: string | undefined; readonly glob?: string | undefined; readonly ignoreCase?: boolean | undefined };
}

/** JSON Schema of one argument; lengths are in UTF-16 units. */
type Property =
  | { readonly type: "string"; readonly minLength?: number; readonly maxLength: number; readonly description: string }
  | { readonly type: "integer"; readonly minimum: number; readonly maximum: number; readonly description: string }
  | { readonly type: "boolean"; readonly description: string };

interface Parameters<Name extends ToolName> {
  readonly type: "object";
  readonly properties: { readonly [Argument in keyof ToolArguments[Name]]-?: Property };
  readonly required: readonly (keyof ToolArguments[Name] & string)[];
  readonly additionalProperties: false;
}

const text = (maxLength: number, description: string): Property => ({ type: "string", minLength: 1, maxLength, description });
const content = (maxLength: number, description: string): Property => ({ type: "string", maxLength, description });
const integer = (maximum: number, description: string): Property => ({ type: "integer", minimum: 1, maximum, description });
const flag = (description: string): Property => ({ type: "boolean", description });
const path = text(4096, "Path of the file, absolute or relative to the workspace.");

const PARAMETERS: { readonly [Name in ToolName]: Parameters<Name> } = {
  bash: objectOf(["command"], {
    command: text(65536, "Command for bash, run in the workspace. Each call starts a new shell."),
    timeoutSeconds: integer(600, "Time limit in seconds; 120 when left out."),
  }),
  read: objectOf(["path"], {
    path,
    offset: integer(10_000_000, "First line to return, counted from 1; 1 when left out."),
    limit: integer(10_000, "Number of lines to return; 2000 when left out."),
  }),
  write: objectOf(["path", "content"], { path, content: content(393_216, "Whole new content of the file. Folders are made as needed.") }),
  edit: objectOf(["path", "oldText", "newText"], {
    path,
    oldText: text(262_144, "Text to replace; it must occur exactly once, unless replaceAll is true."),
    newText: content(262_144, "Text to put in its place."),
    replaceAll: flag("Replace every occurrence."),
  }),
  glob: objectOf(["pattern"], { pattern: text(1024, "Glob such as src/**/*.ts, relative to path."), path: text(4096, "Folder to search; the workspace when left out.") }),
  grep: objectOf(["pattern"], {
    pattern: text(1024, "Regular expression (JavaScript syntax), matched line by line."),
    path: text(4096, "File or folder to search; the workspace when left out."),
    glob: text(1024, "Only files whose path matches this glob."),
    ignoreCase: flag("Match letters of either case."),
  }),
};

function objectOf<Required extends string, Properties>(required: readonly Required[], properties: Properties) {
  return { type: "object", properties, required, additionalProperties: false } as const;
}

/** What a model is told about a tool, in the shape of Chat Completions' `function`. */
export interface ToolDefinition {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface Tool {
  readonly name: ToolName;
  readonly effect: Effect;
  readonly definition: ToolDefinition;
  /** Digest of the definition, part of every call's fingerprint. */
  readonly digest: string;
  /** What is wrong with these arguments, a sentence each; [] when they are the tool's. */
  faultsOf(args: unknown): readonly string[];
}

function tool(name: ToolName, effect: Effect, description: string): Tool {
  const { type, properties, required, additionalProperties } = PARAMETERS[name];
  const definition = { name, description, parameters: { type, properties, required, additionalProperties } };
  return { name, effect, definition, digest: digestOf(definition), faultsOf: (args) => faultsOf(args, properties, required) };
}

export const TOOLS: Readonly<Record<ToolName, Tool>> = {
  bash: tool("bash", "Once", "Run a command with bash in the sandbox's workspace and return its output and exit code."),
  read: tool("read", "Pure", "Read a text file, with line numbers."),
  write: tool("write", "Idempotent", "Create a file or replace its whole content."),
  edit: tool("edit", "Once", "Replace a piece of text in a file."),
  glob: tool("glob", "Pure", "List files whose path matches a glob, newest first."),
  grep: tool("grep", "Pure", "Search files for a regular expression."),
};

/** The tool called NAME, or undefined: own names only, so that `constructor` is no tool. */
export function toolOf(name: string): Tool | undefined {
  return TOOL_NAMES.some((known) => known === name) ? TOOLS[name as ToolName] : undefined;
}

function faultsOf(args: unknown, properties: Readonly<Record<string, Property>>, required: readonly string[]): readonly string[] {
  if (args === null || typeof args !== "object" || Array.isArray(args)) return ["arguments must be a JSON object"];
  const given = args as Readonly<Record<string, unknown>>;
  const names = Object.keys(properties);
  const unknown = Object.keys(given).filter((name) => !names.includes(name)).map((name) => `${JSON.stringify(name.slice(0, 64))} is no argument; there are: ${names.join(", ")}`);
  const wrong = Object.entries(properties).flatMap(([name, property]) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    const fault = value === undefined ? (required.includes(name) ? "is missing" : undefined) : faultOf(value, property);
    return fault === undefined ? [] : [`${name} ${fault}`];
  });
  return [...unknown, ...wrong];
}

function faultOf(value: unknown, property: Property): string | undefined {
  switch (property.type) {
    case "boolean":
      return typeof value === "boolean" ? undefined : "must be true or false";
    case "integer":
      return Number.isSafeInteger(value) && isWithin(Number(value), property.minimum, property.maximum) ? undefined : `must be an integer from ${property.minimum} to ${property.maximum}`;
    case "string":
      return typeof value === "string" ? lengthFault(value.length, property.minLength ?? 0, property.maxLength) : "must be a text";
  }
}

function lengthFault(length: number, least: number, most: number): string | undefined {
  return isWithin(length, least, most) ? undefined : `has ${length} characters and must have ${least} to ${most}`;
}

function isWithin(value: number, least: number, most: number): boolean {
  return value >= least && value <= most;
}
