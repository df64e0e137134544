// A thread of its own for what a pattern can make slow: a regular expression or a glob may take for ever on a hostile text, and only ending
// its thread stops it. Everything here is synchronous; what was found so far is sent on while the search runs.
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { basename, join, matchesGlob } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import type { GlobSearch, GrepSearch, Search, SearchReport } from "./search.ts";
import { failureOf, ToolFailure } from "../failure.ts";
import { firstBytes } from "../output.ts";
import { createLineScanner, isBinary } from "./lines.ts";
import { displayPath } from "./location.ts";
import { walkFiles } from "./walk.ts";

const CHUNK_BYTES = 64 * 1024;
const LINE_BYTES = 16 * 1024;
const SHOWN_LINE_BYTES = 500;
const MOST_MATCHES = 1000;
const REPORT_EVERY_MS = 100;

function report(message: SearchReport): void {
  parentPort?.postMessage(message);
}

function runGlob({ root, pattern, workspace }: GlobSearch): void {
  const found: { readonly path: string; readonly modifiedAt: number }[] = [];
  for (const path of walkFiles(root)) {
    if (matchesGlob(path, pattern)) found.push({ path: join(root, path), modifiedAt: modifiedAt(join(root, path)) });
  }
  found.sort((a, b) => b.modifiedAt - a.modifiedAt || (a.path < b.path ? -1 : 1));
  report({ kind: "lines", lines: found.slice(0, MOST_MATCHES).map(({ path }) => displayPath(workspace, path)) });
  report({ kind: "done", left: Math.max(0, found.length - MOST_MATCHES), files: found.length });
}

function modifiedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function runGrep(search: GrepSearch): void {
  const expression = new RegExp(search.pattern, search.ignoreCase ? "i" : "");
  const pending: string[] = [];
  let sentAt = performance.now();
  let matches = 0;
  let files = 0;
  const send = (): void => {
    report({ kind: "lines", lines: pending.splice(0) });
    sentAt = performance.now();
  };
  for (const path of filesOf(search)) {
    files++;
    grepFile(path, expression, (number, text) => {
      pending.push(`${displayPath(search.workspace, path)}:${number}:${text}`);
      matches++;
      if (performance.now() - sentAt > REPORT_EVERY_MS) send();
      return matches < MOST_MATCHES;
    });
    if (matches >= MOST_MATCHES) break;
  }
  send();
  report({ kind: "done", left: matches >= MOST_MATCHES ? 1 : 0, files });
}

function* filesOf({ root, glob }: GrepSearch): Generator<string> {
  const stat = statSync(root);
  if (!stat.isDirectory()) {
    if (!stat.isFile()) throw new ToolFailure(`${root} is a pipe or device, not a regular file`);
    yield root;
    return;
  }
  for (const path of walkFiles(root)) {
    // As with grep --include, a glob without a folder is about the file's name.
    if (glob === undefined || matchesGlob(path, glob) || (!glob.includes("/") && matchesGlob(basename(path), glob))) yield join(root, path);
  }
}

/** Calls back for each line that matches, until it answers false. A file that cannot be read or is binary is left out. */
function grepFile(path: string, expression: RegExp, onMatch: (number: number, text: string) => boolean): void {
  let number = 0;
  const scanner = createLineScanner(LINE_BYTES + 1, ({ kept, length }) => {
    number++;
    const line = firstBytes(kept, LINE_BYTES);
    if (!expression.test(line)) return true;
    const shown = firstBytes(kept, SHOWN_LINE_BYTES);
    return onMatch(number, length > SHOWN_LINE_BYTES ? `${shown} [… the line has ${length} bytes]` : shown);
  });
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return;
  }
  try {
    if (!fstatSync(file).isFile()) return;
    for (let first = true, bytes = readSync(file, buffer); bytes > 0; first = false, bytes = readSync(file, buffer)) {
      const chunk = buffer.subarray(0, bytes);
      if ((first && isBinary(chunk)) || !scanner.push(chunk)) return;
    }
    scanner.end();
  } catch (error) {
    if (error instanceof Error && "code" in error) return; // reading failed half-way
    throw error;
  } finally {
    closeSync(file);
  }
}

const search = workerData as Search;
try {
  if (search.kind === "glob") runGlob(search);
  else runGrep(search);
} catch (error) {
  const failure = failureOf(error, search.shownRoot);
  if (!(failure instanceof ToolFailure)) throw failure;
  report({ kind: "failed", reason: failure.message });
}
