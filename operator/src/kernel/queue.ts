import { type Backoff, delayMsOf } from "@paddock/api/backoff";
import { QUEUE_BACKOFF } from "./backoff.ts";

/** What a queue is told after a pass: when to look again without being woken, or that the pass failed and wants the back-off. */
export interface Verdict {
  readonly failed: boolean;
  /** Nothing was tried: earlier failures still count. */
  readonly rested?: boolean;
  readonly requeueAfterMs?: number;
}

export interface QueueOptions {
  /** One pass over one key; must not throw. Never runs twice at once for the same key. */
  readonly work: (key: string) => Promise<Verdict>;
  readonly workers: number;
  readonly backoff?: Backoff;
  /** In [0, 1). */
  readonly random?: () => number;
}

/**
 * Keys to look at. Waking a key that waits already changes nothing; waking one that is being worked on makes one more pass follow.
 * Of several times at which a key is due the earliest counts.
 */
export interface Queue {
  wake(key: string): void;
  wakeAfter(key: string, delayMs: number): void;
  /** Passes begin from now on. */
  start(): void;
  /** No pass begins, no timer is left and wakes go unheard until `start`: whoever starts again wakes every key. Passes under way end by themselves. */
  pause(): void;
  /** No pass begins any more and no timer is left; resolves when the passes under way have ended. */
  stop(): Promise<void>;
  /** Resolves when nothing is ready and nothing is being worked on; timers may be pending. */
  idle(): Promise<void>;
  /** Keys that are ready and wait for a worker. */
  depth(): number;
  /** Keys with a timer. */
  delayed(): number;
}

// setTimeout takes 31 bits and fires at once beyond them.
const MAX_DELAY_MS = 2 ** 31 - 1;

export function createQueue({ work, workers, backoff = QUEUE_BACKOFF, random = Math.random }: QueueOptions): Queue {
  const ready = new Set<string>();
  const running = new Set<string>();
  const wokenWhileRunning = new Set<string>();
  const timers = new Map<string, { readonly dueAt: number; readonly timer: NodeJS.Timeout }>();
  const failures = new Map<string, number>();
  let idlers: (() => void)[] = [];
  let state: "new" | "started" | "paused" | "stopped" = "new";
  let isPumpDue = false;

  const clearTimer = (key: string): void => {
    const pending = timers.get(key);
    if (pending === undefined) return;
    clearTimeout(pending.timer);
    timers.delete(key);
  };

  const isDeaf = (): boolean => state === "stopped" || state === "paused";

  const wake = (key: string): void => {
    if (isDeaf()) return;
    // The pass that follows says anew when to look again.
    clearTimer(key);
    if (running.has(key)) wokenWhileRunning.add(key);
    else ready.add(key);
    pumpSoon();
  };

  const wakeAfter = (key: string, delayMs: number): void => {
    if (isDeaf() || ready.has(key)) return;
    const delay = Math.min(Math.max(delayMs, 0), MAX_DELAY_MS);
    const dueAt = Date.now() + delay;
    const pending = timers.get(key);
    if (pending !== undefined && pending.dueAt <= dueAt) return;
    clearTimer(key);
    timers.set(key, { dueAt, timer: setTimeout(() => wake(key), delay) });
  };

  const settle = (key: string, verdict: Verdict): void => {
    running.delete(key);
    const earlier = failures.get(key) ?? 0;
    if (verdict.failed) failures.set(key, earlier + 1);
    else if (verdict.rested !== true) failures.delete(key);
    if (wokenWhileRunning.delete(key)) wake(key);
    else if (verdict.failed) wakeAfter(key, delayMsOf(backoff, earlier, random));
    if (verdict.requeueAfterMs !== undefined) wakeAfter(key, verdict.requeueAfterMs);
    pump();
    if (ready.size === 0 && running.size === 0) wakeIdlers();
  };

  const wakeIdlers = (): void => {
    const resolvers = idlers;
    idlers = [];
    for (const resolve of resolvers) resolve();
  };

  // A microtask later: a wake must never run a pass inside its caller, and what a watch brings at once makes one pass.
  const pumpSoon = (): void => {
    if (isPumpDue) return;
    isPumpDue = true;
    queueMicrotask(() => {
      isPumpDue = false;
      pump();
    });
  };

  const pump = (): void => {
    if (state !== "started") return;
    for (const key of ready) {
      if (running.size >= workers) return;
      ready.delete(key);
      running.add(key);
      void work(key).then((verdict) => settle(key, verdict));
    }
  };

  const idle = (): Promise<void> => (ready.size === 0 && running.size === 0 ? Promise.resolve() : new Promise((resolve) => idlers.push(resolve)));

  const forget = (): void => {
    ready.clear();
    wokenWhileRunning.clear();
    failures.clear();
    for (const key of [...timers.keys()]) clearTimer(key);
  };

  return {
    wake, wakeAfter, idle,
    start: () => {
      if (state !== "stopped") state = "started";
      pumpSoon();
    },
    pause: () => {
      if (state !== "stopped") state = "paused";
      forget();
    },
    stop: () => {
      state = "stopped";
      forget();
      return idle();
    },
    depth: () => ready.size,
    delayed: () => timers.size,
  };
}
