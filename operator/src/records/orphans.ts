import type { RecordView } from "@paddock/api/wire/records";
import { createBarePass } from "../kernel/bare.ts";
import type { Receipt } from "../kernel/expectations.ts";
import type { Action, Fault, Key, Read } from "../kernel/kind.ts";
import type { PassResult } from "../kernel/reconcile.ts";
import { BY_UID, records, sessions } from "../sources.ts";

/** A record and whether its Session still is. */
export interface OrphanWorld {
  readonly record: RecordView;
  readonly hasSession: boolean;
  /** How long the record has been seen cancelled; undefined while it is not. */
  readonly cancelledForMs: number | undefined;
}

/** Time a connected runner has to record what it has under way after a cancel. */
export const GRACE_MS = 2_000;

/** Records whose Session is gone are cancelled, finished and acknowledged, in this order. Pure. */
export function decideOrphan({ record, hasSession, cancelledForMs }: OrphanWorld): { readonly actions: readonly Action[]; readonly requeueAfterMs?: number } {
  const abandon: Action = { verb: "abandon", uid: record.uid, key: { namespace: record.namespace, name: record.name } };
  if (hasSession) return { actions: [] };
  if (record.activity.kind === "Finished") return { actions: [abandon] };
  if (cancelledForMs === undefined) return { actions: [abandon], requeueAfterMs: GRACE_MS };
  const leftMs = GRACE_MS - cancelledForMs;
  if (record.runner.connected && leftMs > 0) return { actions: [], requeueAfterMs: leftMs };
  return { actions: [abandon] };
}

export interface OrphanOptions {
  readonly read: Read;
  act(action: Action): Promise<Receipt | undefined>;
  classify(error: unknown): Fault;
  /** Namespaces that are watched; empty means all. Sessions of others are not known to be gone. */
  readonly namespaces: readonly string[];
  /** Monotonic, in milliseconds. */
  nowMs(): number;
}

/** A pass over one record; `key` is its namespace and, as name, its UID. Never throws. */
export function createOrphanPass({ read, act, classify, namespaces, nowMs }: OrphanOptions): (key: Key, note: (receipt: Receipt) => void) => Promise<PassResult> {
  // When a record was first seen cancelled; a restart only gives its runner the grace once more.
  const cancelledAt = new Map<string, number>();

  const cancelledForMs = (uid: string, record: RecordView | undefined): number | undefined => {
    if (record?.cancelled !== true || record.activity.kind === "Finished") {
      cancelledAt.delete(uid);
      return undefined;
    }
    const now = nowMs();
    const since = cancelledAt.get(uid) ?? now;
    cancelledAt.set(uid, since);
    return now - since;
  };

  const isWatched = (namespace: string): boolean => namespaces.length === 0 || namespaces.includes(namespace);

  const observe = ({ namespace, name: uid }: Key): OrphanWorld | undefined => {
    const [record] = read.list(records, BY_UID, uid);
    const forMs = cancelledForMs(uid, record);
    if (record === undefined || !isWatched(namespace) || !read.isSynced(sessions) || !read.isSynced(records)) return undefined;
    const hasSession = read.get(sessions, { namespace, name: record.name })?.metadata.uid === uid;
    return { record, hasSession, cancelledForMs: forMs };
  };

  return createBarePass({ observe, decide: decideOrphan }, { act, classify });
}
