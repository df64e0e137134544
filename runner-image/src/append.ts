import type { Logger } from "pino";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { problemTypeOf } from "@paddock/api/wire/problem";
import type { ProblemType } from "@paddock/api/wire/problem";
import { RUNNER_EVENTS } from "@paddock/api/wire/runner";
import type { AppendReply, AppendRequest } from "@paddock/api/wire/runner";
import { delayMsOf } from "@paddock/api/backoff";
import { messageOf } from "./fault.ts";
import { GatewayRefusal } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import type { Intake } from "./intake.ts";
import type { Redactor } from "./redaction.ts";
import { pause } from "./signal.ts";
import type { Transcript } from "./transcript.ts";

const BACKOFF = { firstMs: 50, mostMs: 5000 } as const;

/** Refusals of the caller, the load or the gateway's own trouble: the same request may pass later. */
const PASSING_STATUS: ReadonlySet<number> = new Set([401, 408, 425, 429]);

/** The log did not take the events, and says why. Nothing was stored; what they announced must not be done. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly problem: ProblemType;
  readonly refusal: "final" | "wait";
  constructor(problem: ProblemType, refusal: "final" | "wait", detail: string) {
    super(detail);
    this.problem = problem;
    this.refusal = refusal;
  }
}

/** This process writes no more: `fenced` another runner has the session, `stopped` it is ending. */
export class Detached extends Error {
  override readonly name = "Detached";
  readonly why: "fenced" | "stopped";
  constructor(why: "fenced" | "stopped", detail: string) {
    super(detail);
    this.why = why;
  }
}

/**
 * Appends events as one batch, all or nothing. Resolves with the events as stored, when the transcript includes them: deciding before
 * that would decide the same again. While the gateway cannot be reached it waits and repeats. Rejects with Refused or Detached, and with
 * another error only for a fault of the protocol.
 */
export type Append = (events: readonly NewEvent[]) => Promise<readonly LogEvent[]>;

export interface Appending {
  readonly gateway: Gateway;
  readonly transcript: Transcript;
  readonly intake: Intake;
  readonly redactor: Redactor;
  readonly logger: Logger;
  readonly random: () => number;
  /** When it aborts, waiting appends reject as stopped. */
  readonly signal: AbortSignal;
  readonly epoch: number;
  /** Newest batch of the epoch that the log has. */
  readonly lastBatch: number;
}

export function createAppend(appending: Appending): Append {
  const { redactor, intake, epoch } = appending;
  let batch = appending.lastBatch;
  let last: Promise<unknown> = Promise.resolve();
  const send = async (events: readonly NewEvent[]): Promise<readonly LogEvent[]> => {
    const forget = intake.remember(events);
    try {
      const stored = await sendBatch(appending, { epoch, batch: batch + 1, events });
      batch += 1;
      return stored;
    } finally {
      forget();
    }
  };
  // One in flight: a batch's number is known only when the one before it was taken or refused.
  return (events) => {
    const clean = redactor.value(events);
    const mine = last.then(() => send(clean));
    last = mine.catch(() => undefined);
    return mine;
  };
}

async function sendBatch(appending: Appending, request: AppendRequest): Promise<readonly LogEvent[]> {
  const { gateway, intake, transcript, signal, logger, random } = appending;
  for (let retry = 0; ; retry += 1) {
    if (signal.aborted) throw new Detached("stopped", "the runner is ending");
    try {
      const { events } = (await gateway.post(RUNNER_EVENTS, request)) as AppendReply;
      intake.take(events);
      await orStopped(transcript.reached(events.at(-1)?.seq ?? 0), signal);
      return events;
    } catch (error) {
      const stop = stopOf(error, request);
      if (stop !== undefined) throw stop;
      logger.warn({ error: messageOf(error), batch: request.batch, retry }, "an append got no answer: repeating it");
    }
    // The same batch again: if it was stored, its stored reply comes back.
    await pause(delayMsOf(BACKOFF, retry, random), signal);
  }
}

/** What came before may be on a stream that is broken, and a process that ends does not wait for it. */
async function orStopped(done: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new Detached("stopped", "the runner is ending"));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([done, stopped]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** The error that ends an append, or undefined when it is to be repeated. */
function stopOf(error: unknown, { events }: AppendRequest): Error | undefined {
  if (!(error instanceof GatewayRefusal)) return undefined;
  const { status, problem } = error;
  // Counts can be told later; repeated here, they would hold up what the session does for the rest of the minute.
  if (problemTypeOf(problem) === "too-many" && events.every(({ type }) => type === "egress.decided")) return new Refused("too-many", "wait", problem.detail);
  // An answer of ours has one of the types of the protocol; a foreign one (a proxy's page) is not a decision of the log.
  const type = problemTypeOf(problem) as ProblemType | undefined;
  if (type === undefined || status >= 500 || PASSING_STATUS.has(status)) return undefined;
  if (type === "fenced") return new Detached("fenced", problem.detail);
  if (type === "gap") return error;
  return new Refused(type, problem.refusal ?? "final", problem.detail);
}
