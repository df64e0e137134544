import type { EventDataOf } from "@paddock/api/log/events";
import { deadlineAt, turnsUsed, unseenInput } from "@paddock/api/log/state";
import { refuseIsolated } from "./admit-isolation.ts";
import { refuseInterrupted, refuseStopped } from "./admit-stop.ts";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";

/** How far another clock may be ahead when it says that the deadline has passed. */
const CLOCK_TOLERANCE_MS = 5000;

/** A pod takes the next epoch once. That it is the newest registered one was checked before. */
export function admitRunnerStarted(data: EventDataOf<"runner.started">, { state, who }: Question): Admission | undefined {
  if (who.role !== "runner") return refuse("forbidden", "final", "only a runner starts");
  if (data.podUid !== who.podUid) return refuse("denied", "final", `podUid is ${data.podUid} and the token is that of pod ${who.podUid}`);
  if (state.runnerPodUid === who.podUid) return refuse("unexpected", "final", `this pod has epoch ${state.epoch} already: go on with it`);
  const next = state.epoch + 1;
  if (data.epoch === next && who.epoch === next) return undefined;
  return refuse("fenced", "final", `the next epoch is ${next}, not ${data.epoch}: take the assignment again`);
}

export function admitSandboxRequested(data: EventDataOf<"sandbox.requested">, question: Question): Admission | undefined {
  const { sandbox } = question.state;
  const stop = refuseStopped(question);
  if (stop !== undefined) return stop;
  if (question.bundle.environment.spec.sandbox?.provisioning === "Never") {
    return refuse("denied", "final", "environment.spec.sandbox.provisioning is Never: tools that need a sandbox cannot run here");
  }
  if (sandbox.pending) return refuse("unexpected", "wait", "a sandbox is requested already: wait for sandbox.bound or sandbox.lost");
  if (sandbox.bound !== undefined && data.replaces !== sandbox.bound.podUid) {
    return refuse("stale", "wait", `sandbox pod ${sandbox.bound.podUid} is bound: use it, or name it in replaces`);
  }
  return undefined;
}

export function admitSandboxBound(data: EventDataOf<"sandbox.bound">, { state: { sandbox } }: Question): Admission | undefined {
  if (sandbox.bound?.podUid === data.podUid) return { kind: "known", newest: "sandbox.bound" };
  if (sandbox.lost === data.podUid) return refuse("stale", "final", `sandbox pod ${data.podUid} was reported as lost: bind another one`);
  if (!sandbox.pending) return refuse("stale", "final", `no sandbox is asked for: pod ${data.podUid} is not needed`);
  return undefined;
}

export function admitSandboxLost(data: EventDataOf<"sandbox.lost">, { state: { sandbox } }: Question): Admission | undefined {
  return sandbox.lost === data.podUid ? { kind: "known", newest: "sandbox.lost" } : undefined;
}

export function admitCancelled(_: EventDataOf<"session.cancelled">, { state }: Question): Admission | undefined {
  return state.cancelled ? { kind: "known", newest: "session.cancelled" } : undefined;
}

export function admitSuspended(_: EventDataOf<"session.suspended">, { state }: Question): Admission | undefined {
  return state.suspended === true ? { kind: "known", newest: "session.suspended" } : undefined;
}

/** A session that was never suspended runs since its first event. */
export function admitResumed(_: EventDataOf<"session.resumed">, { state }: Question): Admission | undefined {
  if (state.suspended === true) return undefined;
  return state.suspended === undefined ? { kind: "known", seq: 1 } : { kind: "known", newest: "session.resumed" };
}

/** What a request leaves out must be in the log. */
export function admitContext({ firstKeptSeq }: { readonly firstKeptSeq: number }, { state }: Question): Admission | undefined {
  return firstKeptSeq <= state.lastSeq ? undefined : refuse("unexpected", "final", `firstKeptSeq is ${firstKeptSeq} and the log ends at ${state.lastSeq}`);
}

export function admitRunFinished(data: EventDataOf<"run.finished">, question: Question): Admission | undefined {
  const { state, who } = question;
  if (data.through > state.lastSeq) return refuse("unexpected", "final", `through is ${data.through} and the log ends at ${state.lastSeq}`);
  if (who.role === "gateway") return data.outcome === "LogCorrupt" ? undefined : refuse("denied", "final", `the gateway finishes a run as LogCorrupt only, not ${data.outcome}`);
  return who.role === "operator" ? refuseOperatorsEnd(data, question) : (refuseStale(data, question) ?? RUNNERS_ENDS[data.outcome](question));
}

