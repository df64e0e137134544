import { keyText } from "../kernel/controller.ts";
import type { Key } from "../kernel/kind.ts";
import type { Feed } from "../kernel/manager.ts";

export interface StoreOptions<T> {
  /** Namespace and name under which a value is kept; unique. */
  keyOf(value: T): Key;
  /** Further look-ups: name → the value's entry in it, undefined when it has none. */
  readonly indexes: Readonly<Record<string, (value: T) => string | undefined>>;
  /** True for two copies of one value: `replace` then tells nobody. Absent: no two values are the same. */
  isSame?(a: T, b: T): boolean;
}

/** A cache: values by key and by indexes, with listeners. One writer fills it. */
export interface Store<T> extends Feed<T> {
  set(value: T): void;
  remove(key: Key): void;
  /** Makes `values` all there is where `inScope` holds: what is missing is removed, with its listeners told. */
  replace(values: readonly T[], inScope: (value: T) => boolean): void;
  markSynced(): void;
  size(): number;
}

export function createStore<T>({ keyOf, indexes, isSame = () => false }: StoreOptions<T>): Store<T> {
  const values = new Map<string, T>();
  const entries = new Map<string, Map<string, Set<string>>>(Object.keys(indexes).map((name) => [name, new Map<string, Set<string>>()]));
  const changeListeners: ((value: T) => void)[] = [];
  const syncListeners: (() => void)[] = [];
  let synced = false;

  const unlink = (text: string, value: T): void => {
    for (const [name, entry] of Object.entries(indexes)) {
      const at = entry(value);
      const index = entries.get(name);
      const keys = at === undefined ? undefined : index?.get(at);
      keys?.delete(text);
      if (keys?.size === 0 && at !== undefined) index?.delete(at);
    }
  };
  const link = (text: string, value: T): void => {
    for (const [name, entry] of Object.entries(indexes)) {
      const at = entry(value);
      if (at === undefined) continue;
      const index = entries.get(name);
      const keys = index?.get(at);
      if (keys === undefined) index?.set(at, new Set([text]));
      else keys.add(text);
    }
  };
  const tell = (value: T): void => {
    for (const listener of changeListeners) listener(value);
  };

  const set = (value: T): void => {
    const text = keyText(keyOf(value));
    const old = values.get(text);
    if (old !== undefined) unlink(text, old);
    values.set(text, value);
    link(text, value);
    if (old !== undefined) tell(old);
    tell(value);
  };
  const remove = (key: Key): void => {
    const text = keyText(key);
    const old = values.get(text);
    if (old === undefined) return;
    unlink(text, old);
    values.delete(text);
    tell(old);
  };

  return {
    set, remove,
    replace: (present, inScope) => {
      const kept = new Set(present.map((value) => keyText(keyOf(value))));
      const isKnown = (value: T): boolean => {
        const old = values.get(keyText(keyOf(value)));
        return old !== undefined && isSame(old, value);
      };
      for (const [text, value] of [...values]) {
        if (inScope(value) && !kept.has(text)) remove(keyOf(value));
      }
      for (const value of present) if (!isKnown(value)) set(value);
    },
    markSynced: () => {
      synced = true;
      for (const listener of syncListeners) listener();
    },
    size: () => values.size,
    get: (key) => values.get(keyText(key)),
    list: (index, value) => {
      const entry = entries.get(index);
      if (entry === undefined) throw new TypeError(`no index ${index}: declare it where the source's store is made`);
      const found: T[] = [];
      for (const text of entry.get(value) ?? []) {
        const one = values.get(text);
        if (one !== undefined) found.push(one);
      }
      return found;
    },
    keys: () => [...values.values()].map(keyOf),
    isSynced: () => synced,
    onChange: (listener) => void changeListeners.push(listener),
    onSynced: (listener) => void syncListeners.push(listener),
  };
}
