import type { Logger } from "pino";
import { delayMsOf } from "@paddock/api/backoff";
import { attachPayload, detachPayload, payloadRef } from "@paddock/api/log/blobs";
import { sha256 } from "@paddock/api/log/canonical";
import type { BlobRef, LogEvent, NewEvent } from "@paddock/api/log/events";
import { RUNNER_BLOBS } from "@paddock/api/wire/runner";
import { messageOf } from "./fault.ts";
import { GatewayRefusal } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { pause } from "./signal.ts";
import type { Transcript } from "./transcript.ts";

const BACKOFF = { firstMs: 100, mostMs: 10_000 } as const;

/** Payloads that are fetched at the same time: a long log may reference thousands. */
const PARALLEL = 4;

/** Answers that are not the payload before it is given up: a gateway that cannot be reached is waited for without an end. */
const MOST_WRONG = 5;

/** What stands between the gateway and the transcript: events enter it with their payloads in place. */
export interface Intake {
  /** Takes stored events in any order, those of one call together; at once unless a payload has to be fetched. */
  take(events: readonly LogEvent[]): void;
  /** Keeps large payloads of events that are about to be sent, until the returned function is called: they come back as references. */
  remember(events: readonly NewEvent[]): () => void;
}

export interface Intaking {
  readonly gateway: Gateway;
  readonly transcript: Transcript;
  readonly logger: Logger;
  readonly random: () => number;
  /** When it aborts, nothing more is taken. */
  readonly signal: AbortSignal;
  /** Told once when a payload cannot be had: the log cannot be read past it. */
  onFault(error: Error): void;
}

export function createIntake(intaking: Intaking): Intake {
  const { transcript, signal, onFault } = intaking;
  const own = new Map<string, string>();
  const fetching = new Map<string, Promise<string>>();
  const run = createLimiter(PARALLEL);
  const payloadOf = (ref: BlobRef): string | Promise<string> => {
    const known = own.get(ref.sha256) ?? fetching.get(ref.sha256);
    if (known !== undefined) return known;
    const fetched = run(() => fetchPayload(ref, intaking)).finally(() => fetching.delete(ref.sha256));
    fetching.set(ref.sha256, fetched);
    return fetched;
  };
  const complete = (event: LogEvent): LogEvent | Promise<LogEvent> => {
    const ref = payloadRef(event);
    if (ref === undefined) return event;
    const payload = payloadOf(ref);
    return typeof payload === "string" ? attachPayload(event, payload) : payload.then((text) => attachPayload(event, text));
  };
  const takeLater = async (events: readonly Promise<LogEvent>[]): Promise<void> => {
    try {
      const whole = await Promise.all(events);
      if (!signal.aborted) transcript.take(whole);
    } catch (error) {
      if (!signal.aborted) onFault(error instanceof Error ? error : new Error(String(error)));
    }
  };
  return {
    take(events) {
      const { lastSeq } = transcript.view().state;
      const completed = events.filter(({ seq }) => seq > lastSeq).map(complete);
      const there = completed.filter(isThere);
      if (there.length === completed.length) transcript.take(there);
      else void takeLater(completed.map((event) => Promise.resolve(event)));
    },
    remember(events) {
      const sent = events.map((event) => detachPayload(event).blob).filter((blob) => blob !== undefined);
      for (const { ref, text } of sent) own.set(ref.sha256, text);
      return () => {
        for (const { ref } of sent) own.delete(ref.sha256);
      };
    },
  };
}

function isThere(event: LogEvent | Promise<LogEvent>): event is LogEvent {
  return !(event instanceof Promise);
}

/** The payload, checked against its digest. Rejects when the gateway has answered with something else too often, or the signal aborts. */
async function fetchPayload(ref: BlobRef, { gateway, signal, logger, random }: Intaking): Promise<string> {
  for (let retry = 0, wrong = 0; ; retry += 1) {
    signal.throwIfAborted();
    try {
      const text = await gateway.read(`${RUNNER_BLOBS}/${ref.sha256}`);
      if (sha256(text) === ref.sha256) return text;
      wrong = countWrong(wrong, ref, "the gateway sent something else");
    } catch (error) {
      if (error instanceof PayloadLost) throw error;
      if (isAnswer(error)) wrong = countWrong(wrong, ref, messageOf(error));
      logger.warn({ sha256: ref.sha256, error: messageOf(error), retry }, "a payload of the log could not be fetched: trying again");
    }
    await pause(delayMsOf(BACKOFF, retry, random), signal);
  }
}

class PayloadLost extends Error {
  override readonly name = "PayloadLost";
}

function countWrong(wrong: number, { sha256: digest, bytes }: BlobRef, why: string): number {
  if (wrong + 1 >= MOST_WRONG) throw new PayloadLost(`the payload ${digest} (${bytes} bytes) of the log cannot be had: ${why}`);
  return wrong + 1;
}

/** Whether the gateway has decided, and not only failed to. */
function isAnswer(error: unknown): boolean {
  return error instanceof GatewayRefusal && error.status < 500 && ![401, 408, 425, 429].includes(error.status);
}

/** Runs functions, at most so many at the same time. */
function createLimiter(most: number): <T>(run: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (run) => {
    // Whoever ends hands its place on.
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
