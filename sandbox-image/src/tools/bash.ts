import { spawn } from "node:child_process";
import type { ChildProcess, ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { Socket } from "node:net";
import type { Readable } from "node:stream";
import type { ToolArguments } from "@paddock/api/policy/tools";
import { TooManyProcesses } from "../crowd.ts";
import { codeOf, ToolFailure } from "../failure.ts";
import { createTail } from "../output.ts";
import { MARK_VARIABLE } from "../processes.ts";
import { TimeUp } from "./tool.ts";
import type { Outcome, ToolContext } from "./tool.ts";

/** After the shell has ended: how long a silent pipe, and how long a busy one, is still read when a background process may hold it. */
const QUIET_MS = 100;
const DRAIN_MS = 1000;
/** And when nothing does but the relay, which under load may not have run yet. */
const RELAY_MS = 20_000;

/**
 * The command is an argument of its own, never part of a script. Output and errors share one pipe, so that they stay in order; it is a pipe of
 * `cat` because what Node makes is a socket, which /dev/stdout and /dev/stderr cannot open; it starts before the priority is given away, so that
 * output is not late where others keep the processors busy. A command leaves no core dump, has the least
 * priority beside the tool server, which is to answer and to kill under any load, and is killed before it where memory runs out. Priority is
 * SCHED_IDLE, which weighs 3 where nice 19 weighs 15 and we 1024: of a thousand busy processes it leaves us a quarter of a processor, not a
 * sixteenth. Without a right nobody gets back from it, nor from nice 19, which counts where a kernel has no such class.
 */
const SCRIPT = 'ulimit -c 0 -x "$2"; exec > >(exec cat) 2>&1; { echo 1000 > /proc/self/oom_score_adj; chrt --idle --pid 0 $$; } > /dev/null 2>&1; exec nice -n 19 /bin/bash -c "$1"';

/** How the shell ended; `undefined` when it could not be made to. */
type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;

/**
 * Runs a command in a session of its own and gives back the end of its output. What it left running in the background goes
 * on after a normal end. The argument `timeoutSeconds` is in the call's own time limit already: the runner holds it against the session's.
 */
export async function bashTool({ command }: ToolArguments["bash"], context: ToolContext): Promise<Outcome> {
  const { processes, mark, signal } = context;
  const shell = startShell(command, context);
  const tail = createTail();
  shell.stdout.on("data", tail.push).on("error", () => undefined);
  const ended = new Promise<Ending>((resolve) => shell.once("exit", (code, by) => { resolve({ code, signal: by }); }));
  const pid = await started(shell);
  processes.adopt(mark, pid);
  void ended.then(() => { processes.release(pid); });

  const stopped = await stopReason(ended, signal);
  // Waits for the shell only if it can end: a process that no signal ends must not hold the answer.
  const ending = stopped === undefined || (await processes.stop(mark, !(stopped instanceof TooManyProcesses))) ? await ended : undefined;
  await drained(shell.stdout, () => (processes.count().get(mark)?.processes ?? 0) > 1);
  shell.stdout.off("data", tail.push).resume(); // a background process that still writes must not be stopped by a full or closed pipe
  if (shell.stdout instanceof Socket) shell.stdout.unref();
  return describe(tail.cut(), ending, stopped);
}

function startShell(command: string, { workspace, environment, mark }: ToolContext): ChildProcessByStdio<null, Readable, null> {
  const env = { [MARK_VARIABLE]: String(mark), ...environment };
  try {
    return spawn("/bin/bash", ["-c", SCRIPT, "bash", command, String(mark)], { cwd: workspace, env, detached: true, stdio: ["ignore", "pipe", "ignore"] });
  } catch (error) {
    throw startFailure(error); // some errors are thrown, others come as an event
  }
}

async function started(shell: ChildProcess): Promise<number> {
  if (shell.pid !== undefined) return shell.pid;
  const [error] = (await once(shell, "error")) as [unknown];
  throw startFailure(error);
}

function startFailure(error: unknown): ToolFailure {
  const code = codeOf(error) ?? String(error);
  return new ToolFailure(code === "E2BIG" ? "the command is too long; write it to a file first" : `bash could not be started: ${code}`, { cause: error });
}

/** Waits for the end of the shell, or for a reason to stop it. */
async function stopReason(ended: Promise<Ending>, signal: AbortSignal): Promise<Error | undefined> {
  let onAbort: (() => void) | undefined;
  const reason = new Promise<Error>((resolve) => {
    onAbort = () => { resolve(signal.reason as Error); };
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([ended.then(() => undefined), reason]);
  } finally {
    if (onAbort) signal.removeEventListener("abort", onAbort);
  }
}

/** Until all writers have closed the pipe; a background process may hold it, and then until it is quiet. `isHeld`: there is more than the relay. */
async function drained(output: Readable, isHeld: () => boolean): Promise<void> {
  if (output.readableEnded || output.destroyed) return;
  const giveUpAt = performance.now() + RELAY_MS;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(quiet);
      clearTimeout(limit);
      resolve();
    };
    const look = (timer: NodeJS.Timeout): void => {
      if (performance.now() >= giveUpAt || isHeld()) done();
      else timer.refresh();
    };
    const quiet = setTimeout(() => { look(quiet); }, QUIET_MS);
    const limit = setTimeout(() => { look(limit); }, DRAIN_MS);
    output.on("data", () => { quiet.refresh(); }).once("close", done);
  });
}

function describe({ content, bytes, truncated }: { content: string; bytes: number; truncated: boolean }, ending: Ending, stopped: Error | undefined): Outcome {
  const text = content === "" || content.endsWith("\n") ? content : `${content}\n`;
  const status = stopped instanceof TimeUp ? "timeout" : stopped === undefined && ending?.code === 0 ? "ok" : "error";
  return { status, content: `${text}[${closingOf(ending, stopped)}]`, bytes, truncated };
}

function closingOf(ending: Ending, stopped: Error | undefined): string {
  if (stopped !== undefined) return `stopped: ${stopped.message}${ending === undefined ? "; a process could not be killed" : ""}`;
  if (ending?.signal === "SIGKILL") return "killed by SIGKILL: by itself, or the sandbox's memory was full";
  return ending?.signal ? `killed by ${ending.signal}` : `exit code ${ending?.code ?? "unknown"}`;
}
