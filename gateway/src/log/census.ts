import type { Store, StoredRecord } from "../store/store.ts";
import { activityLabel } from "../telemetry/labels.ts";
import type { Activity } from "../telemetry/labels.ts";
import type { Metrics } from "../telemetry/metrics.ts";

const PAGE_RECORDS = 200;

export interface CensusPorts {
  readonly store: Pick<Store, "subscribe" | "recordsAfter">;
  readonly metrics: Pick<Metrics, "sessionEntered" | "sessionLeft">;
  readonly signal: AbortSignal;
}

/** Keeps the count of sessions by activity, those that the operator acknowledged aside, until `signal` aborts; then nothing of it is left. Rejects when the list cannot be read. */
export async function takeCensus({ store, metrics, signal }: CensusPorts): Promise<void> {
  const known = new Map<string, Activity>();
  const note = ({ uid, state, acknowledged }: StoredRecord): void => {
    const before = known.get(uid);
    const activity = acknowledged ? undefined : activityLabel(state);
    if (activity === before) return;
    if (before !== undefined) metrics.sessionLeft(before);
    if (activity === undefined) {
      known.delete(uid);
      return;
    }
    known.set(uid, activity);
    metrics.sessionEntered(activity);
  };
  // What changes while the list is read is newer than what the list says of it.
  const changed = new Map<string, number>();
  let isListing = true;
  const unsubscribe = store.subscribe((change) => {
    if (change.kind !== "record") return;
    if (isListing) changed.set(change.record.uid, change.record.version);
    note(change.record);
  });
  const leave = (): void => {
    unsubscribe();
    for (const activity of known.values()) metrics.sessionLeft(activity);
    known.clear();
  };
  signal.addEventListener("abort", leave, { once: true });
  for (let after = 0; ; ) {
    const page = await store.recordsAfter({ after, limit: PAGE_RECORDS, acknowledged: false });
    if (signal.aborted) break;
    for (const record of page) if ((changed.get(record.uid) ?? 0) < record.version) note(record);
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.version;
  }
  isListing = false;
  changed.clear();
}
