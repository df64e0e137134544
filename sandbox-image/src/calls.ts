import { setTimeout as sleep } from "node:timers/promises";
import type { ToolArguments, ToolName } from "@paddock/api/policy/tools";
import type { SandboxCall, SandboxResult } from "@paddock/api/wire/sandbox";
import { parseArguments } from "./arguments.ts";
import { createCrowdWatch } from "./crowd.ts";
import type { CrowdLimits, TooManyProcesses } from "./crowd.ts";
import { stackOf, ToolFailure } from "./failure.ts";
import type { Log } from "./log.ts";
import { cutMiddle } from "./output.ts";
import { RequestRefused } from "./problem.ts";
import { hasRoomForProcess } from "./processes.ts";
import type { ProcessTable } from "./processes.ts";
import { bashTool } from "./tools/bash.ts";
import { editTool } from "./tools/edit.ts";
import { globTool } from "./tools/glob.ts";
import { grepTool } from "./tools/grep.ts";
import { readTool } from "./tools/read.ts";
import { TimeUp } from "./tools/tool.ts";
import type { Outcome, ToolContext } from "./tools/tool.ts";
import { writeTool } from "./tools/write.ts";

type Run = (given: Readonly<Record<string, unknown>>, context: ToolContext) => Promise<Outcome>;

function checked<Name extends ToolName>(name: Name, tool: (given: ToolArguments[Name], context: ToolContext) => Promise<Outcome>): Run {
  return async (given, context) => tool(parseArguments(name, given), context);
}

const TOOLS: Readonly<Record<ToolName, Run>> = {
  bash: checked("bash", bashTool),
  read: checked("read", readTool),
  write: checked("write", writeTool),
  edit: checked("edit", editTool),
  glob: checked("glob", globTool),
  grep: checked("grep", grepTool),
};

const MOST_RUNNING = 32;
/** How long a tool may take to notice that it was stopped; bash's own is shorter. */
const STOP_MS = 8000;

/** Runs calls: each once, within its time, at most 32 at the same time. */
export interface Calls {
  /** Stops the run when `gone` is aborted. Throws RequestRefused: `conflict`, `limit`, `internal`. */
  run(call: SandboxCall, gone: AbortSignal): Promise<SandboxResult>;
  /** Stops every run, and every process that a run left behind. */
  stopAll(): Promise<void>;
}

export interface CallPorts {
  readonly workspace: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly processes: ProcessTable;
  /** Where the marks of runs begin. */
  readonly markBase: number;
  readonly log: Log;
  readonly crowdLimits?: CrowdLimits;
}

export function createCalls({ workspace, environment, processes, markBase, log, crowdLimits }: CallPorts): Calls {
  const seen = new Set<string>();
  const running = new Map<AbortController, { readonly mark: number; readonly result: Promise<unknown> }>();
  const crowd = createCrowdWatch({ processes, stopRun, hasRoom: hasRoomForProcess, log, ...(crowdLimits && { limits: crowdLimits }) });

  function stopRun(reason: TooManyProcesses, mark?: number): boolean {
    const found = [...running].filter(([, run]) => mark === undefined || run.mark === mark);
    for (const [stop] of found) stop.abort(reason);
    return found.length > 0;
  }

  async function run(call: SandboxCall, gone: AbortSignal): Promise<SandboxResult> {
    const identity = `${call.call} ${call.attempt}`;
    if (seen.has(identity)) throw new RequestRefused("conflict", `call ${call.call}, attempt ${call.attempt}, was started before; its result is gone with the connection that asked`);
    if (running.size >= MOST_RUNNING) throw new RequestRefused("limit", `${MOST_RUNNING} calls are running; wait for one to end`);
    seen.add(identity);
    const stop = new AbortController();
    const timer = setTimeout(() => { stop.abort(new TimeUp(call.timeoutSeconds)); }, call.timeoutSeconds * 1000);
    const onGone = (): void => { stop.abort(new Error("the runner has gone")); };
    gone.addEventListener("abort", onGone, { once: true });
    if (gone.aborted) onGone();
    const mark = markBase + seen.size;
    const result = runWithin(call, { workspace, environment, processes, mark, signal: stop.signal });
    running.set(stop, { mark, result });
    crowd.wake();
    try {
      return await result;
    } finally {
      clearTimeout(timer);
      gone.removeEventListener("abort", onGone);
      running.delete(stop);
    }
  }

  async function runWithin(call: SandboxCall, context: ToolContext): Promise<SandboxResult> {
    const startedAt = performance.now();
    const { status, content, bytes, truncated } = await outcomeOf(call, context);
    const seconds = Math.round(performance.now() - startedAt) / 1000;
    log("info", "call", { call: call.call, attempt: call.attempt, tool: call.tool, status, seconds, bytes });
    return { status, content, bytes, truncated, seconds };
  }

  async function outcomeOf(call: SandboxCall, context: ToolContext): Promise<Outcome> {
    try {
      return await Promise.race([TOOLS[call.tool](call.arguments, context), givenUp(context.signal)]);
    } catch (error) {
      if (error instanceof ToolFailure) return { status: "error", ...cutMiddle(error.message) };
      const reason: unknown = context.signal.reason;
      if (context.signal.aborted && error === reason) return { status: error instanceof TimeUp ? "timeout" : "error", ...cutMiddle(`[stopped: ${messageOf(error)}]`) };
      log("error", "a tool failed by a fault of its own", { call: call.call, tool: call.tool, stack: stackOf(error) });
      throw new RequestRefused("internal", `the tool ${call.tool} failed by a fault of its own; the sandbox's log says more`);
    }
  }

  async function stopAll(): Promise<void> {
    const stopped = [...running].map(async ([stop, { result }]) => {
      stop.abort(new Error("a newer runner has taken over"));
      await result;
    });
    await Promise.allSettled(stopped);
    if (!(await processes.stopAll())) log("warn", "a process outlived SIGKILL");
  }

  return { run, stopAll };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Throws the signal's reason some time after it: a file system that does not answer must not hold the call. */
async function givenUp(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await new Promise((resolve) => { signal.addEventListener("abort", resolve, { once: true }); });
  await sleep(STOP_MS, undefined, { ref: false });
  throw signal.reason;
}
