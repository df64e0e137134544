import { digestOf, sha256, canonicalJson } from "./canonical.ts";
import { payloadRef } from "./blobs.ts";
import { MAX_AUTHORS, ROOT_RUN } from "./limits.ts";
import type { EventDataOf, EventType, Grant, LogEvent, LogEventOf } from "./events.ts";
import { MAX_TOLD_OPEN, egressIn } from "./state.ts";
import type { ApprovalState, CallState, SessionState, Step, Totals, WaitingFor } from "./state.ts";

const RECENT_STEPS = 10;
const REMEMBERED_INPUTS = 100;
const REMEMBERED_INTERRUPTS = 32;
/** Results of custom tools by people, of older answers too: their clients send again what they got no answer to. */
const REMEMBERED_RESULTS = 128;
/** Resolved ones that are kept, and fingerprints approved for the session: what is forgotten is asked again. */
const REMEMBERED_APPROVALS = 32;
const REMEMBERED_FINGERPRINTS = 256;
/** Tokens that an endpoint adds around each message. */
const MESSAGE_TOKENS = 16;
/** Failures after which the endpoint has certainly not worked for us: their reservation is free again. */
const FREE_FAILURES: ReadonlySet<LogEventOf<"model.failed">["data"]["class"]> = new Set(["auth", "overloaded", "rate_limited"]);

/** Whether a request that failed so certainly cost nothing. */
export function isFreeFailure(failure: LogEventOf<"model.failed">["data"]["class"]): boolean {
  return FREE_FAILURES.has(failure);
}

type Folder<T extends EventType> = (state: SessionState, event: LogEventOf<T>) => Partial<SessionState>;
type Folders = { readonly [T in EventType]: Folder<T> };

const folders: Folders = {
  "session.bound": (_, { data }) => ({ limits: data.limits, startTime: data.startTime, ...(data.mode === "Conversation" ? { mode: data.mode } : {}) }),
  "input.received": foldInput,
  "turn.interrupted": (state, { data, seq, at, by }) => ({
    interrupted: seq,
    interrupts: [...(state.interrupts ?? []), { id: data.id, seq, ...(by === undefined ? {} : { by }) }].slice(-REMEMBERED_INTERRUPTS),
    lastNewsSeq: seq,
    ...wake(state, { at, from: ["approval", "tool"] }),
  }),
  // A new runner asks anew: the request its predecessor left open will get no answer, and nobody knows what it cost.
  "runner.started": (state, { data }) => ({ ...loseRequest(state), epoch: data.epoch, runnerPodUid: data.podUid }),
  "runner.reported": (_, { data }) => ({ problem: data }),
  "model.requested": (_, { data, seq }) => ({
    request: { seq, turn: data.turn, attempt: data.attempt, model: data.model, through: data.through, ...(data.grant === undefined ? {} : { grant: data.grant }) },
    attempt: data.attempt,
    budgetExceeded: undefined,
  }),
  "model.failed": (state, { seq, data }) => ({
    ...(isFreeFailure(data.class) ? { request: undefined } : loseRequest(state)),
    recentSteps: appendStep(state, { seq, kind: "model", name: state.request?.model ?? "", outcome: data.class, seconds: 0 }),
  }),
  "model.responded": foldAnswer,
  "tool.decided": (state, { data }) => ({
    calls: changeCall(state, data.call, { decision: { decision: data.decision, fingerprint: data.fingerprint, effect: data.effect } }),
  }),
  "approval.requested": (state, { data, seq, at }) => ({
    approvals: [...(state.approvals ?? []), { ...data, seq, requestedAt: at }],
  }),
  "approval.resolved": foldResolution,
  "tool.started": (state, { data }) => ({ calls: changeCall(state, data.call, { attempts: data.attempt, deadline: data.deadline }) }),
  "tool.finished": (state, { data, seq, at, role }) => ({
    calls: changeCall(state, data.call, { finished: { seq, digest: resultDigest(data) } }),
    ...(role === "person" ? { clientResults: [...(state.clientResults ?? []), { call: data.call, seq, digest: resultDigest(data) }].slice(-REMEMBERED_RESULTS) } : {}),
    approvals: forgetPending(state, data.call),
    toolCalls: state.toolCalls + 1,
    lastNewsSeq: seq,
    contextTokens: (state.contextTokens ?? 0) + tokensOf(data, data.content) + Buffer.byteLength(data.note ?? ""),
    ...(role === "runner" ? {} : wake(state, { at, from: ["approval", "tool"] })),
    recentSteps: appendStep(state, { seq, kind: "tool", name: callOf(state, data.call)?.name ?? "", outcome: data.status, seconds: data.seconds }),
  }),
  "sandbox.requested": (state) => ({ sandbox: { requested: state.sandbox.requested + 1, pending: true, ...keptOf(state) } }),
  "sandbox.bound": (state, { data }) => ({ sandbox: { requested: state.sandbox.requested, pending: false, bound: data, ...keptOf(state) } }),
  "sandbox.lost": (state, { data }) => ({
    sandbox:
      state.sandbox.bound !== undefined && state.sandbox.bound.podUid !== data.podUid
        ? { ...state.sandbox, lost: data.podUid }
        : { requested: state.sandbox.requested, pending: false, ...keptOf(state), lost: data.podUid },
  }),
  "isolation.reported": (state, { data: { podUid, open } }) => ({ sandbox: { ...state.sandbox, isolation: { podUid, open: open.slice(0, MAX_TOLD_OPEN) } } }),
  "egress.decided": (state, { at }) => {
    const minute = egressIn(state, new Date(at));
    return { egress: { ...minute, events: minute.events + 1 } };
  },
  "tools.listed": () => ({}),
  "context.compacted": (_, { data }) => ({ contextTokens: data.tokensAfter }),
  "context.pruned": (_, { data }) => ({ contextTokens: data.tokensAfter }),
  "guardrail.tripped": () => ({}),
  "session.suspended": () => ({ suspended: true }),
  "session.resumed": (state, { at }) => ({ suspended: false, ...wake({ ...state, suspended: false }, { at, from: ["resume"] }) }),
  "budget.exceeded": (_, { data, seq }) => ({ budgetExceeded: { ...data, seq } }),
  "session.cancelled": (_, { seq }) => ({ cancelled: true, lastNewsSeq: seq }),
  "run.waiting": (state, { data, seq, at }) => ({ waiting: { for: data.for, seq, since: at, text: data.text }, pausedSince: state.pausedSince ?? at }),
  "run.finished": (state, { data, seq, at, role }) => ({ ...loseRequest(state), finished: { ...data, seq, at, role } }),
};

