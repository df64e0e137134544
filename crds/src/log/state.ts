import type { EventDataOf, Grant, Role } from "./events.ts";
import type { Decision } from "../policy/rules.ts";
import type { Effect } from "../policy/effects.ts";

/** A call of the open turn, as far as the log tells. */
export interface CallState {
  readonly call: string;
  readonly name: string;
  readonly decision?: { readonly decision: Decision; readonly fingerprint: string; readonly effect: Effect };
  /** Attempts started; 0 before the first. */
  readonly attempts: number;
  /** Deadline of the newest attempt, RFC 3339; absent before the first. */
  readonly deadline?: string;
  /** Sequence number and content digest of `tool.finished`. */
  readonly finished?: { readonly seq: number; readonly digest: string };
}

/** What a call waits for, or waited for, as approval.requested and approval.resolved tell. Times are RFC 3339. */
export interface ApprovalState {
  readonly call: string;
  readonly tool: string;
  readonly fingerprint: string;
  /** Empty once it is resolved: the event holds it. */
  readonly summary: string;
  readonly argumentsDigest: string;
  readonly seq: number;
  readonly requestedAt: string;
  readonly expiresAt: string;
  readonly resolution?: Pick<EventDataOf<"approval.resolved">, "decision" | "by" | "reason" | "scope"> & { readonly seq: number; readonly at: string };
}

/** What a run waits for; see run.waiting. */
export type WaitingFor = EventDataOf<"run.waiting">["for"];

export interface Step {
  readonly seq: number;
  readonly kind: "model" | "tool";
  readonly name: string;
  readonly outcome: string;
  readonly seconds: number;
}

export interface SandboxState {
  /** How many were requested so far; the n-th pod is `<session>-s<n>`. */
  readonly requested: number;
  /** True from the request until a pod is bound. */
  readonly pending: boolean;
  readonly bound?: { readonly podUid: string; readonly podName: string; readonly address: string };
  /** UID of the newest pod that was lost. */
  readonly lost?: string;
  /** The newest report of a sandbox's probe, be the pod still there or not; `open`: the first MAX_TOLD_OPEN of what answered. Absent before the first. */
  readonly isolation?: { readonly podUid: string; readonly open: readonly string[] };
}

/** Of what a sandbox reaches, so many are kept and shown. */
export const MAX_TOLD_OPEN = 8;

/** Events egress.decided of a minute. */
export interface EgressMinute {
  /** When the first of them came, RFC 3339. */
  readonly since: string;
  readonly events: number;
}

export interface Totals {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  /** nano-USD as a decimal string; undefined once an answer of unknown cost was received. */
  readonly costNanoUSD: string | undefined;
  /** What lost answers, and answers without usage, may have cost: their reservations. Absent means nothing. */
  readonly uncertainNanoUSD?: string;
  readonly uncertainTokens?: number;
}

/**
 * A session as its log tells it: fold(events). Bounded: only the open turn's calls are kept, so its size does not grow with
 * the log. Plain JSON, so that it can be stored as a snapshot.
 */
export interface SessionState {
  readonly lastSeq: number;
  readonly lastHash: string;
  /** Of the events' canonical JSON and of the payloads beside them. */
  readonly bytes: number;
  readonly limits: EventDataOf<"session.bound">["limits"];
  readonly startTime: string;
  /** Absent: a Task, whose limits count once. */
  readonly mode?: "Conversation";
  /** When the newest input of a Conversation came, RFC 3339, and how many answers were not to it; absent for the first. */
  readonly inputSince?: { readonly at: string; readonly turns: number };
  /** Time since the start, or the newest input of a Conversation, that did not count, in milliseconds; absent means 0. */
  readonly pausedMs?: number;
  /** Since when the time does not count, RFC 3339: from run.waiting until a runner's first event after it went on; absent while it counts. */
  readonly pausedSince?: string | undefined;
  /** Newest epoch; 0 before the first runner started. */
  readonly epoch: number;
  readonly runnerPodUid?: string;
  /** Model answers so far. */
  readonly turns: number;
  readonly toolCalls: number;
  /** The request that waits for its answer. */
  readonly request: { readonly seq: number; readonly turn: number; readonly attempt: number; readonly model: string; /** The last event the model is shown. */ readonly through?: number; readonly grant?: Grant } | undefined;
  /** Tokens that the next request's messages have at most: what the endpoint last counted, and the bytes that came since. Absent in states of before. */
  readonly contextTokens?: number;
  /** The last event that the model was shown for its newest answer; absent before the first. */
  readonly answeredThrough?: number;
  /** Newest attempt of the turn that is not answered yet. */
  readonly attempt: number;
  /** Calls of the newest answer, in the assistant's order. */
  readonly calls: readonly CallState[];
  /** Pending ones and the newest resolved ones, oldest first. Absent means none. */
  readonly approvals?: readonly ApprovalState[];
  /** Fingerprints approved with scope Session, newest last. Absent means none. */
  readonly approvedFingerprints?: readonly string[];
  readonly totals: Totals;
  /** The newest refusal for money or tokens, until a request is granted or an input comes. */
  readonly budgetExceeded?: (EventDataOf<"budget.exceeded"> & { readonly seq: number }) | undefined;
  readonly sandbox: SandboxState;
  /** The newest minute in which decisions about traffic came; absent before the first. */
  readonly egress?: EgressMinute;
  readonly cancelled: boolean;
  /** True between session.suspended and session.resumed. */
  readonly suspended?: boolean;
  /** Seq of the newest turn.interrupted that no input has followed. */
  readonly interrupted?: number | undefined;
  /** Interrupts by id and author, newest last: idempotency. Absent means none. */
  readonly interrupts?: readonly { readonly id: string; readonly seq: number; readonly by?: string }[];
  /** Results that people gave to custom tools, newest last: idempotency. Absent means none. */
  readonly clientResults?: readonly { readonly call: string; readonly seq: number; readonly digest: string }[];
  readonly finished?: EventDataOf<"run.finished"> & { readonly seq: number; readonly at: string; readonly role: Role };
  /** Nothing to do until somebody acts. */
  readonly waiting?: { readonly for: WaitingFor; readonly seq: number; readonly since: string; readonly text: string } | undefined;
  /** Everybody who wrote an input, at most MAX_AUTHORS. Absent means none but the operator. */
  readonly authors?: readonly string[];
  /** Inputs by id and author, newest last, at most 100: idempotency. `by` is absent for the operator's. */
  readonly inputs: readonly { readonly id: string; readonly seq: number; readonly by?: string; /** At most so many tokens. */ readonly tokens?: number }[];
  /** Seq of the newest event that a decision to finish must have seen. */
  readonly lastNewsSeq: number;
  /** The newest problem the runner reported since the model last answered. */
  readonly problem?: EventDataOf<"runner.reported"> | undefined;
  readonly recentSteps: readonly Step[];
}

