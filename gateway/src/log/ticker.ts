import { LogCorruptError } from "../store/store.ts";
import type { Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { LogWriter } from "./append.ts";
import type { Damage } from "./damage.ts";
import { createWaker } from "./waker.ts";

const DUE_RECORDS = 100;
/** A due record that stays due (the store fails, or its record cannot be read) is tried again after this long, and ever later while it does. */
const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 10_000;
/** Timers of Node take no longer one, and clocks may be set. */
const LONGEST_WAIT_MS = 3_600_000;
const SWEEP_MS = 3_600_000;
/** Deleting a large log takes its time, and appends wait for it. */
const SWEEP_RECORDS = 20;

export interface TickerPorts {
  readonly store: Store;
  readonly writer: Pick<LogWriter, "appendDue">;
  readonly damage: Damage;
  readonly logger: Pick<Logger, "error" | "info">;
  now(): Date;
  /** How long logs of finished sessions are kept, in seconds; 0 keeps them for ever. */
  readonly retentionSeconds: number;
  /** Told how many records were deleted. */
  expired(records: number): void;
}

/** What the gateway does by itself as time passes. */
export interface Ticker {
  /** Resolves once nothing is under way any more. */
  stop(): Promise<void>;
}

/**
 * Appends what is due at its time, with no runner and no reader there: approvals that nobody decided, custom tools that nobody answered; and
 * deletes logs whose retention is over. Gateways with one store may all do so: the second finds it done.
 */
export function startTicker(ports: TickerPorts): Ticker {
  const stopped = new AbortController();
  const { signal } = stopped;
  const tasks = [appendWhenDue(ports, signal), sweepHourly(ports, signal)];
  return {
    stop: async () => {
      stopped.abort();
      await Promise.all(tasks);
    },
  };
}

/** Never rejects. */
async function appendWhenDue(ports: TickerPorts, signal: AbortSignal): Promise<void> {
  const waker = createWaker();
  let nextAt = Infinity;
  let retryMs = RETRY_MS;
  const unsubscribe = ports.store.subscribe((change) => {
    const dueAt = change.kind === "record" ? change.record.dueAt : undefined;
    if (dueAt !== undefined && Date.parse(dueAt) < nextAt) waker.wake();
  });
  while (!signal.aborted) {
    // Whatever is committed from here on wakes us, until we know what is next.
    nextAt = Infinity;
    const leftMs = await appendDue(ports, signal).catch((error: unknown) => {
      ports.logger.error({ err: error }, "cannot look for what is due");
      return 0;
    });
    const waitMs = leftMs > 0 ? leftMs : retryMs;
    retryMs = leftMs > 0 ? RETRY_MS : Math.min(2 * retryMs, LONGEST_RETRY_MS);
    nextAt = ports.now().getTime() + waitMs;
    await waker.next(Math.min(waitMs, LONGEST_WAIT_MS), signal);
  }
  unsubscribe();
}

/** Appends all that is due by now. Resolves with the milliseconds until something is due again; none or less when something still is. */
async function appendDue({ store, writer, damage, logger, now }: TickerPorts, signal: AbortSignal): Promise<number> {
  const tried = new Set<string>();
  for (;;) {
    // Those that stay due are the earliest, and keep nobody else waiting.
    const due = await store.due(now().toISOString(), DUE_RECORDS + tried.size);
    const fresh = due.filter((uid) => !tried.has(uid));
    if (signal.aborted || fresh.length === 0) break;
    for (const uid of fresh) {
      tried.add(uid);
      if (signal.aborted) break;
      await writer.appendDue(uid).catch((error: unknown) => {
        if (error instanceof LogCorruptError) return damage.report(error);
        logger.error({ err: error, uid }, "cannot append what is due");
        return undefined;
      });
    }
  }
  const nextDueAt = await store.nextDueAt();
  if (nextDueAt === undefined) return LONGEST_WAIT_MS;
  return Date.parse(nextDueAt) - now().getTime();
}

/** Never rejects. */
async function sweepHourly(ports: TickerPorts, signal: AbortSignal): Promise<void> {
  const { retentionSeconds, logger } = ports;
  if (retentionSeconds === 0) return;
  const waker = createWaker();
  while (!signal.aborted) {
    await sweep(ports, signal).catch((error: unknown) => logger.error({ err: error }, "cannot delete logs whose retention is over"));
    await waker.next(SWEEP_MS, signal);
  }
}

async function sweep({ store, logger, now, retentionSeconds, expired }: TickerPorts, signal: AbortSignal): Promise<void> {
  const before = new Date(now().getTime() - retentionSeconds * 1000).toISOString();
  let deleted = 0;
  let last = SWEEP_RECORDS;
  while (last === SWEEP_RECORDS && !signal.aborted) {
    last = await store.expire(before, SWEEP_RECORDS);
    deleted += last;
    if (last > 0) expired(last);
  }
  if (deleted > 0) logger.info({ deleted, before }, "deleted logs whose retention is over");
}
