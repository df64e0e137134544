import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** One of the bench's processes: it says one line of JSON when it is ready, and one for each order that it is given. */
export interface BenchProcess<Ready> {
  readonly ready: Ready;
  /** Gives an order and resolves with what it says. */
  ask<Answer>(order: object): Promise<Answer>;
  /** Resident memory in MB, and how much of it is no file's. */
  memoryMB(): MemoryMB;
  close(): Promise<void>;
}

export interface MemoryMB {
  readonly resident: number;
  readonly anonymous: number;
}

/** Starts a program of this folder with its settings as one argument. Rejects when it ends before it is ready. */
export async function startProcess<Ready>(name: string, settings: object): Promise<BenchProcess<Ready>> {
  const child: ChildProcess = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, `${name}.ts`), JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] });
  const { stdin, stdout, pid = 0 } = child;
  if (stdin === null || stdout === null) throw new Error(`${name} has no pipes`);
  const ended = once(child, "exit");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const line = await lines.next();
    if (line.done === true) throw new Error(`${name} has ended`);
    return JSON.parse(line.value);
  };
  return {
    ready: (await next()) as Ready,
    ask: async <Answer>(order: object) => {
      stdin.write(`${JSON.stringify(order)}\n`);
      return (await next()) as Answer;
    },
    memoryMB: () => {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const megabytes = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
      return { resident: megabytes("VmRSS"), anonymous: megabytes("RssAnon") };
    },
    close: async () => {
      stdin.end();
      await ended;
    },
  };
}
