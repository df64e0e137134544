import type { Fault } from "./kind.ts";

// Of several operators one acts. A lease that only its holder's writes can change decides which; being leader is not fencing, though: a request
// that is on its way arrives even when its sender has just been stopped for an hour. Names, UIDs and resource versions are what protects then.

/** The lease as it was read. */
export interface LeaseRecord {
  /** "" when it was released. */
  readonly holder: string;
  readonly durationMs: number;
  /** Changes with every write; a write names the one it is made over. */
  readonly version: string;
  /** How often the holder changed. */
  readonly transitions: number;
  /** When the holder became it, as the lease says it. */
  readonly acquireTime: string | undefined;
}

/** What is to be in it. */
export interface LeaseClaim {
  readonly holder: string;
  readonly durationMs: number;
}

/** Where the lease is kept. All throw when there is no answer; a write may have been made all the same. */
export interface LeaseStore {
  /** undefined when there is none. */
  read(): Promise<LeaseRecord | undefined>;
  /** Writes over exactly `over`, creates when that is undefined. undefined when it is no longer so. */
  write(claim: LeaseClaim, over: LeaseRecord | undefined): Promise<LeaseRecord | undefined>;
  /** Calls `onChange` whenever the lease may have changed, until it ends or `signal` aborts. Never throws: who waits looks now and then anyway. */
  watch(onChange: () => void, signal: AbortSignal): Promise<void>;
}

export interface LeaderTiming {
  /** How long others wait for a holder that shows no sign of life. */
  readonly leaseMs: number;
  /** How long after its last renewal a holder goes on writing: less than `leaseMs`, so that nobody else has begun by then. */
  readonly deadlineMs: number;
  readonly renewMs: number;
  /** Between looks of those who wait, and between a holder's failed renewals. */
  readonly retryMs: number;
}

/** Timing for a lease of this length: 15 s give renewals every 3 s and an end of writing after 10 s. Pure. */
export function timingOf(leaseMs: number): LeaderTiming {
  return { leaseMs, deadlineMs: (leaseMs * 2) / 3, renewMs: leaseMs / 5, retryMs: leaseMs / 10 };
}

