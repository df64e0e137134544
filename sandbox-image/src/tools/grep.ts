import type { ToolArguments } from "@paddock/api/policy/tools";
import { ToolFailure } from "../failure.ts";
import { cutMiddle } from "../output.ts";
import { locate } from "./location.ts";
import { runSearch } from "./search.ts";
import type { Outcome, ToolContext } from "./tool.ts";
import { SKIPPED_FOLDERS } from "./walk.ts";

/** Lines that match a regular expression, as `path:number:line`. When the time is up, those found until then. */
export async function grepTool({ pattern, path = ".", glob, ignoreCase = false }: ToolArguments["grep"], { workspace, signal }: ToolContext): Promise<Outcome> {
  checkPattern(pattern);
  const root = locate(workspace, path);
  const { lines, left, files, stopped } = await runSearch({ kind: "grep", root, shownRoot: path, pattern, ignoreCase, workspace, ...(glob !== undefined && { glob }) }, signal);
  if (lines.length === 0) {
    if (stopped) signal.throwIfAborted();
    return { status: "ok", ...cutMiddle(`[no match in ${files} files; binary files and the folders ${SKIPPED_FOLDERS.join(" and ")} are skipped]`) };
  }
  const closing = closingOf(stopped, left);
  return { status: stopped ? "timeout" : "ok", ...cutMiddle([...lines, ...closing].join("\n")) };
}

function closingOf(stopped: boolean, left: number): readonly string[] {
  if (stopped) return ["[stopped: the time limit is up; these were found until then]"];
  return left > 0 ? ["[there are more matches; narrow the search]"] : [];
}

function checkPattern(pattern: string): void {
  try {
    new RegExp(pattern);
  } catch (error) {
    throw new ToolFailure(`pattern is not a regular expression of JavaScript: ${error instanceof Error ? error.message : String(error)}`);
  }
}