export const EMPTY_HASH = "";

/** The state before the first event. */
export const EMPTY_STATE: SessionState = {
  lastSeq: 0,
  lastHash: EMPTY_HASH,
  bytes: 0,
  limits: { maxTurns: 1, timeoutSeconds: 1 },
  startTime: "1970-01-01T00:00:00Z",
  epoch: 0,
  turns: 0,
  toolCalls: 0,
  request: undefined,
  attempt: 0,
  calls: [],
  totals: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, costNanoUSD: "0" },
  sandbox: { requested: 0, pending: false },
  cancelled: false,
  inputs: [],
  lastNewsSeq: 0,
  recentSteps: [],
};

/**
 * When the time of the input under way is over, in epoch milliseconds; a Task's counts from its start. Waiting does not count: Infinity while
 * the session waits, and after that until a runner goes on.
 */
export function deadlineAt(state: Pick<SessionState, "startTime" | "limits" | "inputSince" | "pausedMs" | "pausedSince">): number {
  const { startTime, limits, inputSince, pausedMs = 0, pausedSince } = state;
  if (pausedSince !== undefined) return Infinity;
  return Date.parse(inputSince?.at ?? startTime) + limits.timeoutSeconds * 1000 + pausedMs;
}

/** The minute of decisions about traffic that one at this time belongs to. */
export function egressIn({ egress }: Pick<SessionState, "egress">, at: Date): EgressMinute {
  const isOver = egress === undefined || Math.abs(at.getTime() - Date.parse(egress.since)) >= 60_000;
  return isOver ? { since: at.toISOString(), events: 0 } : egress;
}

/** Approvals that nobody has decided yet. */
export function pendingApprovals({ approvals = [] }: Pick<SessionState, "approvals">): readonly ApprovalState[] {
  return approvals.filter(({ resolution }) => resolution === undefined);
}

/**
 * Whether a decided call may start as far as approval goes: allowed, approved for this call, or its fingerprint for the session. No is no: a call that
 * people denied, or did not decide about in time, never starts, whatever they said about another one with the same fingerprint.
 */
export function isApproved({ approvals = [], approvedFingerprints = [] }: Pick<SessionState, "approvals" | "approvedFingerprints">, { call, decision }: CallState): boolean {
  if (decision === undefined || decision.decision === "Deny") return false;
  if (decision.decision === "Allow") return true;
  const resolved = approvals.find((approval) => approval.call === call && approval.fingerprint === decision.fingerprint)?.resolution;
  return resolved === undefined ? approvedFingerprints.includes(decision.fingerprint) : resolved.decision === "Approved";
}

/** Whether the newest interrupt has no input after it: what is under way ends, and nothing new begins. */
export function isInterrupted({ interrupted }: Pick<SessionState, "interrupted">): boolean {
  return interrupted !== undefined;
}

/** Model answers that count against limits.maxTurns: those since the newest input of a Conversation, all of a Task. */
export function turnsUsed({ turns, inputSince }: Pick<SessionState, "turns" | "inputSince">): number {
  return turns - (inputSince?.turns ?? 0);
}

/** Seq of the newest input when the model's newest answer does not take it into account; undefined when there is none such. */
export function unseenInput({ inputs, answeredThrough = Infinity }: Pick<SessionState, "inputs" | "answeredThrough">): number | undefined {
  const newest = inputs.at(-1)?.seq ?? 0;
  return newest > answeredThrough ? newest : undefined;
}
