import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf } from "@paddock/api/log/events";
import { isApproved, isInterrupted, pendingApprovals } from "@paddock/api/log/state";
import type { CallState, SessionState, WaitingFor } from "@paddock/api/log/state";
import { customToolOf } from "@paddock/api/policy/rules";
import { refuseIncomplete, refuseOpen, refuseStale } from "./admit-run.ts";
import { refuseInterrupted } from "./admit-stop.ts";
import { refuse } from "./admission.ts";
import type { Question, Refusal } from "./admission.ts";

type Rule = (question: Question) => Refusal | undefined;

/** A session waits when nothing is left that its runner could do, and it has seen everything that was said, decided and given. */
export function admitRunWaiting(data: EventDataOf<"run.waiting">, question: Question): Refusal | undefined {
  const { state } = question;
  if (data.through > state.lastSeq) return refuse("unexpected", "final", `through is ${data.through} and the log ends at ${state.lastSeq}`);
  if (state.cancelled) return refuse("stopped", "final", "the session is cancelled: append run.finished with outcome Cancelled");
  if (state.waiting !== undefined) {
    return refuse("unexpected", "final", `the session waits for ${state.waiting.for} since event ${state.waiting.seq} already: follow the log until somebody acts`);
  }
  return refuseStale(data, question) ?? RULES[data.for](question);
}

const RULES: Readonly<Record<WaitingFor, Rule>> = {
  /** For the next message: after an answer to everything in a Conversation, after an interrupt in either mode. */
  input: (question) => (isInterrupted(question.state) ? refuseOpen(question) : (refuseTask(question) ?? refuseOpen(question) ?? refuseIncomplete(question))),
  /** For people's decisions; what clients still owe may come meanwhile. */
  approval: (question) => refuseRequest(question) ?? refuseInterrupted(question) ?? refuseUndone(question, ["asked", "client"]) ?? refuseNobodyAsked(question),
  /** For results of custom tools alone: an approval would not end this. */
  tool: (question) => refuseRequest(question) ?? refuseInterrupted(question) ?? refuseUndone(question, ["client"]) ?? refuseNoClient(question),
  /** Until resumed: its runner has finished what it ran. A call that an earlier runner left without a result is settled after that, for it may have to start again. */
  resume: (question) => refuseRequest(question) ?? refuseActive(question),
};

/** What a call without its result is at. `client`: a custom tool's, started. */
type Progress = "undecided" | "denied" | "asked" | "startable" | "running" | "client";

/** What its runner does next about a call that is no reason to wait. */
const NEXT: Readonly<Record<Progress, string>> = {
  undecided: "is not decided: append tool.decided first",
  denied: "was denied: append tool.finished with status denied first",
  asked: "waits for people's decision: append run.waiting for approval",
  startable: "can start: append tool.started first",
  running: "runs: append its tool.finished first",
  client: "waits for a client's result: append run.waiting for tool",
};

function progressOf(state: SessionState, bundle: Bundle, call: CallState): Progress {
  if (call.attempts > 0) return customToolOf(bundle, call.name) === undefined ? "running" : "client";
  if (call.decision === undefined) return "undecided";
  if (isApproved(state, call)) return "startable";
  return pendingApprovals(state).some((approval) => approval.call === call.call) ? "asked" : "denied";
}

function openCalls({ calls }: SessionState): readonly CallState[] {
  return calls.filter(({ finished }) => finished === undefined);
}

function refuseUndone({ state, bundle }: Question, waitable: readonly Progress[]): Refusal | undefined {
  const undone = openCalls(state).find((call) => !waitable.includes(progressOf(state, bundle, call)));
  return undone === undefined ? undefined : refuse("unexpected", "wait", `call ${undone.call} ${NEXT[progressOf(state, bundle, undone)]}`);
}

function refuseRequest({ state: { request } }: Question): Refusal | undefined {
  return request === undefined ? undefined : refuse("unexpected", "wait", `the model request of turn ${request.turn} is open: append model.responded or model.failed first`);
}

function refuseTask({ bundle }: Question): Refusal | undefined {
  if (bundle.mode === "Conversation") return undefined;
  return refuse("denied", "final", "a session of mode Task waits for input only when it was interrupted: append run.finished with outcome Completed");
}

function refuseNobodyAsked({ state }: Question): Refusal | undefined {
  return pendingApprovals(state).length > 0 ? undefined : refuse("unexpected", "final", "no approval is pending: nobody would end the waiting");
}

function refuseNoClient({ state }: Question): Refusal | undefined {
  return openCalls(state).length > 0 ? undefined : refuse("unexpected", "final", "no custom tool's call is open: nobody would end the waiting");
}

function refuseActive({ state }: Question): Refusal | undefined {
  return state.suspended === true ? undefined : refuse("unexpected", "final", "the session is not suspended: go on");
}
