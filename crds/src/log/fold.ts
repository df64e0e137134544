import { digestOf, sha256, canonicalJson } from "./canonical.ts";
import { ROOT_RUN } from "./limits.ts";
import type { EventType, LogEvent, LogEventOf } from "./events.ts";
import type { CallState, SessionState, Step, Totals } from "./state.ts";

const RECENT_STEPS = 10;
const REMEMBERED_INPUTS = 100;

type Folder<T extends EventType> = (state: SessionState, event: LogEventOf<T>) => Partial<SessionState>;
type Folders = { readonly [T in EventType]: Folder<T> };

const folders: Folders = {
  "session.bound": (_, { data }) => ({ limits: data.limits, startTime: data.startTime, ...(data.mode === "Conversation" ? { mode: data.mode } : {}) }),
  "input.received": foldInput,
  // A new runner asks anew: the request its predecessor left open will get no answer.
  "runner.started": (_, { data }) => ({ request: undefined, epoch: data.epoch, runnerPodUid: data.podUid }),
  "runner.reported": (_, { data }) => ({ problem: data }),
  "model.requested": (_, { data, seq }) => ({
    request: { seq, turn: data.turn, attempt: data.attempt, model: data.model, through: data.through },
    attempt: data.attempt,
  }),
  "model.failed": (state, { seq, data }) => ({
    request: undefined,
    recentSteps: appendStep(state, { seq, kind: "model", name: state.request?.model ?? "", outcome: data.class, seconds: 0 }),
  }),
  "model.responded": foldAnswer,
  "tool.decided": (state, { data }) => ({
    calls: changeCall(state, data.call, { decision: { decision: data.decision, fingerprint: data.fingerprint, effect: data.effect } }),
  }),
  "tool.started": (state, { data }) => ({ calls: changeCall(state, data.call, { attempts: data.attempt }) }),
  "tool.finished": (state, { data, seq }) => ({
    calls: changeCall(state, data.call, { finished: { seq, digest: digestOf(data) } }),
    toolCalls: state.toolCalls + 1,
    lastNewsSeq: seq,
    recentSteps: appendStep(state, { seq, kind: "tool", name: callOf(state, data.call)?.name ?? "", outcome: data.status, seconds: data.seconds }),
  }),
  "sandbox.requested": (state) => ({ sandbox: { requested: state.sandbox.requested + 1, pending: true, ...lostOf(state) } }),
  "sandbox.bound": (state, { data }) => ({ sandbox: { requested: state.sandbox.requested, pending: false, bound: data, ...lostOf(state) } }),
  "sandbox.lost": (state, { data }) => ({
    sandbox:
      state.sandbox.bound !== undefined && state.sandbox.bound.podUid !== data.podUid
        ? { ...state.sandbox, lost: data.podUid }
        : { requested: state.sandbox.requested, pending: false, lost: data.podUid },
  }),
  "session.cancelled": (_, { seq }) => ({ cancelled: true, lastNewsSeq: seq }),
  "run.waiting": (_, { data, seq, at }) => ({ waiting: { for: data.for, seq, since: at, text: data.text } }),
  "run.finished": (_, { data, seq, at, role }) => ({ request: undefined, finished: { ...data, seq, at, role } }),
};

/** The state after one more event. Pure; throws RangeError when the event does not follow the state. */
export function foldEvent(state: SessionState, event: LogEvent): SessionState {
  if (event.seq !== state.lastSeq + 1) throw new RangeError(`event ${event.seq} does not follow event ${state.lastSeq}`);
  const fold = folders[event.type] as Folder<EventType>;
  const next: SessionState = { ...state, ...fold(state, event) };
  return { ...next, lastSeq: event.seq, lastHash: event.hash, bytes: state.bytes + Buffer.byteLength(canonicalJson(event)) };
}

/** `hash` of an event that has none yet. */
export function hashOf(previousHash: string, event: Omit<LogEvent, "hash">): string {
  return sha256(`${previousHash}\n${canonicalJson(event)}`);
}

/** The call's state when it belongs to the newest answer. */
export function callOf(state: SessionState, call: string): CallState | undefined {
  return state.calls.find((candidate) => candidate.call === call);
}

/** Limits of a Conversation count per input: each one begins them anew, a Task's count from its start. */
function foldInput(state: SessionState, { data, seq, at, by }: LogEventOf<"input.received">): Partial<SessionState> {
  const input = { id: data.id, seq, ...(by === undefined ? {} : { by }) };
  const restarts = state.mode === "Conversation" && state.inputs.length > 0;
  return {
    inputs: [...state.inputs, input].slice(-REMEMBERED_INPUTS),
    lastNewsSeq: seq,
    waiting: undefined,
    ...(restarts ? { inputSince: { at, turns: state.turns } } : {}),
  };
}

function foldAnswer(state: SessionState, { data, seq }: LogEventOf<"model.responded">): Partial<SessionState> {
  const calls = data.message.toolCalls.map((call, index): CallState => ({ call: `${ROOT_RUN}/${data.turn}/${index}`, name: call.name, attempts: 0 }));
  const step = { seq, kind: "model", name: state.request?.model ?? "", outcome: data.finishReason, seconds: data.seconds } as const;
  return {
    request: undefined,
    // Whatever it was, it is over: the credential is there and the endpoint answers.
    problem: undefined,
    attempt: 0,
    turns: data.turn,
    ...foldThrough(state, data.turn),
    calls,
    totals: addUsage(state.totals, data),
    recentSteps: appendStep(state, step),
  };
}

/** What the answer takes into account. One that was asked for before the newest input came is not one of that input's turns. */
function foldThrough({ request, inputSince, inputs }: SessionState, turn: number): Partial<SessionState> {
  const through = request?.through;
  if (through === undefined) return {};
  const isEarlier = inputSince !== undefined && through < (inputs.at(-1)?.seq ?? 0);
  return { answeredThrough: through, ...(isEarlier ? { inputSince: { ...inputSince, turns: turn } } : {}) };
}

function addUsage(totals: Totals, data: LogEventOf<"model.responded">["data"]): Totals {
  const { usage, costNanoUSD } = data;
  return {
    inputTokens: totals.inputTokens + (usage?.inputTokens ?? 0),
    cachedInputTokens: totals.cachedInputTokens + (usage?.cachedInputTokens ?? 0),
    outputTokens: totals.outputTokens + (usage?.outputTokens ?? 0),
    // Unknown once is unknown for good: a sum that leaves something out is no sum.
    costNanoUSD: totals.costNanoUSD === undefined || costNanoUSD === undefined ? undefined : (BigInt(totals.costNanoUSD) + BigInt(costNanoUSD)).toString(),
  };
}

function changeCall(state: SessionState, call: string, change: Partial<CallState>): readonly CallState[] {
  return state.calls.map((candidate) => (candidate.call === call ? { ...candidate, ...change } : candidate));
}

function appendStep(state: SessionState, step: Step): readonly Step[] {
  return [...state.recentSteps, { ...step, seconds: Math.floor(step.seconds) }].slice(-RECENT_STEPS);
}

function lostOf(state: SessionState): { lost?: string } {
  return state.sandbox.lost === undefined ? {} : { lost: state.sandbox.lost };
}
