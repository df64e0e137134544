import { detachPayload } from "@paddock/api/log/blobs";
import type { Blob } from "@paddock/api/log/blobs";
import { canonicalJson } from "@paddock/api/log/canonical";
import type { Bundle } from "@paddock/api/log/bundle";
import { APPENDERS } from "@paddock/api/log/events";
import { BLOB_LIMITS, LOG_LIMITS } from "@paddock/api/log/limits";
import type { EventDataOf, EventType, NewEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import { admitFailed, admitRequested, admitResponded } from "./admit-model.ts";
import { admitInput, admitInterrupted } from "./admit-input.ts";
import { admitCancelled, admitContext, admitResumed, admitRunFinished, admitRunnerStarted, admitSandboxBound, admitSandboxLost, admitSandboxRequested, admitSuspended } from "./admit-run.ts";
import { admitRunWaiting } from "./admit-waiting.ts";
import { admitResolved } from "./admit-approval.ts";
import { admitEgress } from "./admit-egress.ts";
import { admitIsolation } from "./admit-isolation.ts";
import { admitFinished } from "./admit-result.ts";
import { admitDecided, admitStarted } from "./admit-tool.ts";
import { refuse } from "./admission.ts";
import type { Admission, Appender, Question, Refusal } from "./admission.ts";
import { redactValue } from "@paddock/api/log/redaction";

type Rule<T extends EventType> = (data: EventDataOf<T>, question: Question) => Admission | undefined;

/** One row of the protocol's table per type; undefined means that the event is accepted as it is. */
const RULES: { readonly [T in EventType]: Rule<T> } = {
  "session.bound": (_, { state }) => (state.lastSeq === 0 ? undefined : { kind: "known", seq: 1 }),
  "input.received": admitInput,
  "runner.started": admitRunnerStarted,
  "runner.reported": () => undefined,
  "model.requested": admitRequested,
  "model.failed": admitFailed,
  "model.responded": admitResponded,
  "tool.decided": admitDecided,
  "tool.started": admitStarted,
  "tool.finished": admitFinished,
  "turn.interrupted": admitInterrupted,
  "approval.requested": () => undefined,
  "approval.resolved": admitResolved,
  "isolation.reported": admitIsolation,
  "egress.decided": admitEgress,
  "tools.listed": () => undefined,
  "context.compacted": admitContext,
  "context.pruned": admitContext,
  "guardrail.tripped": () => undefined,
  "session.suspended": admitSuspended,
  "session.resumed": admitResumed,
  "budget.exceeded": () => undefined,
  "sandbox.requested": admitSandboxRequested,
  "sandbox.bound": admitSandboxBound,
  "sandbox.lost": admitSandboxLost,
  "session.cancelled": admitCancelled,
  "run.waiting": admitRunWaiting,
  "run.finished": admitRunFinished,
};

/** Results of what was allowed, decisions about it, and facts: the log keeps room for them. */
const HEADROOM: ReadonlySet<EventType> = new Set([
  "runner.started",
  "model.failed",
  "model.responded",
  "tool.finished",
  "approval.resolved",
  "sandbox.bound",
  "sandbox.lost",
  "isolation.reported",
  "session.suspended",
  "session.resumed",
  "budget.exceeded",
]);
/** What people append has its own answer when the session has finished: what is a repetition is known, and anything new would be lost without a word. */
const ANSWERED_LATE: ReadonlySet<EventType> = new Set(["input.received", "turn.interrupted", "tool.finished"]);
/** What ends a session is stored however full the log is; there is one of each. */
const UNLIMITED: ReadonlySet<EventType> = new Set(["session.cancelled", "run.finished"]);

/**
 * May this event be appended to a log in this state? The gateway's one decision, pure. Accepted events come back as they are to be
 * stored: completed, and with what looks like a credential replaced. `event` must have passed parseNewEvent.
 */
export function admit(state: SessionState, bundle: Bundle, event: NewEvent, asked: Pick<Question, "who" | "now" | "budget">): Admission {
  const question: Question = { state, bundle, ...asked };
  const stop = refuseRole(event.type, asked.who) ?? refuseFenced(event, question) ?? refuseFinished(event.type, question);
  if (stop !== undefined) return stop;
  const rule = RULES[event.type] as Rule<EventType>;
  const answer = rule(event.data, question) ?? { kind: "accept", event };
  if (answer.kind !== "accept") return answer;
  const { event: stored, blob } = detachPayload(redactValue(answer.event));
  return refuseSize(state, stored, blob) ?? { ...answer, event: stored, ...(blob === undefined ? {} : { blob }) };
}

function refuseRole(type: EventType, who: Appender): Refusal | undefined {
  if (APPENDERS[type].includes(who.role)) return undefined;
  return refuse("forbidden", "final", `${type} is not appended by the ${who.role}, only by: ${APPENDERS[type].join(", ")}`);
}

/** Whether the pod may write at all: only the newest registered one, and after its start only in its own epoch. */
export function refuseFenced(event: Pick<NewEvent, "type">, { state, who }: Pick<Question, "state" | "who">): Refusal | undefined {
  if (who.role !== "runner") return undefined;
  if (who.newestPodUid !== who.podUid) return refuse("fenced", "final", "another runner pod was registered for the session since: stop, it goes on from the log");
  if (event.type === "runner.started") return undefined;
  if (state.runnerPodUid !== who.podUid) return refuse("fenced", "final", `this pod has no epoch yet: append runner.started with epoch ${state.epoch + 1} first`);
  if (state.epoch !== who.epoch) return refuse("fenced", "final", `the session is in epoch ${state.epoch}, not ${who.epoch}: use the epoch of the assignment`);
  return undefined;
}

function refuseFinished(type: EventType, { state: { finished }, who }: Question): Admission | undefined {
  if (finished === undefined || (ANSWERED_LATE.has(type) && who.role !== "runner" && who.role !== "gateway")) return undefined;
  if (who.role === "operator" || who.role === "gateway") return { kind: "known", seq: finished.seq };
  return refuse("finished", "final", `the session finished with ${finished.outcome} at event ${finished.seq}: stop, nothing more can be appended`);
}

function refuseSize(state: SessionState, event: NewEvent, blob: Blob | undefined): Refusal | undefined {
  const payload = blob?.ref.bytes ?? 0;
  if (payload > BLOB_LIMITS.blobBytes) {
    return refuse("too-large", "final", `${event.type} has a payload of ${payload} bytes and a payload has at most ${BLOB_LIMITS.blobBytes}: cut it and say so in it`);
  }
  const bytes = Buffer.byteLength(canonicalJson(event.data));
  if (bytes > LOG_LIMITS.eventBytes) {
    return refuse("too-large", "final", `${event.type} has ${bytes} bytes and an event at most ${LOG_LIMITS.eventBytes}: cut its content and say so in it`);
  }
  return UNLIMITED.has(event.type) ? undefined : refuseFull(state, event.type, bytes + payload);
}

function refuseFull(state: SessionState, type: EventType, bytes: number): Refusal | undefined {
  const isResult = HEADROOM.has(type);
  if (state.lastSeq + 1 > LOG_LIMITS.events + (isResult ? LOG_LIMITS.headroomEvents : 0)) {
    return refuse("limit", "final", `the log has ${state.lastSeq} events of at most ${LOG_LIMITS.events}: finish the run`);
  }
  if (isResult || state.bytes + bytes <= LOG_LIMITS.logBytes) return undefined;
  return refuse("limit", "final", `the log has ${state.bytes} bytes of at most ${LOG_LIMITS.logBytes}: finish the run`);
}
