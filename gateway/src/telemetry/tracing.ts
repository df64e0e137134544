import type { LogEvent } from "@paddock/api/log/events";
import type { EventQuery } from "../store/store.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import type { Commit } from "./steps.ts";

export interface Tracing {
  /**
   * What was committed becomes spans. Never throws, never waits, and costs no more than its commit is large. A process that is killed loses the spans
   * that it had not sent yet, and no others: what began before it did is read from the log.
   */
  stored(commit: Commit): void;
  /** Sends what is queued, and gives up after a few seconds. Never rejects. */
  close(): Promise<void>;
}

export interface TracingOptions {
  /** Base address of an OTLP/HTTP receiver, e.g. http://collector:4318; spans go to /v1/traces below it. Absent means no traces. */
  readonly endpoint: string | undefined;
  /** A session's events: where something began that this process has not seen begin. */
  events(uid: string, query: EventQuery): Promise<readonly LogEvent[]>;
  readonly metrics: Pick<Metrics, "spans">;
  readonly logger: Pick<Logger, "warn" | "info">;
}

const SILENT: Tracing = { stored: () => undefined, close: () => Promise.resolve() };

/** Traces of sessions from their logs. OpenTelemetry's code is loaded only when there is an endpoint: it costs memory and time to start. */
export async function createTracing(options: TracingOptions): Promise<Tracing> {
  return options.endpoint === undefined ? SILENT : (await import("./otlp.ts")).openTracing({ ...options, endpoint: options.endpoint });
}
