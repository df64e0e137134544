import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import type { ToolArguments } from "@paddock/api/policy/tools";
import { failureOf, ToolFailure } from "../failure.ts";
import { firstBytes, MIDDLE_BYTES } from "../output.ts";
import { createLineScanner, isBinary } from "./lines.ts";
import { locate } from "./location.ts";
import type { Outcome, ToolContext } from "./tool.ts";

const CHUNK_BYTES = 64 * 1024;
const LINE_BYTES = 2000;
const DEFAULT_LIMIT = 2000;
/** Room for the line that says how to go on. */
const CLOSING_BYTES = 200;

/** A page of a text file with line numbers, read as a stream up to its end, so that the size of the file does not matter. */
export async function readTool({ path, offset = 1, limit = DEFAULT_LIMIT }: ToolArguments["read"], { workspace, signal }: ToolContext): Promise<Outcome> {
  // Non-blocking: opening a pipe would otherwise wait for its writer, and hold a thread of the server.
  const file = await open(locate(workspace, path), constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw failureOf(error, path);
  });
  try {
    const stat = await file.stat();
    if (stat.isDirectory()) throw new ToolFailure(`${path} is a folder, not a file; list it with glob`);
    if (!stat.isFile()) throw new ToolFailure(`${path} is a pipe or device, not a regular file`);
    return await readPage(file, { path, offset, limit, size: stat.size }, signal);
  } catch (error) {
    throw failureOf(error, path);
  } finally {
    await file.close();
  }
}

interface Page {
  readonly path: string;
  readonly offset: number;
  readonly limit: number;
  readonly size: number;
}

interface Progress {
  readonly shown: string[];
  bytes: number;
  number: number;
  stop?: "limit" | "size";
}

async function readPage(file: FileHandle, { path, offset, limit, size }: Page, signal: AbortSignal): Promise<Outcome> {
  const page: Progress = { shown: [], bytes: 0, number: 0 };
  const scanner = createLineScanner(LINE_BYTES + 1, ({ kept, length }) => {
    page.number++;
    if (page.number < offset) return true;
    const text = `${String(page.number).padStart(6)}\t${firstBytes(kept, LINE_BYTES)}${length > LINE_BYTES ? ` [… the line has ${length} bytes]` : ""}\n`;
    const more = Buffer.byteLength(text);
    if (page.shown.length === limit) page.stop = "limit";
    else if (page.bytes + more > MIDDLE_BYTES - CLOSING_BYTES) page.stop = "size";
    else {
      page.shown.push(text);
      page.bytes += more;
    }
    return page.stop === undefined;
  });
  await scan(file, scanner.push, { path, size, signal });
  if (page.stop === undefined) scanner.end();
  const { shown, bytes, number, stop } = page;
  if (shown.length === 0) return { status: offset > 1 ? "error" : "ok", ...whole(number === 0 ? `[${path} is empty]` : `[${path} has ${number} lines; offset ${offset} is behind its end]`) };
  if (stop === undefined) return { status: "ok", content: shown.join(""), bytes, truncated: false };
  return { status: "ok", content: `${shown.join("")}[more lines follow; go on with offset ${offset + shown.length}]`, bytes: size, truncated: stop === "size" };
}

async function scan(file: FileHandle, push: (chunk: Buffer) => boolean, { path, size, signal }: { path: string; size: number; signal: AbortSignal }): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let first = true; ; first = false) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES);
    if (bytesRead === 0) return;
    const chunk = buffer.subarray(0, bytesRead);
    if (first && isBinary(chunk)) throw new ToolFailure(`${path} is a binary file of ${size} bytes; look at it with bash, e.g. file, xxd or strings`);
    if (!push(chunk)) return;
  }
}

function whole(content: string): { content: string; bytes: number; truncated: boolean } {
  return { content, bytes: Buffer.byteLength(content), truncated: false };
}
