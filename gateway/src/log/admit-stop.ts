import { deadlineAt, isInterrupted } from "@paddock/api/log/state";
import type { WaitingFor } from "@paddock/api/log/state";
import { refuse } from "./admission.ts";
import type { Question, Refusal } from "./admission.ts";

type Asked = Pick<Question, "state" | "now">;

/** What ends each kind of waiting. */
const WAKES: Readonly<Record<WaitingFor, string>> = {
  input: "the next input.received",
  approval: "an approval.resolved",
  tool: "the tool.finished of a custom tool",
  resume: "session.resumed",
};

/** A reason not to begin anything new: the session is cancelled, its time is over, it waits, was interrupted or is suspended. */
export function refuseStopped(asked: Asked): Refusal | undefined {
  return refuseEnding(asked) ?? refuseWaiting(asked) ?? refuseInterrupted(asked) ?? refuseSuspended(asked);
}

/** The session is cancelled, or the time of its input is over. */
export function refuseEnding({ state, now }: Asked): Refusal | undefined {
  if (state.cancelled) return refuse("stopped", "final", "the session is cancelled: finish the open calls as cancelled and append run.finished with outcome Cancelled");
  const deadline = deadlineAt(state);
  if (now.getTime() < deadline) return undefined;
  return refuse("stopped", "final", `the session's time was over at ${new Date(deadline).toISOString()} (limits.timeoutSeconds ${state.limits.timeoutSeconds}): append run.finished with outcome DeadlineExceeded`);
}

/** Somebody stopped what is under way. */
export function refuseInterrupted({ state }: Pick<Question, "state">): Refusal | undefined {
  if (!isInterrupted(state)) return undefined;
  return refuse("paused", "wait", `the turn was interrupted by event ${state.interrupted ?? state.lastSeq}: finish its open calls as cancelled and append run.waiting for input`);
}

function refuseWaiting({ state: { waiting } }: Asked): Refusal | undefined {
  if (waiting === undefined) return undefined;
  return refuse("unexpected", "wait", `the session waits for ${waiting.for} since event ${waiting.seq}: nothing begins before ${WAKES[waiting.for]}`);
}

function refuseSuspended({ state }: Asked): Refusal | undefined {
  if (state.suspended !== true) return undefined;
  return refuse("paused", "wait", "the session is suspended: record what runs, append run.waiting for resume, and go on after session.resumed");
}
