import type { Store, StoredRecord } from "../store/store.ts";

/** Tells those who care for one record of its changes: a commit costs as many calls as its record has listeners, not as there are streams. */
export interface RecordListeners {
  /** Returns how to stop. The listener must not throw. */
  on(uid: string, listener: (record: StoredRecord) => void): () => void;
  close(): void;
}

export function createRecordListeners(store: Pick<Store, "subscribe">): RecordListeners {
  const listeners = new Map<string, Set<(record: StoredRecord) => void>>();
  const close = store.subscribe((change) => {
    if (change.kind === "record") listeners.get(change.record.uid)?.forEach((listener) => listener(change.record));
  });
  return {
    on: (uid, listener) => {
      const ours = listeners.get(uid) ?? new Set();
      listeners.set(uid, ours.add(listener));
      return () => {
        ours.delete(listener);
        if (ours.size === 0 && listeners.get(uid) === ours) listeners.delete(uid);
      };
    },
    close,
  };
}
