import { payloadRef } from "@paddock/api/log/blobs";
import type { LogEvent } from "@paddock/api/log/events";
import { openStoreToRead } from "../store/open.ts";
import type { StoreConfig } from "../store/open.ts";
import { LogCorruptError } from "../store/store.ts";
import type { Store, StoredRecord } from "../store/store.ts";

const PAGE = 1000;

export interface Broken {
  readonly uid: string;
  /** `namespace/name` of the session; empty when its record cannot be read. */
  readonly session: string;
  /** A sentence that begins with the event, where it is one. */
  readonly what: string;
}

export interface Verified {
  readonly logs: number;
  /** Those that were read; a broken log's stop at the page of its fault. */
  readonly events: number;
  readonly payloads: number;
  readonly broken: readonly Broken[];
}

export interface Verification {
  readonly store: Pick<Store, "record" | "recordsAfter" | "events" | "blob">;
  /** Only this record's log. */
  readonly session?: string | undefined;
}

/** Reads logs to their ends with everything that they reference. Rejects when there is no record of the uid, or the store cannot be read. */
export async function verifyLogs({ store, session }: Verification): Promise<Verified> {
  const sums = { logs: 0, events: 0, payloads: 0 };
  const broken: Broken[] = [];
  for await (const record of session === undefined ? eachRecord(store) : oneRecord(store, session)) {
    sums.logs += 1;
    const what = await findFault(store, record, sums);
    if (what !== undefined) broken.push({ uid: record.uid, session: `${record.namespace}/${record.name}`, what });
  }
  return { ...sums, broken };
}

async function* oneRecord(store: Verification["store"], uid: string): AsyncGenerator<StoredRecord> {
  const record = await store.record(uid);
  if (record === undefined) throw new Error(`there is no record ${uid}`);
  yield record;
}

/** One that changes meanwhile moves to the end of the list, and is read once. */
async function* eachRecord(store: Verification["store"]): AsyncGenerator<StoredRecord> {
  const seen = new Set<string>();
  let after = 0;
  for (;;) {
    const page = await store.recordsAfter({ after, limit: 100, acknowledged: true });
    for (const record of page) {
      if (!seen.has(record.uid)) yield record;
      seen.add(record.uid);
    }
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.version;
  }
}

/** What is wrong with the log as it was when the record was read. */
async function findFault(store: Verification["store"], record: StoredRecord, sums: { events: number; payloads: number }): Promise<string | undefined> {
  const { uid, state } = record;
  const payloads = new Set<string>();
  let after = 0;
  try {
    while (after < state.lastSeq) {
      const page = await store.events(uid, { after, limit: PAGE });
      if (page.length === 0) return (await store.record(uid)) === undefined ? undefined : `event ${after + 1}: it is missing`;
      for (const event of page) await verifyPayload(store, { uid, event, payloads });
      const end = page.find(({ seq }) => seq === state.lastSeq);
      if (end !== undefined && end.hash !== state.lastHash) return `event ${end.seq}: its hash is not the one that the record ends with`;
      sums.events += page.length;
      after += page.length;
    }
  } catch (error) {
    if (error instanceof LogCorruptError) return error.message;
    throw error;
  }
  sums.payloads += payloads.size;
  return undefined;
}

async function verifyPayload(store: Verification["store"], { uid, event, payloads }: { readonly uid: string; readonly event: LogEvent; readonly payloads: Set<string> }): Promise<void> {
  const ref = payloadRef(event);
  if (ref === undefined || payloads.has(ref.sha256)) return;
  payloads.add(ref.sha256);
  if ((await store.blob(uid, ref.sha256)) === undefined) throw new LogCorruptError(uid, `event ${event.seq}: its payload ${ref.sha256} is missing`);
}

/** Verifies the logs of a store that gateways may have open. Returns the process' exit code. */
export async function runVerify(config: StoreConfig, session: string | undefined, print: (line: string) => void): Promise<number> {
  const unreadable: Broken[] = [];
  const report = (error: unknown): void => {
    const cause = error instanceof Error ? error.cause : undefined;
    if (cause instanceof LogCorruptError) unreadable.push({ uid: cause.uid, session: "", what: cause.message });
    else print(`the store reports: ${error instanceof Error ? error.message : String(error)}`);
  };
  const store = await openStoreToRead(config, { now: () => new Date(), report });
  try {
    const verified = await verifyLogs({ store, session });
    return printVerified({ ...verified, broken: [...unreadable, ...verified.broken] }, print);
  } catch (error) {
    if (!(error instanceof LogCorruptError)) throw error;
    return printVerified({ logs: 1, events: 0, payloads: 0, broken: [{ uid: error.uid, session: "", what: error.message }] }, print);
  } finally {
    await store.close();
  }
}

/** Prints each broken log and the sums. Returns the exit code. */
export function printVerified({ logs, events, payloads, broken }: Verified, print: (line: string) => void): number {
  for (const { uid, session, what } of broken) print(`broken: ${uid}${session === "" ? "" : ` (${session})`}: ${what}`);
  print(`logs ${logs} · events ${events} · payloads ${payloads} · broken ${new Set(broken.map(({ uid }) => uid)).size}`);
  return broken.length === 0 ? 0 : 1;
}
