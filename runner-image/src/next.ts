import type { LogEventOf } from "@paddock/api/log/events";
import { isInterrupted, turnsUsed, unseenInput } from "@paddock/api/log/state";
import type { CallState, WaitingFor } from "@paddock/api/log/state";
import type { IsolationReport } from "@paddock/api/wire/sandbox";
import { cancelledCall, CUT_CALL, FILTERED_CALL, interruptedCall, nudgeFor } from "./context/notices.ts";
import type { Verdict } from "./context/notices.ts";
import { failuresOf, isTurnInterrupted, turnOf } from "./context/turn.ts";
import type { MadeCall, Turn } from "./context/turn.ts";
import { callSteps, eagerSteps } from "./next-calls.ts";
import { endOf, spanOf } from "./next-end.ts";
import type { End, FinalRefusal, Outcome } from "./next-end.ts";
import type { HandsState } from "./sandbox/hands.ts";
import type { View } from "./transcript.ts";

/** What this process knows and the log does not. */
export interface Here {
  /** The epoch this process has, or is to take. */
  readonly epoch: number;
  readonly nowMs: number;
  /** The process has been asked to end: nothing new is started. */
  readonly stopping: boolean;
  /** Keys of the steps that are being done; see keyOf. */
  readonly underWay: ReadonlySet<string>;
  /** Why the log takes no more work of this run; absent while it does. */
  readonly refusal?: FinalRefusal;
  /** How far this process is with the bound sandbox; absent when it has not tried to reach it. */
  readonly sandbox?: HandsState;
}

/** One thing to do. What is done twice by mistake is refused by the log; what is not done is returned again. */
export type Step =
  | { readonly kind: "startRunner"; readonly reason: "new" | "resume"; readonly recovered: readonly string[] }
  | { readonly kind: "askModel"; readonly turn: number; readonly attempt: number; /** Failed attempts of this turn so far. */ readonly failures: number; readonly delaySeconds: number }
  /** Record that the open request gets no answer: nobody waits for it any more. */
  | { readonly kind: "abandonRequest"; readonly turn: number; readonly attempt: number }
  /** Decide these calls, in order. */
  | { readonly kind: "decideCalls"; readonly calls: readonly MadeCall[] }
  | { readonly kind: "startCall"; readonly call: string; readonly tool: string; readonly arguments: Readonly<Record<string, unknown>>; readonly attempt: number; readonly note?: string }
  | { readonly kind: "finishCall"; readonly call: string; readonly verdict: Verdict }
  | { readonly kind: "requestSandbox"; readonly reason: string; readonly replaces?: string }
  | { readonly kind: "connectSandbox"; readonly podUid: string; readonly address: string }
  /** Record what the bound sandbox reached before its first call. */
  | { readonly kind: "reportIsolation"; readonly podUid: string; readonly report: IsolationReport }
  /** Nothing can be done before somebody acts. */
  | { readonly kind: "wait"; readonly for: WaitingFor; readonly text: string }
  | { readonly kind: "finish"; readonly outcome: Outcome; readonly text: string; readonly reason: string }
  | { readonly kind: "exit"; readonly why: "finished" | "fenced" };

/** Steps with the same key exclude each other: one is under way at a time. */
export function keyOf(step: Step): string {
  switch (step.kind) {
    case "startCall":
    case "finishCall":
      return step.call;
    case "requestSandbox":
    case "connectSandbox":
    case "reportIsolation":
      return "sandbox";
    default:
      return step.kind;
  }
}

/**
 * What to do next, as the log stands: every step that can be done now and is not under way. Empty: wait until the log moves, a step ends
 * or the deadline comes; a session that waits only has the log to wait for. Pure; first match wins.
 */
export function next(view: View, here: Here): readonly Step[] {
  return decide(view, here).filter((step) => !here.underWay.has(keyOf(step)));
}

function decide(view: View, here: Here): readonly Step[] {
  const { state } = view;
  if (state.finished !== undefined) return [{ kind: "exit", why: "finished" }];
  if (state.epoch > here.epoch) return [{ kind: "exit", why: "fenced" }];
  if (here.stopping) return [];
  if (state.epoch < here.epoch) return [startRunner(view, here)];
  const end = endOf(view, here);
  if (end === "announced") return [];
  return end === undefined ? workSteps(view, here) : endSteps(view, here, end);
}

function workSteps(view: View, here: Here): readonly Step[] {
  const { state, events } = view;
  if (state.waiting !== undefined) return [];
  if (state.request !== undefined) return here.underWay.has("askModel") ? [] : [{ kind: "abandonRequest", turn: state.request.turn, attempt: state.request.attempt }];
  const turn = turnOf(events);
  const open = state.calls.filter((call) => call.finished === undefined);
  if (open.length > 0 && isTurnInterrupted(events)) return finishAll(open, here, ({ attempts }) => interruptedCall(attempts > 0));
  // Nothing new begins; what is under way ends first.
  if (isInterrupted(state)) return waitSteps("input", here, turn);
  if (state.suspended === true) return waitSteps("resume", here, turn);
  if (open.length === 0) return beforeModel(view, afterCalls(view, turn));
  const cut = cutVerdict(turn);
  if (cut !== undefined) return finishAll(open, here, () => cut);
  return callSteps(view, here, turn);
}

