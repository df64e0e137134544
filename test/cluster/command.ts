import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { childEnvironment, readTestConfig } from "../config.ts";

export interface CommandOptions {
  cwd?: string;
  /** Added to this process's environment. */
  env?: Readonly<Record<string, string>>;
  /** Standard input; without it there is none. */
  input?: string;
  /** The process is killed after it; default ten minutes. */
  timeoutMs?: number;
}

/** A command that ended badly; the message carries the command and the end of what it wrote to standard error. */
export class CommandError extends Error {
  readonly exitCode: number | null;
  readonly stderr: string;
  constructor(argv: readonly string[], exitCode: number | null, stderr: string) {
    const end = exitCode === null ? "was killed or could not start" : `ended with ${exitCode}`;
    super(`${argv.join(" ").slice(0, 300)} ${end}${stderr.trim() && `:\n${stderr.trim().slice(-2000)}`}`);
    this.name = "CommandError";
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** Runs a program (no shell) and returns its standard output; rejects with a CommandError unless it ends with 0. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [file = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: childEnvironment(options.env), timeout: options.timeoutMs ?? 600_000, killSignal: "SIGKILL",
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
    feed(child, options.input);
    child.on("error", (error) => reject(new CommandError(argv, null, error.message)));
    child.on("close", (code) => {
      if (code === 0) resolve(Buffer.concat(stdout).toString());
      else reject(new CommandError(argv, code, Buffer.concat(stderr).toString() || Buffer.concat(stdout).toString()));
    });
  });
}

function feed(child: ChildProcess, input: string | undefined): void {
  if (input === undefined) return;
  child.stdin?.on("error", () => {}); // a program that ends without reading its input says why by its exit code
  child.stdin?.end(input);
}

/** Whether the program ends with 0. Never rejects. */
export async function succeeds(argv: readonly string[], options?: CommandOptions): Promise<boolean> {
  return run(argv, options).then(() => true, () => false);
}

/** The absolute path of a program, or undefined when no folder of PATH has it. */
export function findProgram(name: string, folders: readonly string[] = readTestConfig().path): string | undefined {
  return folders.map((folder) => join(folder, name)).find((path) => isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Asks `probe` every 50 ms until it says true; rejects with `complaint()` after `timeoutMs`. */
export async function until(probe: () => Promise<boolean>, timeoutMs: number, complaint: () => string): Promise<void> {
  const endAt = performance.now() + timeoutMs;
  while (!(await probe())) {
    if (performance.now() >= endAt) throw new Error(complaint());
    await sleep(50);
  }
}
