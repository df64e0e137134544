import type { SandboxResult } from "@paddock/api/wire/sandbox";
import type { Cut } from "../output.ts";
import type { ProcessTable } from "../processes.ts";

/** What a tool needs beyond its arguments. */
export interface ToolContext {
  readonly workspace: string;
  /** Whole environment of commands. */
  readonly environment: Readonly<Record<string, string>>;
  readonly processes: ProcessTable;
  /** Names this run among all runs of the server. */
  readonly mark: number;
  /** Aborted when the time is up, the runner has gone, or a newer runner takes over. The tool then gives back what it has. */
  readonly signal: AbortSignal;
}

/** What a tool did. A failure that has no output is thrown as ToolFailure instead. */
export interface Outcome extends Cut {
  readonly status: SandboxResult["status"];
}

/** Why a run is stopped: the `reason` of its signal. */
export class TimeUp extends Error {
  constructor(seconds: number) {
    super(`the time limit of ${seconds} s is up`);
  }
}