function waitSteps(what: WaitingFor, { underWay }: Here, turn: Turn): readonly Step[] {
  return underWay.size > 0 ? [] : [{ kind: "wait", for: what, text: textOf(turn) }];
}

/** Each gets its one result, but not while a decision about one of them is on its way into the log. */
function finishAll(open: readonly CallState[], { underWay }: Here, verdictOf: (call: CallState) => Verdict): readonly Step[] {
  return underWay.has("decideCalls") ? [] : open.map((call) => ({ kind: "finishCall", call: call.call, verdict: verdictOf(call) }));
}

function beforeModel(view: View, step: Step): readonly Step[] {
  return step.kind === "askModel" ? [...eagerSteps(view), step] : [step];
}

function startRunner({ state }: View, { epoch }: Here): Step {
  const recovered = state.calls.filter((call) => call.finished === undefined && call.attempts > 0).map(({ call }) => call);
  return { kind: "startRunner", reason: epoch > 1 ? "resume" : "new", recovered };
}

/** What is under way was told to stop and ends first; then each open call gets its one result; then the run ends. */
function endSteps({ state, events }: View, here: Here, { outcome, reason }: End): readonly Step[] {
  const open = state.calls.filter((call) => call.finished === undefined);
  if (open.length > 0) return finishAll(open, here, () => cancelledCall(reason));
  return here.underWay.has("askModel") ? [] : [{ kind: "finish", outcome, reason, text: textOf(turnOf(events)) }];
}

/** The newest answer, as far as there is one. */
function textOf({ answer }: Turn): string {
  return answer?.data.message.text ?? "";
}

/** Calls of an answer that was cut off are never run: their arguments may be cut too. */
function cutVerdict({ answer }: Turn): Verdict | undefined {
  if (answer?.data.finishReason === "length") return CUT_CALL;
  return answer?.data.finishReason === "content_filter" ? FILTERED_CALL : undefined;
}

/** All calls of the newest answer have their results, or it made none. */
function afterCalls(view: View, turn: Turn): Step {
  const { answer } = turn;
  if (answer === undefined || unseenInput(view.state) !== undefined) return askModel(view, turn);
  const { message, finishReason } = answer.data;
  if (finishReason === "content_filter") {
    return modelError(turn, "The endpoint's content filter ended the answer (finish reason content_filter). Change the prompt or the Agent's instructions, or use another model.");
  }
  if (message.toolCalls.length > 0) return askModel(view, turn);
  if (nudgeFor(message, finishReason) !== undefined) return afterUselessAnswer(view, turn, answer);
  return view.bundle.mode === "Conversation" ? { kind: "wait", for: "input", text: message.text } : { kind: "finish", outcome: "Completed", text: message.text, reason: "" };
}

function afterUselessAnswer(view: View, turn: Turn, answer: LogEventOf<"model.responded">): Step {
  const { before } = turn;
  if (before === undefined || nudgeFor(before.data.message, before.data.finishReason) === undefined) return askModel(view, turn);
  if (answer.data.finishReason === "length") {
    return modelError(turn, `The model's answer was cut at its output limit twice in a row (finish reason length). Raise model.maxOutputTokens of the Agent or of the Environment's model entry.${grantHint(view)}`);
  }
  return modelError(turn, "The model answered twice in a row with neither text nor a tool call. Check that the endpoint serves this model with tool calling.");
}

/** What was asked for may have been more than the money or the tokens that are left pay for. */
function grantHint({ events }: View): string {
  const asked = events.findLast((event) => event.type === "model.requested");
  const granted = asked?.data.grant?.outputTokens;
  return granted === undefined ? "" : ` The log granted it ${granted} output tokens: where that is less than you allow, what is left of limits.costUSD, limits.totalTokens or the Environment's budget paid for no more.`;
}

function askModel({ state }: View, turn: Turn): Step {
  const failures = failuresOf(turn).filter(({ data }) => data.class !== "cancelled");
  const failed = failures.at(-1)?.data;
  if (failed !== undefined && failed.delaySeconds === undefined) return modelError(turn, failed.message);
  if (turnsUsed(state) >= state.limits.maxTurns) return endOfTurns(state, turn);
  return { kind: "askModel", turn: state.turns + 1, attempt: state.attempt + 1, failures: failures.length, delaySeconds: failed?.delaySeconds ?? 0 };
}

function endOfTurns(state: View["state"], turn: Turn): Step {
  const reason = `The ${state.limits.maxTurns} turns (model answers) ${spanOf(state)} were used without coming to an end. Raise limits.maxTurns of the Session, its Agent and its Environment, or give it less to do.`;
  return { kind: "finish", outcome: "MaxTurns", text: textOf(turn), reason };
}

function modelError(turn: Turn, reason: string): Step {
  return { kind: "finish", outcome: "ModelError", text: textOf(turn), reason };
}
