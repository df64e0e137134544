/** Proof of an accepted write: tells whether the cache has seen it yet. */
export interface Receipt {
  reached(): boolean;
}

/**
 * What was written and has not come back yet, per key. Deciding on a cache that is older than our own last write would do things
 * twice; so a key rests until its receipts are reached. The write's own watch event wakes it.
 */
export interface Expectations {
  note(key: string, receipt: Receipt): void;
  /** Milliseconds the key is to rest at most; undefined when nothing is outstanding. */
  restMs(key: string): number | undefined;
}

// A watch that is this late is broken or the object is gone again: names and resource versions protect the write that follows.
const PATIENCE_MS = 10_000;

/** `nowMs` is a monotonic clock in milliseconds. */
export function createExpectations(nowMs: () => number): Expectations {
  const outstanding = new Map<string, { readonly receipts: readonly Receipt[]; readonly until: number }>();
  return {
    note: (key, receipt) => {
      const receipts = outstanding.get(key)?.receipts ?? [];
      outstanding.set(key, { receipts: [...receipts, receipt], until: nowMs() + PATIENCE_MS });
    },
    restMs: (key) => {
      const entry = outstanding.get(key);
      if (entry === undefined) return undefined;
      const leftMs = entry.until - nowMs();
      if (leftMs > 0 && !entry.receipts.every((receipt) => receipt.reached())) return leftMs;
      outstanding.delete(key);
      return undefined;
    },
  };
}