/** The state after one more event. Pure; throws RangeError when the event does not follow the state. */
export function foldEvent(state: SessionState, event: LogEvent): SessionState {
  if (event.seq !== state.lastSeq + 1) throw new RangeError(`event ${event.seq} does not follow event ${state.lastSeq}`);
  const fold = folders[event.type] as Folder<EventType>;
  const next: SessionState = continueTime({ ...state, ...fold(state, event) }, event);
  const bytes = Buffer.byteLength(canonicalJson(event)) + (payloadRef(event)?.bytes ?? 0);
  return { ...next, lastSeq: event.seq, lastHash: event.hash, bytes: state.bytes + bytes };
}

/** What makes a result the same one again: everything but how long it took, which who sends it again may count anew. */
export function resultDigest(data: EventDataOf<"tool.finished">): string {
  return digestOf({ ...data, seconds: 0 });
}

/** `hash` of an event that has none yet. */
export function hashOf(previousHash: string, event: Omit<LogEvent, "hash">): string {
  return sha256(`${previousHash}\n${canonicalJson(event)}`);
}

/** The call's state when it belongs to the newest answer. */
export function callOf(state: SessionState, call: string): CallState | undefined {
  return state.calls.find((candidate) => candidate.call === call);
}

/** Time counts again with the first thing that a runner does after the session went on: neither waiting nor a queue for pods is the input's time. */
function continueTime(state: SessionState, { role, at }: LogEvent): SessionState {
  if (role !== "runner" || state.pausedSince === undefined || state.waiting !== undefined) return state;
  const pausedMs = (state.pausedMs ?? 0) + Math.max(0, Date.parse(at) - Date.parse(state.pausedSince));
  return { ...state, pausedMs, pausedSince: undefined };
}

/** Ends waiting for one of these; a suspended session then waits for being resumed. */
function wake({ waiting, suspended }: SessionState, { at, from }: { readonly at: string; readonly from: readonly WaitingFor[] }): Partial<SessionState> {
  if (waiting === undefined || !from.includes(waiting.for)) return {};
  return { waiting: suspended === true ? { ...waiting, for: "resume", since: at } : undefined };
}

/** Limits of a Conversation count per input: each one begins them anew, a Task's count from its start. */
function foldInput(state: SessionState, { data, seq, at, by }: LogEventOf<"input.received">): Partial<SessionState> {
  const tokens = tokensOf(data, data.content);
  const input = { id: data.id, seq, tokens, ...(by === undefined ? {} : { by }) };
  const restarts = state.mode === "Conversation" && state.inputs.length > 0;
  const { authors = [] } = state;
  return {
    inputs: [...state.inputs, input].slice(-REMEMBERED_INPUTS),
    ...(by === undefined || authors.includes(by) ? {} : { authors: [...authors, by].slice(0, MAX_AUTHORS) }),
    lastNewsSeq: seq,
    interrupted: undefined,
    budgetExceeded: undefined,
    contextTokens: (state.contextTokens ?? 0) + tokens,
    ...wake(state, { at, from: ["input"] }),
    ...(restarts ? { inputSince: { at, turns: state.turns }, pausedMs: 0, ...(state.pausedSince === undefined ? {} : { pausedSince: at }) } : {}),
  };
}

