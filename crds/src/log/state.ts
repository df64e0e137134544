import type { EventDataOf, Role } from "./events.ts";
import type { Decision } from "../policy/rules.ts";
import type { Effect } from "../policy/effects.ts";

/** A call of the open turn, as far as the log tells. */
export interface CallState {
  readonly call: string;
  readonly name: string;
  readonly decision?: { readonly decision: Decision; readonly fingerprint: string; readonly effect: Effect };
  /** Attempts started; 0 before the first. */
  readonly attempts: number;
  /** Sequence number and content digest of `tool.finished`. */
  readonly finished?: { readonly seq: number; readonly digest: string };
}

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
}

export interface Totals {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  /** nano-USD as a decimal string; undefined once an answer of unknown cost was received. */
  readonly costNanoUSD: string | undefined;
}

/**
 * A session as its log tells it: fold(events). Bounded: only the open turn's calls are kept, so its size does not grow with
 * the log. Plain JSON, so that it can be stored as a snapshot.
 */
export interface SessionState {
  readonly lastSeq: number;
  readonly lastHash: string;
  readonly bytes: number;
  readonly limits: { readonly maxTurns: number; readonly timeoutSeconds: number };
  readonly startTime: string;
  /** Absent: a Task, whose limits count once. */
  readonly mode?: "Conversation";
  /** When the newest input of a Conversation came, RFC 3339, and how many answers were not to it; absent for the first. */
  readonly inputSince?: { readonly at: string; readonly turns: number };
  /** Newest epoch; 0 before the first runner started. */
  readonly epoch: number;
  readonly runnerPodUid?: string;
  /** Model answers so far. */
  readonly turns: number;
  readonly toolCalls: number;
  /** The request that waits for its answer. */
  readonly request: { readonly seq: number; readonly turn: number; readonly attempt: number; readonly model: string; /** The last event the model is shown. */ readonly through?: number } | undefined;
  /** The last event that the model was shown for its newest answer; absent before the first. */
  readonly answeredThrough?: number;
  /** Newest attempt of the turn that is not answered yet. */
  readonly attempt: number;
  /** Calls of the newest answer, in the assistant's order. */
  readonly calls: readonly CallState[];
  readonly totals: Totals;
  readonly sandbox: SandboxState;
  readonly cancelled: boolean;
  readonly finished?: EventDataOf<"run.finished"> & { readonly seq: number; readonly at: string; readonly role: Role };
  /** A Conversation that has answered and waits. */
  readonly waiting?: { readonly for: "input"; readonly seq: number; readonly since: string; readonly text: string } | undefined;
  /** Inputs by id and author, newest last, at most 100: idempotency. `by` is absent for the operator's. */
  readonly inputs: readonly { readonly id: string; readonly seq: number; readonly by?: string }[];
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

/** When the time of the input under way is over, in epoch milliseconds; a Task's counts from its start. Means nothing while it waits. */
export function deadlineAt({ startTime, limits, inputSince }: Pick<SessionState, "startTime" | "limits" | "inputSince">): number {
  return Date.parse(inputSince?.at ?? startTime) + limits.timeoutSeconds * 1000;
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
