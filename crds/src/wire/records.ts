import { z } from "zod";
import { type Bundle, bundleSchema } from "../log/bundle.ts";
import type { LogEvent, NewEvent } from "../log/events.ts";
import type { SessionOutcome } from "../conditions.ts";
import { USD_PATTERN } from "../log/money.ts";
import type { ApprovalState, SandboxState, Step, WaitingFor } from "../log/state.ts";

// Operator ↔ gateway. Bearer token of the operator's service account (audience `paddock-gateway`).

/**
 * `PUT /v1/records/{uid}`: create a session's record; appends `session.bound` and the prompt's `input.received` in one step.
 * 201 created, 200 already there with the same bundle, 409 `conflict` with another bundle: then the stored one is used.
 * Each answer is `{record: RecordView}`, the 409 as a member of the problem.
 */
export const recordRequestSchema = z.object({
  bundle: bundleSchema,
  namespaceUid: z.string().min(1),
  prompt: z.string().min(1),
});
export type RecordRequest = z.infer<typeof recordRequestSchema>;

/** `PUT /v1/pods/{podUid}`: this pod is the newest runner, or a sandbox, of a session; idempotent. 204. */
export const podRegistrationSchema = z.object({ sessionUid: z.string().min(1), component: z.enum(["runner", "sandbox"]), podName: z.string().min(1).max(253) });
export type PodRegistration = z.infer<typeof podRegistrationSchema>;

/**
 * `PUT /v1/budgets/{environmentUid}`: what all sessions of an Environment share, as it is now; `costUSDPerDay` absent means no limit. 204.
 * Until the first of these the limit of each session's frozen Environment holds.
 */
export const budgetRequestSchema = z.object({ costUSDPerDay: z.string().regex(new RegExp(USD_PATTERN)).optional() });
export type BudgetRequest = z.infer<typeof budgetRequestSchema>;

/** A shared budget as the gateway has it; a member of `GET /v1/records` as `event: budget`, all of them before `synced`, then each change. */
export interface BudgetView extends BudgetRequest {
  readonly environmentUid: string;
}

/** `POST /v1/records/{uid}/events`: the operator's event types. One that changes nothing in the fold answers 200 with the earlier events. */
export interface OperatorAppend {
  readonly events: readonly NewEvent[];
}
export interface OperatorAppendReply {
  readonly events: readonly LogEvent[];
}

/**
 * `GET /v1/records`: server-sent events. `event: record` with a RecordView, `id` `<incarnation>:<version>`; first the live records
 * and the finished ones nobody acknowledged, then `event: synced`, then each change, counters at most every 5 s per record.
 * With a `Last-Event-ID` of the store's incarnation it goes on from there (the `synced` event still comes, after what was missed);
 * with another incarnation the first event is `event: reset` and the full list follows.
 * `event: gone` with `{uid}` when a record was acknowledged.
 */
export const RECORDS = "/v1/records";

/** `DELETE /v1/records/{uid}`: acknowledges a finished record; its log stays readable. 204; 409 `conflict` when it has not finished. */

export interface RecordView {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Commit order over all records. */
  readonly version: number;
  /** Active needs a runner pod; Waiting may lose its pods after the idle time; Finished must have no pod. `since` is RFC 3339. */
  readonly activity:
    | { readonly kind: "Active" }
    | { readonly kind: "Waiting"; readonly for: WaitingFor; readonly since: string }
    | { readonly kind: "Finished"; readonly outcome: SessionOutcome; readonly at: string };
  /** What the session runs by, frozen. `environment` is whole: every pod of the session is built from it. */
  readonly bundle: { readonly digest: string; readonly agentDigest: string } & Readonly<Pick<Bundle, "environment" | "limits" | "startTime" | "traceId">>;
  /** `connected` and `since` (RFC 3339) tell whether the newest registered runner follows its stream. */
  readonly runner: { readonly podUid?: string; readonly epoch: number; readonly connected: boolean; readonly since: string };
  readonly sandbox: SandboxState;
  readonly cancelled: boolean;
  readonly suspended: boolean;
  /** Pending ones, and the newest that were resolved, oldest first. */
  readonly approvals: readonly ApprovalView[];
  /** Everybody who wrote an input, the session's creator aside. */
  readonly authors: readonly string[];
  readonly lastSeq: number;
  readonly turns: number;
  readonly toolCalls: number;
  readonly usage: { readonly inputTokens: number; readonly cachedInputTokens: number; readonly outputTokens: number; readonly totalTokens: number; readonly costUSD?: string; readonly uncertainCostUSD?: string };
  readonly recentSteps: readonly Step[];
  /** When the time of the input under way is over, RFC 3339; absent while nothing is under way. */
  readonly deadline?: string;
  /** The newest problem the runner reported, while the session is active. */
  readonly problem?: { readonly problem: string; readonly subject: string; readonly message: string };
  /** The newest answer of a session that waits; at most 4096 bytes, cut on a character. */
  readonly answer?: { readonly text: string; readonly truncated: boolean };
  /** Text at most 4096 bytes, cut on a character. */
  readonly result?: { readonly outcome: SessionOutcome; readonly text: string; readonly truncated: boolean; readonly message: string };
}

/** What an Approval is made from, and resolved by. */
export type ApprovalView = Omit<ApprovalState, "seq">;