function foldResolution(state: SessionState, { data, seq, at }: LogEventOf<"approval.resolved">): Partial<SessionState> {
  const { call, fingerprint, ...resolution } = data;
  const isIt = (approval: ApprovalState): boolean => approval.call === call && approval.resolution === undefined;
  const approvals = (state.approvals ?? []).map((approval) => (isIt(approval) ? { ...approval, summary: "", resolution: { ...resolution, seq, at } } : approval));
  const isForSession = resolution.decision === "Approved" && resolution.scope === "Session";
  const { approvedFingerprints = [] } = state;
  return {
    approvals: keepNewest(approvals, state.calls),
    ...(isForSession ? { approvedFingerprints: [...approvedFingerprints.filter((known) => known !== fingerprint), fingerprint].slice(-REMEMBERED_FINGERPRINTS) } : {}),
    lastNewsSeq: seq,
    ...wake(state, { at, from: ["approval"] }),
  };
}

/** A call that has its result waits for nobody. */
function forgetPending({ approvals = [] }: SessionState, call: string): readonly ApprovalState[] {
  return approvals.filter((approval) => approval.call !== call || approval.resolution !== undefined);
}

/** What was decided about a call without its result is never forgotten: nothing would ask again. */
function keepNewest(approvals: readonly ApprovalState[], calls: readonly CallState[]): readonly ApprovalState[] {
  const isOpen = ({ call }: ApprovalState): boolean => calls.some((candidate) => candidate.call === call && candidate.finished === undefined);
  const old = approvals.filter((approval) => approval.resolution !== undefined && !isOpen(approval)).slice(0, -REMEMBERED_APPROVALS);
  return approvals.filter((approval) => !old.includes(approval));
}

/** An open request that will not be answered: what it reserved may have been spent. */
function loseRequest({ request, totals }: SessionState): Partial<SessionState> {
  return request?.grant === undefined ? { request: undefined } : { request: undefined, totals: addUncertain(totals, request.grant) };
}

function addUncertain(totals: Totals, { inputTokens, outputTokens = 0, reservedNanoUSD }: Grant): Totals {
  const uncertainTokens = (totals.uncertainTokens ?? 0) + inputTokens + outputTokens;
  if (reservedNanoUSD === undefined) return { ...totals, uncertainTokens, costNanoUSD: undefined };
  return { ...totals, uncertainTokens, uncertainNanoUSD: (BigInt(totals.uncertainNanoUSD ?? "0") + BigInt(reservedNanoUSD)).toString() };
}

/** At most so many tokens: each has a byte at least. */
function tokensOf(data: LogEvent["data"], content: string): number {
  return (payloadRef({ data })?.bytes ?? Buffer.byteLength(content)) + MESSAGE_TOKENS;
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
    totals: addUsage(state, data),
    contextTokens: contextAfter(state, data),
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

/** The answer is part of every later request; an endpoint that does not count leaves us to count bytes. */
function contextAfter(state: SessionState, data: LogEventOf<"model.responded">["data"]): number {
  const { usage, message } = data;
  if (usage !== undefined) return usage.inputTokens + usage.outputTokens + MESSAGE_TOKENS + unseenTokens(state);
  return (state.contextTokens ?? 0) + tokensOf(data, canonicalJson(message));
}

/** Of inputs that came while the model was answering. */
function unseenTokens({ inputs, request }: SessionState): number {
  const through = request?.through ?? Infinity;
  return inputs.filter(({ seq }) => seq > through).reduce((sum, { tokens = 0 }) => sum + tokens, 0);
}

/** An answer without usage counts at its grant, as lost ones do. */
function addUsage({ totals, request }: SessionState, { usage, costNanoUSD }: LogEventOf<"model.responded">["data"]): Totals {
  if (usage === undefined) return request?.grant === undefined ? { ...totals, costNanoUSD: undefined } : addUncertain(totals, request.grant);
  return {
    ...totals,
    inputTokens: totals.inputTokens + usage.inputTokens,
    cachedInputTokens: totals.cachedInputTokens + usage.cachedInputTokens,
    outputTokens: totals.outputTokens + usage.outputTokens,
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

/** What outlives the bound sandbox. */
function keptOf({ sandbox: { lost, isolation } }: SessionState): Pick<SessionState["sandbox"], "lost" | "isolation"> {
  return { ...(lost === undefined ? {} : { lost }), ...(isolation === undefined ? {} : { isolation }) };
}