export interface LeaderOptions {
  /** Of this process and of no other, ever. */
  readonly identity: string;
  /** Says of a holder that it is surely dead because this process stands in its place. Asked at the first look only. */
  readonly isPredecessor?: (holder: string) => boolean;
  readonly store: LeaseStore;
  readonly timing: LeaderTiming;
  /** Called when passes may begin and when they must end. */
  onChange(isLeading: boolean): void;
  /** The lease could not be read or written; it goes on by itself. */
  onTrouble?(error: unknown): void;
  /** Monotonic and wall clock in milliseconds. */
  readonly clock?: () => Instant;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface Leader {
  start(): void;
  /** True while the lease is surely ours: asks the clock, so it is right even in the first instruction after this process was stopped. */
  isLeading(): boolean;
  /** Throws NotLeaderError unless `isLeading`. What stands right before every write. */
  require(): void;
  /** Leads no more from this call on; resolves once the lease is given back or that has failed. */
  stop(): Promise<void>;
}

/** A write was not sent, because another operator may be leading. */
export class NotLeaderError extends Error {
  constructor() {
    super("this operator does not hold the lease: nothing was sent");
    this.name = "NotLeaderError";
  }
}

/** Knows NotLeaderError. What was to be written is decided again as soon as this operator leads. */
export function classifyLeadership(error: unknown): Fault | undefined {
  return error instanceof NotLeaderError ? { kind: "not-leader", message: error.message, retry: false, cause: error } : undefined;
}

const RELEASED_MS = 1_000;

function systemClock(): Instant {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}

/**
 * Holds the lease or waits for it. Who loses it keeps its caches and may win it back: passes read nothing but caches, and every key is looked at
 * when they begin again, so a leader of the second time is no other than one of the first. To exit instead would throw the caches away in just
 * those minutes in which the API server is hard to reach.
 */
export function createLeader({ identity, isPredecessor = () => false, store, timing, onChange, onTrouble = () => undefined, clock = systemClock, random = Math.random }: LeaderOptions): Leader {
  const stopping = new AbortController();
  const pauses = createPauses();
  // The last record that there was, and when it was first seen by our own clock: others' clocks prove nothing.
  let seen: { readonly record: LeaseRecord; readonly atMs: number } | undefined;
  // The instant right before the write that proves that the lease is ours: it holds from then on, not from its answer.
  let heldSince: Instant | undefined;
  let told = false;
  let looks = 0;
  let watching: AbortController | undefined;
  let watchedAtMs = -Infinity;
  let running: Promise<void> = Promise.resolve();

  const leftMs = (): number => {
    if (heldSince === undefined) return 0;
    const now = clock();
    // A machine that slept does not count it in its monotonic clock; a wall clock that jumps only makes us ask for the lease once more.
    return timing.deadlineMs - Math.max(now.monotonicMs - heldSince.monotonicMs, now.wallMs - heldSince.wallMs);
  };
  const isLeading = (): boolean => leftMs() > 0;

  const note = (record: LeaseRecord): void => {
    if (seen?.record.version !== record.version) seen = { record, atMs: clock().monotonicMs };
  };
  const expiresInMs = (): number => (seen === undefined ? 0 : seen.atMs + seen.record.durationMs - clock().monotonicMs);

  const mayTake = (record: LeaseRecord | undefined): boolean => {
    looks += 1;
    if (record?.holder === "" || record?.holder === identity) return true;
    if (record !== undefined && looks === 1 && isPredecessor(record.holder)) return true;
    // Deleted under its holder, who does not know it yet: it gets the time that it believes to have. Our own we make again at once.
    if (record === undefined && heldSince !== undefined) return true;
    return expiresInMs() <= 0;
  };

  const hold = async (over: LeaseRecord | undefined): Promise<boolean> => {
    const at = clock();
    const written = await store.write({ holder: identity, durationMs: timing.leaseMs }, over);
    if (written === undefined || stopping.signal.aborted) return false;
    note(written);
    heldSince = at;
    return true;
  };

  const campaign = async (): Promise<boolean> => {
    if (heldSince !== undefined && seen !== undefined && (await hold(seen.record))) return true;
    // Written by somebody else, or by ourselves and the answer was lost.
    const record = await store.read();
    if (record !== undefined) note(record);
    if (mayTake(record)) return hold(record);
    heldSince = undefined;
    return false;
  };

  const tell = (): void => {
    const now = isLeading();
    if (now === told) return;
    told = now;
    onChange(now);
  };

  /** How long to wait for the next step. */
  const step = async (): Promise<number> => {
    const jitter = 0.75 + random() / 2;
    try {
      if (await within(campaign(), Math.max(leftMs(), timing.retryMs * 2))) return timing.renewMs * jitter;
    } catch (error) {
      onTrouble(error);
    }
    if (isLeading()) return Math.min(timing.retryMs * jitter, leftMs());
    const expiry = expiresInMs();
    return expiry > 0 ? Math.min(timing.retryMs * jitter, expiry) : timing.retryMs * jitter;
  };

  const watchWhileWaiting = (): void => {
    if (told) {
      watching?.abort();
      watching = undefined;
      return;
    }
    // A server that ends every watch at once is not asked in a tight loop.
    if (watching !== undefined || clock().monotonicMs - watchedAtMs < timing.retryMs) return;
    watchedAtMs = clock().monotonicMs;
    const mine = new AbortController();
    watching = mine;
    void store.watch(pauses.cut, mine.signal).finally(() => {
      if (watching === mine) watching = undefined;
    });
  };

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const waitMs = await step();
      tell();
      if (stopping.signal.aborted) return;
      watchWhileWaiting();
      await pauses.pause(waitMs);
    }
  };

  const release = async (): Promise<void> => {
    const record = await store.read();
    if (record?.holder === identity) await store.write({ holder: "", durationMs: RELEASED_MS }, record);
  };

  return {
    isLeading,
    start: () => {
      running = run();
    },
    require: () => {
      if (!isLeading()) throw new NotLeaderError();
    },
    stop: async () => {
      stopping.abort();
      heldSince = undefined;
      tell();
      watching?.abort();
      pauses.cut();
      await within(running, timing.retryMs * 2).catch(onTrouble);
      await within(release(), timing.retryMs * 2).catch(onTrouble);
    },
  };
}

/** Rejects after `ms`; what was asked for goes on alone, and resource versions take care of it. */
function within<T>(asked: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the lease: no answer within ${Math.round(ms)} ms`)), ms);
    asked.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

// However often a lease changes, and our own writes change it too, it is not looked at more often than this.
const SHORTEST_PAUSE_MS = 20;

/** Pauses that can be cut short; a cut between two pauses is for the next one. */
function createPauses(): { pause(ms: number): Promise<void>; cut(): void } {
  let isDue = false;
  let current: { readonly resolve: () => void; timer: NodeJS.Timeout; isCut: boolean } | undefined;
  const end = (): void => {
    current?.resolve();
    current = undefined;
  };
  return {
    pause: (ms) =>
      new Promise((resolve) => {
        current = { resolve, timer: setTimeout(end, isDue ? Math.min(ms, SHORTEST_PAUSE_MS) : ms), isCut: isDue };
        isDue = false;
      }),
    cut: () => {
      if (current === undefined) {
        isDue = true;
        return;
      }
      if (current.isCut) return;
      current.isCut = true;
      clearTimeout(current.timer);
      current.timer = setTimeout(end, SHORTEST_PAUSE_MS);
    },
  };
}
