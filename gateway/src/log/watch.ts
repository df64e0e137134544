import type { BudgetView, RecordView } from "@paddock/api/wire/records";
import type { Store, StoredRecord } from "../store/store.ts";
import { buildView, urgentPartOf } from "./view.ts";
import { createWaker } from "./waker.ts";

const PAGE_RECORDS = 200;

/** What a watcher of all records is told. `version`: everything up to this one was told, so that it can go on from there. */
export type RecordNews =
  | { readonly kind: "record"; readonly version: number; readonly view: RecordView }
  | { readonly kind: "gone"; readonly version: number; readonly uid: string }
  /** Has no place in the records' order: every watcher is told all budgets as it begins. */
  | { readonly kind: "budget"; readonly budget: BudgetView }
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

interface Pending {
  /** The record's first version that was not told yet. */
  readonly since: number;
  readonly record: StoredRecord;
  readonly dueAt: number;
}

/** What one watcher has been told and is still to be told. */
interface Ledger {
  note(record: StoredRecord): void;
  /** Notes that this version of the record is being told, and what of it is urgent. */
  told(record: StoredRecord): void;
  /** Takes the change that is due first, or says how long to wait for one; undefined when there is none. */
  take(): { readonly record: StoredRecord } | { readonly waitMs: number } | undefined;
  /** Up to which version everything was told: a resumed watcher must not miss a change that still waits here. */
  toldUpTo(): number;
}

function openLedger({ after, coalesceMs, clock }: Watching): Ledger {
  const known = new Map<string, { readonly urgent: string; readonly at: number; readonly version: number }>();
  const changes = new Map<string, Pending>();
  let newest = after;
  const dueAt = (record: StoredRecord): number => {
    const last = known.get(record.uid);
    return last === undefined || record.acknowledged || urgentPartOf(buildView(record)) !== last.urgent ? 0 : last.at + coalesceMs;
  };
  return {
    note: (record) => {
      newest = Math.max(newest, record.version);
      const since = changes.get(record.uid)?.since ?? record.version;
      changes.set(record.uid, { since, record, dueAt: dueAt(record) });
    },
    told: (record) => {
      newest = Math.max(newest, record.version);
      if ((changes.get(record.uid)?.record.version ?? 0) <= record.version) changes.delete(record.uid);
      if (record.acknowledged) known.delete(record.uid);
      else known.set(record.uid, { urgent: urgentPartOf(buildView(record)), at: clock(), version: record.version });
    },
    take: () => {
      const first = earliest(changes);
      if (first === undefined) return undefined;
      const waitMs = first.dueAt - clock();
      return waitMs > 0 ? { waitMs } : { record: first.record };
    },
    toldUpTo: () => [...changes.values()].reduce((least, { since }) => Math.min(least, since - 1), newest),
  };
}

/**
 * Tells a watcher of every budget and record that is there and of each change, until `signal` aborts. Level-based: several changes of a record that
 * wait are told as one, so a slow watcher costs one entry per record and slows nobody.
 */
export async function watchRecords(watching: Watching): Promise<void> {
  const { store, signal, idleMs } = watching;
  const ledger = openLedger(watching);
  const waker = createWaker();
  const budgets = new Map<string, BudgetView>();
  const unsubscribe = store.subscribe((change) => {
    if (change.kind === "record") ledger.note(change.record);
    else budgets.set(change.budget.environmentUid, change.budget);
    waker.wake();
  });
  try {
    await tellBudgets(watching, new Map((await store.budgets()).map((budget) => [budget.environmentUid, budget])));
    await tellList(watching, ledger);
    if (!signal.aborted) await watching.write({ kind: "synced", version: ledger.toldUpTo() });
    while (!signal.aborted) {
      await tellBudgets(watching, budgets);
      const next = ledger.take();
      if (next !== undefined && "record" in next) {
        ledger.told(next.record);
        await watching.write(newsOf(next.record, ledger.toldUpTo()));
        continue;
      }
      const woken = await waker.next(Math.min(next?.waitMs ?? idleMs, idleMs), signal);
      if (!woken && next === undefined && !signal.aborted) await watching.idle();
    }
  } finally {
    unsubscribe();
  }
}

function newsOf(record: StoredRecord, version: number): RecordNews {
  return record.acknowledged ? { kind: "gone", version, uid: record.uid } : { kind: "record", version, view: buildView(record) };
}

async function tellBudgets({ signal, write }: Watching, budgets: Map<string, BudgetView>): Promise<void> {
  for (const [environmentUid, budget] of budgets) {
    budgets.delete(environmentUid);
    if (!signal.aborted) await write({ kind: "budget", budget });
  }
}

/** Tells the records in commit order: what changes meanwhile has a larger version than any told here. */
async function tellList({ store, after, signal, write }: Watching, ledger: Ledger): Promise<void> {
  let position = after;
  while (!signal.aborted) {
    // Who begins has never heard of the acknowledged ones, on whatever page they would be.
    const page = await store.recordsAfter({ after: position, limit: PAGE_RECORDS, acknowledged: after > 0 });
    for (const record of page) {
      if (signal.aborted) return;
      ledger.told(record);
      position = record.version;
      await write(newsOf(record, position));
    }
    if (page.length === 0) return;
  }
}

function earliest(changes: ReadonlyMap<string, Pending>): Pending | undefined {
  return [...changes.values()].reduce<Pending | undefined>((first, change) => (first === undefined || change.dueAt < first.dueAt ? change : first), undefined);
}
