import type { EventDataOf } from "@paddock/api/log/events";
import { costOf } from "@paddock/api/log/money";
import { deadlineAt, turnsUsed } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";

/** A reason not to begin anything new: the session is cancelled, waits, or its time is over. */
export function refuseStopped({ state, now }: Question): Refusal | undefined {
  if (state.cancelled) return refuse("stopped", "final", "the session is cancelled: finish the open calls as cancelled and append run.finished with outcome Cancelled");
  if (state.waiting !== undefined) return refuse("unexpected", "wait", `the session waits for input since event ${state.waiting.seq}: nothing begins before the next input.received`);
  if (now.getTime() >= deadlineAt(state)) {
    const at = new Date(deadlineAt(state)).toISOString();
    return refuse("stopped", "final", `the session's time was over at ${at} (limits.timeoutSeconds ${state.limits.timeoutSeconds}): append run.finished with outcome DeadlineExceeded`);
  }
  return undefined;
}

export function admitRequested(data: EventDataOf<"model.requested">, question: Question): Admission | undefined {
  return refuseStopped(question) ?? refuseTurn(data, question.state) ?? refuseContext(data, question.state) ?? refuseModel(data, question);
}

function refuseTurn({ turn, attempt }: EventDataOf<"model.requested">, state: SessionState): Refusal | undefined {
  if (turnsUsed(state) >= state.limits.maxTurns) {
    return refuse("limit", "final", `the ${state.limits.maxTurns} turns (limits.maxTurns) ${state.mode === "Conversation" ? "of the newest input" : "of the session"} are used: append run.finished with outcome MaxTurns`);
  }
  if (state.request !== undefined) {
    const { turn: open, attempt: asked } = state.request;
    return refuse("unexpected", "final", `the request of turn ${open}, attempt ${asked}, is open: append model.responded or model.failed for it first`);
  }
  if (turn !== state.turns + 1) return refuse("unexpected", "final", `the next turn is ${state.turns + 1}, not ${turn}`);
  if (attempt !== state.attempt + 1) return refuse("unexpected", "final", `the next attempt of turn ${turn} is ${state.attempt + 1}, not ${attempt}`);
  return undefined;
}

/** The request must have been built from results that are all stored, and from nothing that is not. */
function refuseContext({ through }: EventDataOf<"model.requested">, { calls, lastSeq }: SessionState): Refusal | undefined {
  if (through > lastSeq) return refuse("unexpected", "final", `through is ${through} and the log ends at ${lastSeq}: build requests from stored events only`);
  const open = calls.find((call) => call.finished === undefined);
  if (open !== undefined) return refuse("unexpected", "wait", `call ${open.call} has no tool.finished: every call of an answer has one before the model is asked again`);
  const newestResult = Math.max(0, ...calls.map(({ finished }) => finished?.seq ?? 0));
  if (newestResult <= through) return undefined;
  return refuse("stale", "wait", `event ${newestResult} is the result of a call and through is ${through}: build the request again with it`);
}

function refuseModel({ model }: EventDataOf<"model.requested">, { bundle }: Question): Refusal | undefined {
  const { name } = bundle.agent.spec.model;
  if (model === name && bundle.environment.spec.models.some((entry) => entry.name === model)) return undefined;
  return refuse("denied", "final", `the session's agent asks the model ${name} of environment ${bundle.environment.name}, not ${model}`);
}

export function admitFailed(data: EventDataOf<"model.failed">, { state }: Question): Admission | undefined {
  return refuseAnswer(data, state);
}

/** Accepts the answer with its cost, which only the gateway states; absent when usage or price is unknown. */
export function admitResponded(data: EventDataOf<"model.responded">, { state, bundle }: Question): Admission {
  const stop = refuseAnswer(data, state);
  if (stop !== undefined) return stop;
  const { costNanoUSD: _, ...claimed } = data;
  const pricing = bundle.environment.spec.models.find((entry) => entry.name === state.request?.model)?.pricing;
  const { usage } = claimed;
  const cost = usage === undefined || pricing === undefined ? {} : { costNanoUSD: costOf(usage, pricing).toString() };
  return { kind: "accept", event: { type: "model.responded", data: { ...claimed, ...cost } } };
}

function refuseAnswer({ turn, attempt }: { readonly turn: number; readonly attempt: number }, { request }: SessionState): Refusal | undefined {
  if (request === undefined) return refuse("unexpected", "final", `no model request is open: turn ${turn}, attempt ${attempt}, has its answer or was never asked`);
  if (request.turn === turn && request.attempt === attempt) return undefined;
  return refuse("unexpected", "final", `the open request is turn ${request.turn}, attempt ${request.attempt}, not turn ${turn}, attempt ${attempt}`);
}
