/** Values that are kept for a while; concurrent gets of one key share one load. */
export interface ExpiringCache<T> {
  /** The kept value, or what `load` gives, kept for its `keepMs`. Rejects when `load` does; nothing is kept then. */
  get(key: string, load: () => Promise<{ readonly value: T; readonly keepMs: number }>): Promise<T>;
}

/** Holds at most `size` values; the oldest go first. */
export function createExpiringCache<T>(size: number, clock: () => number = () => performance.now()): ExpiringCache<T> {
  const kept = new Map<string, { readonly value: T; readonly until: number }>();
  const loading = new Map<string, Promise<T>>();
  return {
    get: (key, load) => {
      const known = kept.get(key);
      if (known !== undefined && clock() < known.until) return Promise.resolve(known.value);
      const running = loading.get(key);
      if (running !== undefined) return running;
      const loaded = load()
        .then(({ value, keepMs }) => {
          kept.delete(key);
          if (keepMs > 0) kept.set(key, { value, until: clock() + keepMs });
          const [oldest] = kept.keys();
          if (kept.size > size && oldest !== undefined) kept.delete(oldest);
          return value;
        })
        .finally(() => loading.delete(key));
      loading.set(key, loaded);
      return loaded;
    },
  };
}
