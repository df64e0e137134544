import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf } from "@paddock/api/log/events";
import { deadlineAt, isInterrupted } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { isTurnInterrupted } from "./context/turn.ts";
import type { HandsState } from "./sandbox/hands.ts";
import type { View } from "./transcript.ts";

// What ends a run, or what is under way in it, whatever its turn is at. Pure.

export type Outcome = EventDataOf<"run.finished">["outcome"];

export interface End {
  readonly outcome: Outcome;
  /** For people: what happened and what to do. */
  readonly reason: string;
}

/** Why the log takes no more work of this run, in its own words. */
export interface FinalRefusal {
  readonly problem: "limit" | "budget" | "denied";
  readonly detail: string;
  /** The newest event of the view that was refused. */
  readonly seq: number;
}

/** What this process knows and the log does not, as far as it can end a run. */
export interface EndFacts {
  readonly nowMs: number;
  readonly refusal?: FinalRefusal;
  readonly sandbox?: HandsState;
}

/** What ends the run, `announced` when the log is about to say it; undefined while nothing does. */
export function endOf(view: View, { nowMs, refusal, sandbox }: EndFacts): End | "announced" | undefined {
  const { state } = view;
  if (state.cancelled) return { outcome: "Cancelled", reason: "The session was cancelled (spec.cancel)." };
  if (state.waiting !== undefined) return undefined;
  if (nowMs >= deadlineAt(state)) return { outcome: "DeadlineExceeded", reason: overdue(state) };
  const exposed = exposureOf(view, sandbox);
  if (exposed !== undefined) return { outcome: "NotIsolated", reason: exposed };
  return refusal === undefined || isOutdated(refusal, state) ? undefined : endOfRefusal(view, refusal);
}

function endOfRefusal({ state, bundle }: View, refusal: FinalRefusal): End | "announced" {
  switch (refusal.problem) {
    case "budget":
      // Stored with the refusal, and on its way here.
      return state.budgetExceeded === undefined ? "announced" : { outcome: "BudgetExceeded", reason: budgetReason(state.budgetExceeded, bundle) };
    case "denied":
      return { outcome: "ModelError", reason: refusal.detail };
    case "limit":
      return { outcome: "RunnerFailed", reason: refusal.detail };
  }
}

/** Why the sandbox's isolation does not hold or is not known, and what to do; undefined when it is proven, nothing is known yet, or the Environment goes without. */
function exposureOf({ state, bundle }: View, held: HandsState | undefined): string | undefined {
  const { name, spec } = bundle.environment;
  if (spec.network?.enforcement === "Unverified") return undefined;
  const accept = `or accept it: network.enforcement: Unverified in Environment ${name}.`;
  const open = state.sandbox.isolation?.open ?? [];
  if (open.length > 0) {
    return `The sandbox reached what it must not: ${open.join(", ")}. The cluster does not enforce network policies, or one of them opens the sandbox. Use a network plugin that enforces them, e.g. Cilium or Calico, ${accept}`;
  }
  if (!isUntold(state, held)) return undefined;
  return `The sandbox did not say what it reaches, because its tool server was built on an older release: its isolation is not proven. Build spec.sandbox.image of Environment ${name} again on this release's sandbox image, ${accept}`;
}

/** Whether the bound sandbox has not told what it reaches, neither the log nor this process. */
function isUntold({ sandbox: { bound, isolation } }: SessionState, held: HandsState | undefined): boolean {
  if (held?.phase !== "ready" || held.podUid !== bound?.podUid) return false;
  return held.isolation === undefined && isolation?.podUid !== held.podUid;
}

/** What was too much for the budget is asked again when a message has come since: time has passed, and limits may have been raised. */
function isOutdated({ problem, seq }: FinalRefusal, { inputs }: SessionState): boolean {
  return problem === "budget" && (inputs.at(-1)?.seq ?? 0) > seq;
}

/** What is under way and has to stop now. */
export interface Stops {
  /** The model request, or the wait before it. */
  readonly model: boolean;
  readonly calls: boolean;
}

/**
 * An end stops everything, and an interrupt what its turn has under way. A suspension stops nothing but the wait for the next request: what
 * was asked is answered.
 */
export function stopsOf({ state, events }: View, nowMs: number): Stops {
  const isOver = state.cancelled || (state.waiting === undefined && nowMs >= deadlineAt(state));
  const isAsked = state.request !== undefined;
  const isHeld = isInterrupted(state) || state.suspended === true;
  const interrupted = isTurnInterrupted(events);
  const hasOpenCalls = state.calls.some(({ finished }) => finished === undefined);
  return { model: isOver || (isAsked ? interrupted : isHeld), calls: isOver || (hasOpenCalls && interrupted) };
}

/** What limits count for. */
export function spanOf({ mode }: Pick<SessionState, "mode">): string {
  return mode === "Conversation" ? "of the newest message" : "of the session";
}

function overdue(state: SessionState): string {
  return `The ${state.limits.timeoutSeconds} s ${spanOf(state)} were over before it was done. Raise limits.timeoutSeconds of the Session (and of its Environment, which is the ceiling), or give it less to do.`;
}

function budgetReason({ limit, used, reserved, allowed }: EventDataOf<"budget.exceeded">, { agent, environment }: Bundle): string {
  const { name, unit, advice } = BUDGET_WORDS[limit](environment.name);
  const model = agent.spec.model.name;
  if (limit !== "totalTokens" && environment.spec.models.find((entry) => entry.name === model)?.pricing === undefined) {
    return `Nobody knows what the model costs, and ${name} (${allowed} USD) holds: add pricing to spec.models[${model}] of Environment ${environment.name}, with zeros for a model that costs nothing.`;
  }
  const held = Number(reserved) > 0 ? ` and ${reserved}${unit} reserved for answers that are being written` : "";
  return `The next model request does not fit into ${name}: ${used}${unit} of ${allowed}${unit} are used${held}. ${advice}`;
}

interface BudgetWords {
  readonly name: string;
  readonly unit: string;
  readonly advice: string;
}

const BUDGET_WORDS: Readonly<Record<EventDataOf<"budget.exceeded">["limit"], (environment: string) => BudgetWords>> = {
  costUSD: (environment) => ({ name: "limits.costUSD of the session", unit: " USD", advice: `Raise limits.costUSD of the Session, and of Environment ${environment}, which is the ceiling, or give it less to do.` }),
  totalTokens: (environment) => ({ name: "limits.totalTokens of the session", unit: " tokens", advice: `Raise limits.totalTokens of the Session, and of Environment ${environment}, which is the ceiling, or give it less to do.` }),
  costUSDPerDay: (environment) => ({
    name: `budget.costUSDPerDay of Environment ${environment}`,
    unit: " USD",
    advice: `All sessions of the Environment share it for one UTC day. Raise budget.costUSDPerDay of Environment ${environment}, or make another Session on the next day.`,
  }),
};
