import type { Bundle } from "../log/bundle.ts";
import type { LogEvent, NewEvent } from "../log/events.ts";

// Runner ↔ gateway. Bearer token of the pod (audience `paddock-gateway`); the gateway believes the pod UID that TokenReview
// returns, and only when the operator registered it. Errors are problem details (problem.ts).

/**
 * `GET /v1/runner`: server-sent events. First `event: assignment` (Assignment, held back until the pod is registered), then
 * `event: log` with a LogEvent each, `id` its seq: the log from `Last-Event-ID` + 1 (or from the start), then live; comments
 * keep the connection alive every 15 s. The stream ends after `run.finished`.
 */
export const RUNNER_STREAM = "/v1/runner";

/** What a pod is to do. The runner takes it as the gateway sends it, which has checked the bundle. */
export interface Assignment {
  readonly bundle: Bundle;
  /** The epoch this pod has, or is to take with `runner.started`. */
  readonly epoch: number;
  /** True when this pod's `runner.started` is in the log already: it keeps its epoch. */
  readonly started: boolean;
  /** The newest batch of this epoch that was stored; 0 for none. */
  readonly lastBatch: number;
  /** Key by which the sandbox knows its session; kept out of the log. */
  readonly bindKey: string;
}

/**
 * `POST /v1/runner/events`: append a batch, all or nothing. `batch` counts 1, 2, 3 … within an epoch, one in flight; repeating the
 * last one returns its stored reply, any other is refused as `gap`. An accepted intent is the permission to act.
 */
export const RUNNER_EVENTS = "/v1/runner/events";

export interface AppendRequest {
  readonly epoch: number;
  readonly batch: number;
  readonly events: readonly NewEvent[];
}

/** The events as stored, in order. */
export interface AppendReply {
  readonly events: readonly LogEvent[];
}

/**
 * `GET /v1/runner/blobs/{sha256}`: a payload that an event of the session references (log/blobs.ts), as UTF-8; 404 for any other. There is
 * no PUT: appenders send payloads in their events, at most BLOB_LIMITS.blobBytes each, and the gateway takes the large ones out.
 */
export const RUNNER_BLOBS = "/v1/runner/blobs";

/** `POST /v1/runner/deltas`: text as the model streams it, for eyes only; never stored. Answers 202. */
export const RUNNER_DELTAS = "/v1/runner/deltas";

export interface Delta {
  readonly turn: number;
  readonly attempt: number;
  /** Text since the last delta, at most 65536 characters; absent with `discarded`. */
  readonly text?: string | undefined;
  /** True when the attempt failed and what was shown of it is void. */
  readonly discarded?: boolean | undefined;
}
