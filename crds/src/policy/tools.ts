import { z } from "zod";
import { digestOf } from "../log/canonical.ts";
import type { Effect } from "./effects.ts";

// The built-in tools: what the model is told, what the gateway checks and what the sandbox runs are read from this one table.

export const TOOL_NAMES = ["bash", "read", "write", "edit", "glob", "grep"] as const;
export type ToolName = (typeof TOOL_NAMES)[number];

const path = z.string().min(1).max(4096).describe("Path of the file, absolute or relative to the workspace.");

const argumentSchemas = {
  bash: z.strictObject({
    command: z.string().min(1).max(65536).describe("Command for bash, run in the workspace. Each call starts a new shell."),
    timeoutSeconds: z.int().min(1).max(600).describe("Time limit in seconds; 120 when left out.").optional(),
  }),
  read: z.strictObject({
    path,
    offset: z.int().min(1).max(10_000_000).describe("First line to return, counted from 1; 1 when left out.").optional(),
    limit: z.int().min(1).max(10_000).describe("Number of lines to return; 2000 when left out.").optional(),
  }),
  write: z.strictObject({ path, content: z.string().max(393_216).describe("Whole new content of the file. Folders are made as needed.") }),
  edit: z.strictObject({
    path,
    oldText: z.string().min(1).max(262_144).describe("Text to replace; it must occur exactly once, unless replaceAll is true."),
    newText: z.string().max(262_144).describe("Text to put in its place."),
    replaceAll: z.boolean().describe("Replace every occurrence.").optional(),
  }),
  glob: z.strictObject({
    pattern: z.string().min(1).max(1024).describe("Glob such as src/**/*.ts, relative to path."),
    path: z.string().min(1).max(4096).describe("Folder to search; the workspace when left out.").optional(),
  }),
  grep: z.strictObject({
    pattern: z.string().min(1).max(1024).describe("Regular expression (JavaScript syntax), matched line by line."),
    path: z.string().min(1).max(4096).describe("File or folder to search; the workspace when left out.").optional(),
    glob: z.string().min(1).max(1024).describe("Only files whose path matches this glob.").optional(),
    ignoreCase: z.boolean().describe("Match letters of either case.").optional(),
  }),
} satisfies Record<ToolName, z.ZodType>;

export type ToolArguments = { [Name in ToolName]: z.infer<(typeof argumentSchemas)[Name]> };

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
  readonly arguments: z.ZodType<Record<string, unknown>>;
}

function tool(name: ToolName, effect: Effect, description: string): Tool {
  const { $schema: _, ...parameters } = z.toJSONSchema(argumentSchemas[name], { io: "input" });
  const definition = { name, description, parameters };
  return { name, effect, definition, digest: digestOf(definition), arguments: argumentSchemas[name] };
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
