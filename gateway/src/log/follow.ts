import type { LogEvent } from "@paddock/api/log/events";
import type { Delta } from "@paddock/api/wire/runner";
import type { Store } from "../store/store.ts";
import { createWaker } from "./waker.ts";
import type { Waker } from "./waker.ts";

/** Deltas kept for one reader that is busy; older ones are dropped, as they are for eyes only. */
const KEPT_DELTAS = 256;
const PAGE_EVENTS = 500;

/** Something for a reader of one log. */
export type Followed = { readonly kind: "event"; readonly event: LogEvent } | { readonly kind: "delta"; readonly delta: Delta };

/**
 * Wakes the readers of logs (or of anything with a key) after commits and hands them deltas. Holds no events: readers take those from
 * the store, at their own pace.
 */
export interface Followers {
  /** Tells the readers of a log to look again. */
  wake(key: string): void;
  /** Shows a delta to those who read the log now; `after` is the newest event that it follows. */
  show(key: string, after: number, delta: Delta): void;
  join(key: string): Follower;
}

/** One reader of a log; to be closed when done. */
export interface Follower extends Pick<Waker, "next"> {
  /** Deltas that follow event `seq` or an earlier one, oldest first; they are handed out once. */
  takeDeltas(seq: number): readonly Delta[];
  close(): void;
}

interface Seat {
  readonly waker: Waker;
  deltas: readonly { readonly after: number; readonly delta: Delta }[];
}

export function createFollowers(): Followers {
  const hall = new Map<string, Set<Seat>>();
  return {
    wake: (key) => hall.get(key)?.forEach((seat) => seat.waker.wake()),
    show: (key, after, delta) => {
      for (const seat of hall.get(key) ?? []) {
        seat.deltas = [...seat.deltas, { after, delta }].slice(-KEPT_DELTAS);
        seat.waker.wake();
      }
    },
    join: (key) => {
      const seat: Seat = { waker: createWaker(), deltas: [] };
      const seats = hall.get(key) ?? new Set<Seat>();
      hall.set(key, seats.add(seat));
      return {
        next: seat.waker.next,
        takeDeltas: (seq) => {
          const ready = seat.deltas.filter(({ after }) => after <= seq);
          seat.deltas = seat.deltas.filter(({ after }) => after > seq);
          return ready.map(({ delta }) => delta);
        },
        close: () => {
          seats.delete(seat);
          if (seats.size === 0 && hall.get(key) === seats) hall.delete(key);
        },
      };
    },
  };
}

export interface Following {
  readonly store: Store;
  readonly follower: Follower;
  readonly uid: string;
  /** Events after this one. */
  readonly after: number;
  readonly signal: AbortSignal;
  /** Takes one item; the next is read when it resolves, so a slow reader holds one page of its own and slows nobody. */
  write(item: Followed): Promise<void>;
  /** Called each time there was no news for `idleMs`. */
  idle(): Promise<void>;
  readonly idleMs: number;
}

/**
 * Writes a log's events from the store in order and goes on with new ones as they are committed, without gap or duplicate, until
 * everything up to run.finished is written or `signal` aborts. `follower` must have been joined before. Resolves with whether the run
 * has finished.
 */
export async function followLog(following: Following): Promise<boolean> {
  const { store, follower, uid, signal, idleMs } = following;
  let last = following.after;
  while (!signal.aborted) {
    const events = await store.events(uid, { after: last, limit: PAGE_EVENTS });
    for (const event of events) {
      if (signal.aborted) return false;
      await writeDeltas(following, last);
      await following.write({ kind: "event", event });
      last = event.seq;
    }
    if (events.length > 0) continue;
    const finished = (await store.record(uid))?.state.finished;
    if (finished !== undefined && finished.seq <= last) return true;
    await writeDeltas(following, last);
    if (!(await follower.next(idleMs, signal)) && !signal.aborted) await following.idle();
  }
  return false;
}

async function writeDeltas({ follower, write }: Following, seq: number): Promise<void> {
  for (const delta of follower.takeDeltas(seq)) await write({ kind: "delta", delta });
}
