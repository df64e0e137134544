import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Target } from "../../fakes/client.ts";
import type { Report } from "./reader.ts";

/** Readers in a process of their own, so that reading does not slow those who write and measure. */
export interface Readers {
  report(): Promise<Report>;
  /** Asks until `isEnough`; throws after `seconds`, a bound against hanging. */
  until(isEnough: (report: Report) => boolean, seconds?: number): Promise<Report>;
  close(): void;
}

export function startReaders(target: Target, streams: readonly { readonly path: string; readonly token: string }[]): Readers {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, "reader.ts")], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.write(`${JSON.stringify({ target, streams })}\n`);
  const report = async (): Promise<Report> => {
    child.stdin.write("report\n");
    const { value, done } = await lines.next();
    if (done === true) throw new Error("the readers' process has ended");
    return JSON.parse(value) as Report;
  };
  return {
    report,
    until: async (isEnough, seconds = 120) => {
      const giveUpAt = Date.now() + seconds * 1000;
      for (;;) {
        const seen = await report();
        if (isEnough(seen)) return seen;
        if (Date.now() > giveUpAt) throw new Error(`waited ${seconds} s for the readers: ${seen.open} open, ${seen.events} events, ${seen.gaps} gaps`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    close: () => void child.kill(),
  };
}
