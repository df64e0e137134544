import type { ToolArguments } from "@paddock/api/policy/tools";
import { failureOf } from "../failure.ts";
import { cutMiddle } from "../output.ts";
import { locate } from "./location.ts";
import { inTurn, replaceFile, resolveTarget } from "./replacement.ts";
import type { Outcome, ToolContext } from "./tool.ts";

/** Creates a file or replaces its whole content, and makes the folders above it. */
export async function writeTool({ path, content }: ToolArguments["write"], { workspace, signal }: ToolContext): Promise<Outcome> {
  try {
    const target = await resolveTarget(locate(workspace, path));
    const { existed } = await inTurn(target, () => replaceFile(target, content, signal));
    return { status: "ok", ...cutMiddle(`${existed ? "Replaced" : "Created"} ${path}: ${Buffer.byteLength(content)} bytes.`) };
  } catch (error) {
    throw failureOf(error, path);
  }
}