/** Nothing that a decision to finish or to wait should have known may be newer than what it has seen: no lost wake-up. */
export function refuseStale({ through }: { readonly through: number }, { state }: Question): Refusal | undefined {
  if (state.lastNewsSeq <= through) return undefined;
  return refuse("stale", "wait", `event ${state.lastNewsSeq} is newer than through (${through}): read it and decide again`);
}

function refuseOperatorsEnd(data: EventDataOf<"run.finished">, question: Question): Refusal | undefined {
  switch (data.outcome) {
    case "Cancelled":
    case "NameConflict":
      return undefined;
    case "DeadlineExceeded":
      return refuseEarly(question);
    case "RunnerFailed":
    case "ImagePullFailed":
    case "NotIsolated":
      return refuseStale(data, question);
    default:
      return refuse("denied", "final", `the operator cannot finish a run as ${data.outcome}, only its runner can`);
  }
}

type End = (question: Question) => Refusal | undefined;

/** When a runner may claim each outcome. */
const RUNNERS_ENDS: Readonly<Record<EventDataOf<"run.finished">["outcome"], End>> = {
  Completed: (question) => refuseInterrupted(question) ?? refuseConversation(question) ?? refuseOpen(question) ?? refuseIncomplete(question),
  MaxTurns: (question) => refuseOpen(question) ?? refuseTurnsLeft(question),
  ModelError: refuseOpen,
  Cancelled: ({ state }) => (state.cancelled ? undefined : refuse("denied", "final", "nobody cancelled the session: Cancelled needs session.cancelled")),
  DeadlineExceeded: refuseEarly,
  RunnerFailed: () => undefined,
  ImagePullFailed: () => refuseOperatorsOnly("ImagePullFailed"),
  NotIsolated: refuseIsolated,
  NameConflict: () => refuseOperatorsOnly("NameConflict"),
  BudgetExceeded: (question) => refuseOpen(question) ?? refuseFunded(question),
  LogCorrupt: () => refuse("denied", "final", "only the gateway finds a log damaged"),
};

function refuseOperatorsOnly(outcome: string): Refusal {
  return refuse("denied", "final", `a runner cannot finish a run as ${outcome}, only the operator can`);
}

function refuseConversation({ bundle }: Question): Refusal | undefined {
  return bundle.mode === "Conversation" ? refuse("denied", "final", "a Conversation is not Completed by an answer: append run.waiting") : undefined;
}

function refuseEarly({ state, now }: Question): Refusal | undefined {
  const at = deadlineAt(state);
  if (at === Infinity) {
    const since = state.waiting === undefined ? "has gone on and no runner has begun yet" : `waits for ${state.waiting.for} since event ${state.waiting.seq}`;
    return refuse("unexpected", "final", `the session ${since}: its time does not pass meanwhile`);
  }
  if (now.getTime() + CLOCK_TOLERANCE_MS >= at) return undefined;
  return refuse("unexpected", "wait", `the deadline is ${new Date(at).toISOString()} and not over yet`);
}

export function refuseOpen({ state }: Question): Refusal | undefined {
  if (state.request !== undefined) return refuse("unexpected", "wait", `the model request of turn ${state.request.turn} is open: append model.responded or model.failed first`);
  const open = state.calls.find((call) => call.finished === undefined);
  return open === undefined ? undefined : refuse("unexpected", "wait", `call ${open.call} has no tool.finished`);
}

export function refuseIncomplete({ state }: Question): Refusal | undefined {
  if (state.turns === 0) return refuse("unexpected", "final", "the model has not answered yet: ask it first");
  if (state.calls.length > 0) return refuse("unexpected", "final", `the newest answer asked for ${state.calls.length} tool call(s): give the model their results first`);
  const unseen = unseenInput(state);
  return unseen === undefined ? undefined : refuse("stale", "wait", `the model has not seen the input of event ${unseen}: ask it again`);
}

function refuseFunded({ state }: Question): Refusal | undefined {
  if (state.budgetExceeded !== undefined) return undefined;
  return refuse("unexpected", "final", "no request was refused for money or tokens since the newest one was granted or the newest input came: BudgetExceeded needs budget.exceeded");
}

function refuseTurnsLeft({ state }: Question): Refusal | undefined {
  if (turnsUsed(state) >= state.limits.maxTurns) return undefined;
  return refuse("unexpected", "final", `${turnsUsed(state)} of ${state.limits.maxTurns} turns are used: MaxTurns needs all`);
}
