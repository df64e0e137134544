import type { RecordView } from "@paddock/api/wire/records";
import type { Store, StoredRecord } from "../store/store.ts";
import { buildView, urgentPartOf } from "./view.ts";
import { createWaker } from "./waker.ts";

const PAGE_RECORDS = 200;

/** What a watcher of all records is told. `version`: everything up to this one was told, so that it can go on from there. */
export type RecordNews =
  | { readonly kind: "record"; readonly version: number; readonly view: RecordView }
  | { readonly kind: "gone"; readonly version: number; readonly uid: string }
  | { readonly kind: "synced"; readonly version: number };

export interface Watching {
  readonly store: Store;
  /** Only what changed after this version; 0 for all live records. */
  readonly after: number;
  readonly signal: AbortSignal;
  write(news: RecordNews): Promise<void>;
  /** Called each time there was nothing to write for `idleMs`. */
  idle(): Promise<void>;
  readonly idleMs: number;
  /** A record whose counters alone changed is written at most this often. */
  readonly coalesceMs: number;
  /** Milliseconds of any steady clock. */
  clock(): number;
}

interface Change {
  /** The record's first version that was not told yet. */
  readonly since: number;
  readonly record: StoredRecord;
  readonly dueAt: number;
}

/**
 * Tells a watcher of every record that is there and of each change, until `signal` aborts. Level-based: several changes of a record that
 * wait are told as one, so a slow watcher costs one entry per record and slows nobody.
 */
export async function watchRecords(watching: Watching): Promise<void> {
  const { store, signal, clock, coalesceMs } = watching;
  const told = new Map<string, { readonly urgent: string; readonly at: number; readonly version: number }>();
  const changes = new Map<string, Change>();
  const waker = createWaker();
  let newest = watching.after;

  const dueAt = (record: StoredRecord): number => {
    const last = told.get(record.uid);
    return last === undefined || record.acknowledged || urgentPartOf(buildView(record)) !== last.urgent ? 0 : last.at + coalesceMs;
  };
  const note = (record: StoredRecord): void => {
    newest = Math.max(newest, record.version);
    const since = changes.get(record.uid)?.since ?? record.version;
    changes.set(record.uid, { since, record, dueAt: dueAt(record) });
    waker.wake();
  };
  /** A resumed watcher must not miss a change that still waits here. */
  const toldUpTo = (): number => [...changes.values()].reduce((least, { since }) => Math.min(least, since - 1), newest);
  const tell = async (record: StoredRecord, version: number): Promise<void> => {
    if (record.acknowledged) {
      told.delete(record.uid);
      return watching.write({ kind: "gone", version, uid: record.uid });
    }
    const view = buildView(record);
    told.set(record.uid, { urgent: urgentPartOf(view), at: clock(), version: record.version });
    return watching.write({ kind: "record", version, view });
  };

  const unsubscribe = store.subscribe(note);
  try {
    newest = Math.max(newest, await tellList(watching, tell));
    if (!signal.aborted) await watching.write({ kind: "synced", version: toldUpTo() });
    while (!signal.aborted) {
      const change = earliest(changes);
      const waitMs = change === undefined ? watching.idleMs : change.dueAt - clock();
      if (change === undefined || waitMs > 0) {
        const woken = await waker.next(Math.min(waitMs, watching.idleMs), signal);
        if (!woken && change === undefined && !signal.aborted) await watching.idle();
        continue;
      }
      changes.delete(change.record.uid);
      if ((told.get(change.record.uid)?.version ?? 0) < change.record.version) await tell(change.record, toldUpTo());
    }
  } finally {
    unsubscribe();
  }
}

/** Tells the records in commit order and resolves with the last version; what changes meanwhile has a larger one. */
async function tellList({ store, after, signal }: Watching, tell: (record: StoredRecord, version: number) => Promise<void>): Promise<number> {
  let position = after;
  while (!signal.aborted) {
    const page = await store.recordsAfter(position, PAGE_RECORDS);
    for (const record of page) {
      if (signal.aborted) return position;
      await tell(record, record.version);
      position = record.version;
    }
    if (page.length === 0) return position;
  }
  return position;
}

function earliest(changes: ReadonlyMap<string, Change>): Change | undefined {
  return [...changes.values()].reduce<Change | undefined>((first, change) => (first === undefined || change.dueAt < first.dueAt ? change : first), undefined);
}
