import type { BaseStatus, Condition } from "@paddock/api/object";
import type { Announcement } from "./kind.ts";

/** Conditions that tell how an object is; every other one says something besides. */
const SUMMARIES: readonly string[] = ["Ready", "Succeeded"];

/** Reasons of a summary that is not True and still no trouble: something is under way, somebody wanted it so, or the object that has the trouble tells it. */
const CALM: ReadonlySet<string> = new Set(["Pending", "Progressing", "EnvironmentNotReady", "Queued", "Starting", "Running", "AwaitingInput", "AwaitingToolResult", "AwaitingApproval", "Suspended", "Cancelled"]);

/** A Warning when the summary of an object turns to a problem, or to another one: reason and message are the condition's. Pure. */
export function announceProblems(before: BaseStatus | undefined, after: BaseStatus): readonly Announcement[] {
  const earlier = new Map((before?.conditions ?? []).map((condition) => [condition.type, condition]));
  return (after.conditions ?? [])
    .filter((condition) => isProblem(condition) && !isSame(condition, earlier.get(condition.type)))
    .map(({ reason, message }) => ({ type: "Warning", reason, message }));
}

function isProblem({ type, status, reason }: Condition): boolean {
  return SUMMARIES.includes(type) && status !== "True" && !CALM.has(reason);
}

// A message alone may change with every look, e.g. with a count in it.
function isSame(now: Condition, earlier: Condition | undefined): boolean {
  return earlier?.status === now.status && earlier.reason === now.reason;
}
