import type { Logger } from "pino";
import type { LogEvent } from "@paddock/api/log/events";
import { RUNNER_STREAM } from "@paddock/api/wire/runner";
import type { Assignment } from "@paddock/api/wire/runner";
import { problemTypeOf } from "@paddock/api/wire/problem";
import { delayMsOf } from "@paddock/api/backoff";
import { createEventParser } from "@paddock/api/wire/event-stream";
import type { ServerEvent } from "@paddock/api/wire/event-stream";
import { messageOf } from "./fault.ts";
import { GatewayRefusal } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { pause } from "./signal.ts";

/** The gateway comments every 15 s; three missing ones mean a dead connection. */
const SILENCE_MS = 45_000;
const BACKOFF = { firstMs: 100, mostMs: 10_000 } as const;

export interface Following {
  readonly gateway: Gateway;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly random: () => number;
  /** Sequence number of the last event that was taken; 0 for none. */
  lastSeq(): number;
  /** Called for every connection, before its events. */
  assigned(assignment: Assignment): void;
  take(events: readonly LogEvent[]): void;
  /** The gateway does not serve this runner, for now or for ever; `false` when it does again. */
  refused(isRefused: boolean): void;
}

/**
 * Follows the session's log until `signal` aborts: connects, and again after every break with bounded back-off and from the last event
 * taken, for as long as it takes. Rejects with GatewayRefusal only when the gateway says that this runner is fenced.
 */
export async function followLog(following: Following): Promise<void> {
  const { signal, logger, random } = following;
  for (let retry = 0; !signal.aborted; retry += 1) {
    try {
      await followOnce(following, () => {
        retry = 0;
      });
      logger.debug("the gateway ended the stream");
    } catch (error) {
      if (isRefusal(error)) following.refused(true);
      if (isFenced(error)) throw error;
      if (!signal.aborted) logger.warn({ error: messageOf(error), retry }, "the stream from the gateway broke: connecting again");
    }
    await pause(delayMsOf(BACKOFF, retry, random), signal);
  }
}

/** Whether the gateway refused because another runner has the session. */
function isFenced(error: unknown): boolean {
  return error instanceof GatewayRefusal && problemTypeOf(error.problem) === "fenced";
}

/** Whether the gateway has answered that this pod may not read: its identity was revoked, its pod is gone or replaced. */
function isRefusal(error: unknown): boolean {
  return error instanceof GatewayRefusal && [401, 403, 404, 409, 410].includes(error.status);
}

async function followOnce(following: Following, onProgress: () => void): Promise<void> {
  const { gateway, signal } = following;
  const from = following.lastSeq();
  const response = await gateway.stream(RUNNER_STREAM, from === 0 ? {} : { "Last-Event-ID": String(from) }, signal);
  following.refused(false);
  const parse = createEventParser();
  response.setEncoding("utf8");
  const silence = setTimeout(() => response.destroy(new Error(`the gateway was silent for ${SILENCE_MS} ms`)), SILENCE_MS);
  try {
    for await (const text of response) {
      silence.refresh();
      const events = parse(text as string);
      if (events.length > 0) onProgress();
      takeAll(following, events);
    }
  } finally {
    clearTimeout(silence);
  }
}

/** Events that arrived together are taken together: a long log is not decided upon event by event. */
function takeAll({ assigned, take }: Following, events: readonly ServerEvent[]): void {
  let log: LogEvent[] = [];
  for (const { event, data } of events) {
    if (event === "log") log.push(JSON.parse(data) as LogEvent);
    if (event !== "assignment") continue;
    take(log);
    log = [];
    assigned(JSON.parse(data) as Assignment);
  }
  take(log);
}
