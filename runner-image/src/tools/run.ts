import type { Logger } from "pino";
import { deadlineAt } from "@paddock/api/log/state";
import { DEFAULT_CUSTOM_TOOL_SECONDS } from "@paddock/api/log/limits";
import { customToolOf } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";
import type { SandboxResult } from "@paddock/api/wire/sandbox";
import { Refused } from "../append.ts";
import type { Append } from "../append.ts";
import { deniedCall } from "../context/notices.ts";
import type { Step } from "../next.ts";
import { CallRefused, LinkLost } from "../sandbox/link.ts";
import type { Link } from "../sandbox/link.ts";
import type { View } from "../transcript.ts";
import { finishedEvent } from "./result.ts";

export interface ToolPorts {
  view(): View;
  readonly append: Append;
  /** The bound sandbox, while there is one. */
  link(): Link | undefined;
  /** Hears what the egress proxy refuses from now on; what it returns ends that and says it. */
  refusals(): () => string | undefined;
  now(): number;
  readonly logger: Logger;
}

type StartStep = Extract<Step, { kind: "startCall" }>;

const BASH_SECONDS = 120;
const OTHER_SECONDS = 60;

/**
 * Starts a call, runs it and records its result. Without a result it resolves all the same: when the sandbox is lost or `signal` aborts,
 * the log then shows a call that was started and not finished, and what becomes of it is decided from there. Rejects with Refused when
 * the log does not take the start.
 */
export async function runCall(step: StartStep, ports: ToolPorts, signal: AbortSignal): Promise<void> {
  const { bundle, state } = ports.view();
  const custom = customToolOf(bundle, step.tool);
  if (custom !== undefined) {
    // A client of the log gives the result, or the log itself when its time is over.
    await startCall(step, ports, custom.timeoutSeconds ?? DEFAULT_CUSTOM_TOOL_SECONDS);
    return;
  }
  const link = ports.link();
  const tool = toolOf(step.tool);
  if (link === undefined || tool === undefined) return;
  const { call, attempt } = step;
  const timeoutSeconds = timeoutOf(step, (deadlineAt(state) - ports.now()) / 1000);
  if (!(await startCall(step, ports, timeoutSeconds))) return;
  const refused = ports.refusals();
  let heard: string | undefined;
  const result = await callSandbox(() => link.call({ call, attempt, tool: tool.name, arguments: step.arguments, timeoutSeconds }, signal), { call, logger: ports.logger, signal }).finally(() => (heard = refused()));
  if (result !== undefined) await ports.append([finishedEvent(call, { ...result, note: joinNotes(step.note, heard) })]);
}

function joinNotes(...notes: readonly (string | undefined)[]): string | undefined {
  const said = notes.filter((note) => note !== undefined);
  return said.length === 0 ? undefined : said.join("\n");
}

/** Announces the call; false when the log knows better than to let it start, which is then its result. */
async function startCall({ call, attempt }: StartStep, { view, append, now }: ToolPorts, timeoutSeconds: number): Promise<boolean> {
  const deadline = new Date(now() + timeoutSeconds * 1000).toISOString();
  try {
    await append([{ type: "tool.started", data: { call, attempt, idempotencyKey: `${view().bundle.session.uid}/${call}`, deadline } }]);
    return true;
  } catch (error) {
    if (!(error instanceof Refused) || error.problem !== "denied") throw error;
    await append([finishedEvent(call, deniedCall(error.message))]);
    return false;
  }
}

/** Seconds that a call may take: what it asks for or the tool's usual limit, never beyond the session's deadline. */
export function timeoutOf({ tool, arguments: args }: Pick<StartStep, "tool" | "arguments">, secondsLeft: number): number {
  const asked = args["timeoutSeconds"];
  const usual = tool === "bash" ? BASH_SECONDS : OTHER_SECONDS;
  return Math.max(1, Math.min(typeof asked === "number" ? asked : usual, Math.ceil(secondsLeft)));
}

interface Calling {
  readonly call: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

async function callSandbox(run: () => Promise<SandboxResult>, { call, logger, signal }: Calling): Promise<Parameters<typeof finishedEvent>[1] | undefined> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof CallRefused) return { status: "error", content: `The sandbox did not run the call: ${error.message}` };
    if (!(error instanceof LinkLost) && !signal.aborted) throw error;
    logger.warn({ call, error: error instanceof Error ? error.message : "stopped" }, "a call ended without a result");
    return undefined;
  }
}
