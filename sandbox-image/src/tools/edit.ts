import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { ToolArguments } from "@paddock/api/policy/tools";
import { failureOf, ToolFailure } from "../failure.ts";
import { cutMiddle } from "../output.ts";
import { isBinary } from "./lines.ts";
import { locate } from "./location.ts";
import { inTurn, replaceFile, resolveTarget } from "./replacement.ts";
import type { Outcome, ToolContext } from "./tool.ts";

/** A larger file is for a program to change. */
const EDITABLE_BYTES = 8 * 1024 * 1024;

/** Replaces a piece of text that occurs exactly once, or every occurrence. Changes nothing when it cannot. */
export async function editTool({ path, oldText, newText, replaceAll = false }: ToolArguments["edit"], { workspace, signal }: ToolContext): Promise<Outcome> {
  if (oldText === newText) throw new ToolFailure("oldText and newText are the same: there is nothing to change");
  try {
    const target = await resolveTarget(locate(workspace, path));
    return await inTurn(target, async () => {
      const parts = (await readEditable(path, target)).split(oldText);
      const found = parts.length - 1;
      if (found === 0) throw new ToolFailure(`oldText does not occur in ${path}; read the file and copy the text exactly, with its white space`);
      if (found > 1 && !replaceAll) throw new ToolFailure(`oldText occurs ${found} times in ${path}; take in more of the lines around it, or set replaceAll`);
      await replaceFile(target, parts.join(newText), signal);
      return { status: "ok", ...cutMiddle(`Changed ${path}: ${found} ${found === 1 ? "occurrence" : "occurrences"}.`) };
    });
  } catch (error) {
    throw failureOf(error, path);
  }
}

async function readEditable(path: string, target: string): Promise<string> {
  const file = await open(target, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (stat.isDirectory()) throw new ToolFailure(`${path} is a folder, not a file`);
    if (!stat.isFile()) throw new ToolFailure(`${path} is a pipe or device, not a regular file`);
    if (stat.size > EDITABLE_BYTES) throw new ToolFailure(`${path} has ${stat.size} bytes, and edit takes at most ${EDITABLE_BYTES}; change it with a program, e.g. sed`);
    const bytes = await file.readFile();
    // Decoding would change bytes that are no text, all over the file.
    if (isBinary(bytes) || !isUtf8(bytes)) throw new ToolFailure(`${path} is not UTF-8 text; change it with a program`);
    return bytes.toString();
  } finally {
    await file.close();
  }
}
