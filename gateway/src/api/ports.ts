import type { HttpBindings } from "@hono/node-server";
import type { Reviewer } from "../auth/review.ts";
import type { Caller } from "../auth/roles.ts";
import type { Identity } from "../auth/review.ts";
import type { LogWriter } from "../log/append.ts";
import type { Damage } from "../log/damage.ts";
import type { Deltas } from "../log/deltas.ts";
import type { Followers } from "../log/follow.ts";
import type { RecordListeners } from "../log/listeners.ts";
import type { Store } from "../store/store.ts";
import type { Gate } from "./rate.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** Waiting times, in milliseconds. */
export interface Times {
  /** A comment after this long without a message. */
  readonly keepAliveMs: number;
  /** A reader that takes nothing for this long is cut. */
  readonly writeTimeoutMs: number;
  /** Counters of a record are told at most this often. */
  readonly coalesceMs: number;
  /** A person's right to read, and who a runner is, are checked again this often. */
  readonly recheckMs: number;
  /** What the API server accepted is believed this long without asking again. */
  readonly reviewMs: number;
}

/** What the routes work with. */
export interface ApiPorts {
  readonly store: Store;
  readonly writer: LogWriter;
  readonly followers: Followers;
  readonly deltas: Deltas;
  readonly listeners: RecordListeners;
  readonly damage: Damage;
  readonly reviewer: Reviewer;
  readonly gate: Gate;
  readonly operatorUser: string;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly times: Times;
  /** Aborts when the server stops. */
  readonly shutdown: AbortSignal;
  now(): Date;
}

/** What a request's handlers find in their context once the caller is known. */
export interface ApiEnv {
  readonly Bindings: HttpBindings;
  readonly Variables: { token: string; identity: Identity; caller: Caller };
}
