import { spawn } from "node:child_process";
import { join } from "node:path";
import { childEnvironment } from "./config.ts";

/** The checkout. */
export const ROOT = join(import.meta.dirname, "..");

// Each test file is a process: what one has compiled (zod, the contracts) the next one reads. Node tells by content whether it still holds.
const COMPILED = join(ROOT, "node_modules/.cache/node");

export interface StepResult {
  readonly code: number;
  /** Standard output and error, as they came. */
  readonly output: string;
  readonly seconds: number;
}

/**
 * Runs the project's Node with these arguments in the checkout, without a shell. Rejects only when it cannot start. With `hungAfterMs`
 * a process that has not ended by then is killed, and the output says so: a bound against hanging, not an expectation of speed.
 */
export function runNode(args: readonly string[], { hungAfterMs }: { readonly hungAfterMs?: number } = {}): Promise<StepResult> {
  const startedAt = performance.now();
  // A nested test run must not take itself for a part of the one that started it.
  const { NODE_TEST_CONTEXT: _, ...env } = childEnvironment({ NODE_COMPILE_CACHE: COMPILED });
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", ...args], { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
  const output: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
  return new Promise((resolve, reject) => {
    const end = (code: number): void => {
      clearTimeout(guard);
      resolve({ code, output: Buffer.concat(output).toString(), seconds: (performance.now() - startedAt) / 1000 });
    };
    const kill = (): void => {
      child.kill("SIGKILL");
      output.push(Buffer.from(`\n${args.at(-1) ?? ""}: something kept it alive, killed after ${(hungAfterMs ?? 0) / 1000} s\n`));
      // Not on "close": what it has started may hold its output open.
      child.once("exit", () => end(1));
    };
    const guard = hungAfterMs === undefined ? undefined : setTimeout(kill, hungAfterMs);
    child.on("error", reject);
    child.on("close", (code) => end(code ?? 1));
  });
}

/** The script of a program from node_modules. */
export function scriptOf(path: string): string {
  return join(ROOT, "node_modules", path);
}

/** Calls `work` for each item, at most `lanes` at a time, in order of the items; rejects with the first rejection. */
export async function inLanes<T>(items: readonly T[], lanes: number, work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const runLane = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: lanes }, runLane));
}
