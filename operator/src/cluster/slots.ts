/**
 * What goes first when the API server has enough of our requests to answer: what makes or removes pods and sessions, then the ends that people
 * wait for, then everything else, then questions whose answer may be late.
 */
export type Priority = "dispatch" | "terminal" | "progress" | "background";

const ORDER: readonly Priority[] = ["dispatch", "terminal", "progress", "background"];

// So often the oldest of all is taken instead of the most urgent: nobody waits for ever behind a stream of dispatches.
const FAIR_EVERY = 16;

/** At most `count` holders at a time; who waits is taken by priority, within one by age. */
export interface Slots {
  /** Resolves with the function that gives the slot back, to be called once. */
  take(priority: Priority): Promise<() => void>;
  waiting(): number;
}

interface Waiter {
  readonly number: number;
  readonly go: () => void;
}

export function createSlots(count: number): Slots {
  const queues = new Map<Priority, Waiter[]>(ORDER.map((priority) => [priority, []]));
  let free = count;
  let arrivals = 0;
  let grants = 0;

  const all = (): readonly Waiter[][] => [...queues.values()].filter((queue) => queue.length > 0);
  const oldest = (): Waiter[] | undefined => all().toSorted(([a], [b]) => (a?.number ?? 0) - (b?.number ?? 0))[0];
  const release = (): void => {
    grants += 1;
    const next = (grants % FAIR_EVERY === 0 ? oldest() : all()[0])?.shift();
    if (next === undefined) free += 1;
    else next.go();
  };

  return {
    take: (priority) => {
      if (free > 0) {
        free -= 1;
        return Promise.resolve(release);
      }
      arrivals += 1;
      return new Promise((resolve) => void queues.get(priority)?.push({ number: arrivals, go: () => resolve(release) }));
    },
    waiting: () => all().reduce((sum, queue) => sum + queue.length, 0),
  };
}
