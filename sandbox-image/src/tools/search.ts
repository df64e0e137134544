import { Worker } from "node:worker_threads";
import { ToolFailure } from "../failure.ts";

interface Place {
  readonly workspace: string;
  /** Absolute folder, or file for grep, to search. */
  readonly root: string;
  /** The same as the model named it. */
  readonly shownRoot: string;
}
export interface GlobSearch extends Place {
  readonly kind: "glob";
  readonly pattern: string;
}
export interface GrepSearch extends Place {
  readonly kind: "grep";
  readonly pattern: string;
  readonly glob?: string;
  readonly ignoreCase: boolean;
}
export type Search = GlobSearch | GrepSearch;

/** What the search thread sends: lines as they are found, then one of the others. */
export type SearchReport =
  | { readonly kind: "lines"; readonly lines: readonly string[] }
  | { readonly kind: "done"; /** How many more there are; 1 stands for an unknown number. */ readonly left: number; /** Files that were searched or found. */ readonly files: number }
  | { readonly kind: "failed"; readonly reason: string };

export interface SearchResult {
  readonly lines: readonly string[];
  readonly left: number;
  readonly files: number;
  /** It was stopped before its end. */
  readonly stopped: boolean;
}

const MEMORY_MB = 256;

/** Searches in a thread of its own, which ends with it, also in the middle of one expression. Throws ToolFailure. */
export async function runSearch(search: Search, signal: AbortSignal): Promise<SearchResult> {
  const lines: string[] = [];
  const worker = new Worker(new URL("./search-thread.ts", import.meta.url), { workerData: search, env: {}, resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB } });
  try {
    return await new Promise<SearchResult>((resolve, reject) => {
      const stop = (): void => { resolve({ lines, left: 0, files: 0, stopped: true }); };
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
      worker.on("message", (message: SearchReport) => {
        if (message.kind === "lines") lines.push(...message.lines);
        else if (message.kind === "failed") reject(new ToolFailure(message.reason));
        else resolve({ lines, left: message.left, files: message.files, stopped: false });
      });
      worker.on("error", (error: Error) => {
        const outOfMemory = "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
        reject(outOfMemory ? new ToolFailure("the search found more than fits into memory; narrow it") : error);
      });
      worker.on("exit", () => { reject(new Error("the search thread ended without a word")); });
    });
  } finally {
    worker.removeAllListeners("exit");
    // Not awaited: a read that the kernel does not give back must not hold the answer.
    void worker.terminate();
  }
}
