import type { ToolArguments } from "@paddock/api/policy/tools";
import { cutMiddle } from "../output.ts";
import { locate } from "./location.ts";
import { runSearch } from "./search.ts";
import type { Outcome, ToolContext } from "./tool.ts";
import { SKIPPED_FOLDERS } from "./walk.ts";

/** Files whose path matches, newest first. */
export async function globTool({ pattern, path = "." }: ToolArguments["glob"], { workspace, signal }: ToolContext): Promise<Outcome> {
  const { folder, rest } = splitPattern(pattern);
  const root = locate(locate(workspace, path), folder);
  const { lines, left, stopped } = await runSearch({ kind: "glob", root, shownRoot: folder === "" ? path : folder, pattern: rest, workspace }, signal);
  if (stopped) signal.throwIfAborted();
  if (lines.length === 0) {
    return { status: "ok", ...cutMiddle(`[no file matches ${pattern}; * does not cross folders (write **/*.ts), names with a leading dot match only a pattern with one, and ${SKIPPED_FOLDERS.join(" and ")} are skipped]`) };
  }
  const closing = left > 0 ? [`[${left} older files are left out; narrow the pattern]`] : [];
  return { status: "ok", ...cutMiddle([...lines, ...closing].join("\n")) };
}

/** Splits off the folders in front that hold nothing to match, so that `/usr/lib/**` and `../x/*` start where they say. Pure. */
export function splitPattern(pattern: string): { readonly folder: string; readonly rest: string } {
  const parts = pattern.split("/");
  const special = parts.findIndex((part) => /[*?[\]{}()!+@\\]/.test(part));
  const at = special === -1 ? parts.length - 1 : special;
  const folder = parts.slice(0, at).join("/");
  return { folder: folder === "" && pattern.startsWith("/") ? "/" : folder, rest: parts.slice(at).join("/") };
}
