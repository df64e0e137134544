import type { EventDataOf } from "@paddock/api/log/events";
import { costOf } from "@paddock/api/log/money";
import { turnsUsed } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";
import { refuseStopped } from "./admit-stop.ts";
import { decideGrant } from "./budget.ts";
import { dayOf } from "./ledger.ts";

type Requested = EventDataOf<"model.requested">;

/** Accepts a request with its grant, which only the gateway gives: so much is reserved until it is answered. */
export function admitRequested(data: Requested, question: Question): Admission {
  return refuseStopped(question) ?? refuseTurn(data, question.state) ?? refuseContext(data, question.state) ?? refuseModel(data, question) ?? grant(data, question);
}

function grant(data: Requested, { state, bundle, budget, now }: Question): Admission {
  const decided = decideGrant(data, { state, bundle, budget, day: budget?.day ?? dayOf(now) });
  switch (decided.kind) {
    case "grant":
      return { kind: "accept", event: { type: "model.requested", data: { ...data, grant: decided.grant } } };
    case "wait":
      return refuse("budget", "wait", decided.detail);
    case "exceeded": {
      const { exceeded, detail } = decided;
      const refusal = refuse("budget", "final", `${detail}; append run.finished with outcome BudgetExceeded`);
      // Said once: who asks again is only answered.
      return state.budgetExceeded?.limit === exceeded.limit ? refusal : { ...refusal, instead: { type: "budget.exceeded", data: exceeded } };
    }
  }
}

function refuseTurn({ turn, attempt }: Requested, state: SessionState): Refusal | undefined {
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
function refuseContext({ through }: Requested, { calls, lastSeq }: SessionState): Refusal | undefined {
  if (through > lastSeq) return refuse("unexpected", "final", `through is ${through} and the log ends at ${lastSeq}: build requests from stored events only`);
  const open = calls.find((call) => call.finished === undefined);
  if (open !== undefined) return refuse("unexpected", "wait", `call ${open.call} has no tool.finished: every call of an answer has one before the model is asked again`);
  const newestResult = Math.max(0, ...calls.map(({ finished }) => finished?.seq ?? 0));
  if (newestResult <= through) return undefined;
  return refuse("stale", "wait", `event ${newestResult} is the result of a call and through is ${through}: build the request again with it`);
}

function refuseModel({ model }: Requested, { bundle }: Question): Refusal | undefined {
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
