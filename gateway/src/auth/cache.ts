/** What `load` found. A minor value is of little worth: strangers can make many, and they never displace the others. */
export interface Loaded<T> {
  readonly value: T;
  readonly keepMs: number;
  readonly isMinor?: boolean;
}

/** Values that are kept for a while; concurrent gets of one key share one load. */
export interface ExpiringCache<T> {
  /** The kept value, or what `load` gives, kept for its `keepMs`. Rejects when `load` does; nothing is kept then. */
  get(key: string, load: () => Promise<Loaded<T>>): Promise<T>;
}

/** Holds at most `size` values, and as many minor ones; the oldest of each go first. */
export function createExpiringCache<T>(size: number, clock: () => number = () => performance.now()): ExpiringCache<T> {
  const major = new Map<string, Kept<T>>();
  const minor = new Map<string, Kept<T>>();
  const loading = new Map<string, Promise<T>>();
  return {
    get: (key, load) => {
      const known = major.get(key) ?? minor.get(key);
      if (known !== undefined && clock() < known.until) return Promise.resolve(known.value);
      const running = loading.get(key);
      if (running !== undefined) return running;
      const loaded = load()
        .then(({ value, keepMs, isMinor = false }) => {
          for (const kept of [major, minor]) kept.delete(key);
          if (keepMs > 0) keep(isMinor ? minor : major, { key, size, value: { value, until: clock() + keepMs } });
          return value;
        })
        .finally(() => loading.delete(key));
      loading.set(key, loaded);
      return loaded;
    },
  };
}

interface Kept<T> {
  readonly value: T;
  readonly until: number;
}

function keep<T>(kept: Map<string, Kept<T>>, { key, size, value }: { readonly key: string; readonly size: number; readonly value: Kept<T> }): void {
  kept.set(key, value);
  const [oldest] = kept.keys();
  if (kept.size > size && oldest !== undefined) kept.delete(oldest);
}
