import { text } from "./postgres-connection.ts";
import type { Queryable, Transaction } from "./postgres-connection.ts";
import { updateRecords } from "./postgres-rows.ts";
import type { PlacedChange, Records } from "./postgres-rows.ts";
import type { Registration, StoredRecord } from "./store.ts";

export interface Registered {
  readonly result: "registered" | "conflict" | "unknown-session";
  readonly changes: readonly PlacedChange[];
}

/** See Store.register. */
export async function registerPod(transaction: Transaction, records: Records, registration: Registration & { readonly at: string }): Promise<Registered> {
  const { podUid, sessionUid, component, podName, at } = registration;
  const known = await registrationOf(transaction, podUid);
  if (known !== undefined) return { result: isSame(known, registration) ? "registered" : "conflict", changes: [] };
  const held = await records.one(transaction, "FROM records WHERE uid = $1 FOR UPDATE", [sessionUid]);
  if (held === undefined) return { result: "unknown-session", changes: [] };
  const sql = "INSERT INTO pods (pod_uid, session_uid, component, pod_name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING pod_uid";
  const inserted = await transaction.query(sql, [podUid, sessionUid, component, podName]);
  // Another replica was told the same meanwhile.
  if (inserted.length === 0) return registerPod(transaction, records, registration);
  if (component !== "runner") return { result: "registered", changes: [] };
  const record: StoredRecord = { ...held.record, runner: { podUid, connected: false, since: at } };
  return { result: "registered", changes: await updateRecords(transaction, [{ record, replica: undefined }]) };
}

function isSame(known: Registration, { sessionUid, component }: Registration): boolean {
  return known.sessionUid === sessionUid && known.component === component;
}

export async function registrationOf(on: Queryable, podUid: string): Promise<Registration | undefined> {
  const [row] = await on.query("SELECT session_uid, component, pod_name FROM pods WHERE pod_uid = $1", [podUid]);
  if (row === undefined) return undefined;
  const component = text(row, "component") === "runner" ? "runner" : "sandbox";
  return { podUid, sessionUid: text(row, "session_uid"), component, podName: text(row, "pod_name") };
}
