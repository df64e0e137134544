import { RestartError, isAway } from "./postgres-connection.ts";
import type { Database, Queryable, Transaction } from "./postgres-connection.ts";
import { insertEvents } from "./postgres-events.ts";
import { addToShared, changeLedger, lockNames, nameOf, readShared } from "./postgres-ledger.ts";
import type { BudgetKey } from "./postgres-ledger.ts";
import type { Publisher } from "./postgres-publish.ts";
import { afterWrite, isReadable, updateRecords } from "./postgres-rows.ts";
import type { HeldRecord, PlacedChange, Records, Unreadable } from "./postgres-rows.ts";
import type { Decided, Inside, SharedBudget, StoredRecord, Write } from "./store.ts";

/** Calls that share a transaction at most. */
const GROUP_CALLS = 64;
/** Transactions under way: while one waits for the disk, the next one decides. */
const LANES = 2;

/** Store.change for many: concurrent calls share a transaction, each record's one after the other. */
export interface Changer {
  change<T>(uid: string, decide: (inside: Inside) => Decided<T>, day: string | undefined): Promise<T | undefined>;
  /** Resolves once everything that was asked for is over; nothing is taken after that. */
  close(): Promise<void>;
}

export interface ChangerOptions {
  readonly database: Database;
  readonly records: Records;
  readonly publisher: Publisher;
  /** Told after each commit how many calls shared it. Must not throw. */
  committed(calls: number): void;
}

type Outcome = { readonly kind: "done"; readonly result: unknown } | { readonly kind: "failed"; readonly error: unknown };

interface Call {
  readonly uid: string;
  readonly day: string | undefined;
  decide(inside: Inside): Decided<unknown>;
  settle(outcome: Outcome): void;
  /** What the newest attempt wrote. */
  attempted?: { readonly write: Write; readonly result: unknown };
}

export function openChanger(options: ChangerOptions): Changer {
  const waiting: Call[] = [];
  const busy = new Set<string>();
  let lanes = 0;
  let isClosed = false;
  let isScheduled = false;
  let idle = Promise.withResolvers<void>();
  idle.resolve();

  /** The oldest calls, one per record, of records that no other lane has. */
  const takeGroup = (): Call[] => {
    const group: Call[] = [];
    for (let index = 0; index < waiting.length && group.length < GROUP_CALLS; ) {
      const call = waiting[index];
      if (call === undefined || busy.has(call.uid)) {
        index += 1;
        continue;
      }
      busy.add(call.uid);
      group.push(call);
      waiting.splice(index, 1);
    }
    return group;
  };
  const work = async (): Promise<void> => {
    lanes += 1;
    for (let group = takeGroup(); group.length > 0; group = takeGroup()) {
      await changeGroup(options, group);
      for (const { uid } of group) busy.delete(uid);
    }
    lanes -= 1;
    if (lanes === 0 && waiting.length === 0) idle.resolve();
  };
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    // After the requests that are readable by now have been read, so that they are in one transaction.
    setImmediate(() => {
      isScheduled = false;
      if (lanes < LANES) void work();
    });
  };

  return {
    change: <T>(uid: string, decide: (inside: Inside) => Decided<T>, day: string | undefined) => {
      if (isClosed) return Promise.reject(new Error("the store is closed"));
      const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
      const settle = (outcome: Outcome): void => (outcome.kind === "done" ? resolve(outcome.result as T | undefined) : reject(outcome.error));
      if (lanes === 0 && waiting.length === 0) idle = Promise.withResolvers();
      waiting.push({ uid, decide, day, settle });
      schedule();
      return promise;
    },
    close: async () => {
      isClosed = true;
      await idle.promise;
    },
  };
}

/** Settles each call. What fails for several is tried for each alone, so that one that cannot be stored takes no other with it. */
async function changeGroup(options: ChangerOptions, calls: readonly Call[]): Promise<void> {
  const wanted = new Set<string>();
  try {
    const { outcomes, changes, isFound } = await options.database.transact((transaction) => changeAll(options.records, transaction, { calls, wanted }));
    options.committed(calls.length);
    await options.publisher.committed(changes);
    if (isFound) await options.publisher.catchUp().catch(() => undefined);
    for (const [index, call] of calls.entries()) call.settle(outcomes[index] ?? { kind: "done", result: undefined });
  } catch (error) {
    // While the server is away none of them fares better alone.
    if (calls.length > 1 && !isAway(error)) for (const call of calls) await changeGroup(options, [call]);
    else for (const call of calls) call.settle({ kind: "failed", error });
  }
}

interface Group {
  readonly calls: readonly Call[];
  /** Names of locks that an earlier attempt turned out to need. */
  readonly wanted: Set<string>;
}

interface Written {
  readonly held: HeldRecord;
  readonly write: Write;
}

interface Changed {
  /** In the order of the calls. */
  readonly outcomes: readonly Outcome[];
  readonly changes: readonly PlacedChange[];
  /** Whether an earlier attempt turned out to be stored: nobody was told of it. */
  readonly isFound: boolean;
}

/** Locks in one order whoever asks: records by uid, budgets by key, the counter. */
async function changeAll(records: Records, transaction: Transaction, { calls, wanted }: Group): Promise<Changed> {
  const found = await records.select(transaction, "FROM records WHERE uid = ANY($1::text[]) ORDER BY uid FOR UPDATE", [calls.map(({ uid }) => uid)]);
  const held = new Map(found.map((one) => [uidOf(one), one]));
  const locked = await lockBudgets(transaction, { calls, wanted }, held);
  const asked = calls.flatMap(({ uid, day }) => keyOf(held.get(uid), day));
  const budgets = await readShared(transaction, asked);
  const outcomes: Outcome[] = [];
  const written: Written[] = [];
  let isFound = false;
  for (const call of calls) {
    const one = held.get(call.uid);
    const known = one !== undefined && isReadable(one) && transaction.mayBeCommitted ? await findAttempt(transaction, one, call) : undefined;
    isFound ||= known !== undefined;
    outcomes.push(known ?? decideCall(call, { held: one, budgets, written }));
  }
  requireLocks(written, locked, wanted);
  await insertEvents(transaction, written.map(({ held: { record }, write: { events, blobs = [] } }) => ({ uid: record.uid, events, blobs })));
  await changeLedger(transaction, written.map(({ held: { record }, write: { ledger = [] } }) => ({ bundle: record.bundle, namespace: record.namespace, changes: ledger })));
  const changes = await updateRecords(transaction, written.map(({ held: { record, replica }, write }) => ({ record: afterWrite(record, write), replica })));
  return { outcomes, changes, isFound };
}

function uidOf(found: HeldRecord | Unreadable): string {
  return isReadable(found) ? found.record.uid : found.error.uid;
}

/** The key of a record's shared budget on a day; none without a day, or a record that can be read. */
function keyOf(held: HeldRecord | Unreadable | undefined, day: string | undefined): readonly BudgetKey[] {
  if (held === undefined || !isReadable(held) || day === undefined) return [];
  return [{ environmentUid: held.record.bundle.environment.uid, day }];
}

/** What the calls ask for, and what the end of an open request will change: of that the lock is taken before anything is decided. */
async function lockBudgets(transaction: Queryable, { calls, wanted }: Group, held: ReadonlyMap<string, HeldRecord | Unreadable>): Promise<ReadonlySet<string>> {
  const keys = calls.flatMap(({ uid, day }) => {
    const one = held.get(uid);
    const reserved = one === undefined || !isReadable(one) ? undefined : one.record.state.request?.grant?.day;
    return [...keyOf(one, day), ...keyOf(one, reserved)];
  });
  const names = new Set([...keys.map(nameOf), ...wanted]);
  await lockNames(transaction, names);
  return names;
}

/** A write that touches a budget nobody foresaw: its lock cannot be taken now, out of order, so everything is decided anew with it. */
function requireLocks(written: readonly Written[], locked: ReadonlySet<string>, wanted: Set<string>): void {
  const needed = written.flatMap(({ held: { record }, write: { ledger = [] } }) => ledger.map(({ day }) => nameOf({ environmentUid: record.bundle.environment.uid, day })));
  const missing = needed.filter((name) => !locked.has(name));
  if (missing.length === 0) return;
  for (const name of missing) wanted.add(name);
  throw new RestartError("a budget that nobody foresaw");
}

interface Deciding {
  readonly held: HeldRecord | Unreadable | undefined;
  /** Changed by what is decided: the next call of the group sees it. */
  readonly budgets: Map<string, SharedBudget>;
  readonly written: Written[];
}

function decideCall(call: Call, { held, budgets, written }: Deciding): Outcome {
  if (held === undefined) return { kind: "done", result: undefined };
  if (!isReadable(held)) return { kind: "failed", error: held.error };
  const { record } = held;
  const key = call.day === undefined ? undefined : nameOf({ environmentUid: record.bundle.environment.uid, day: call.day });
  try {
    const { write, result } = call.decide({ record, budget: key === undefined ? undefined : budgets.get(key) });
    if (write !== undefined) {
      written.push({ held, write });
      call.attempted = { write, result };
      spend(budgets, record, write);
    }
    return { kind: "done", result };
  } catch (error) {
    return { kind: "failed", error };
  }
}

function spend(budgets: Map<string, SharedBudget>, { bundle }: StoredRecord, { ledger = [] }: Write): void {
  for (const day of new Set(ledger.map((change) => change.day))) {
    const name = nameOf({ environmentUid: bundle.environment.uid, day });
    const budget = budgets.get(name);
    if (budget !== undefined) budgets.set(name, addToShared(budget, ledger));
  }
}

/** Whether an earlier attempt of this call was committed though its answer was lost: its last event is there with its hash. */
async function findAttempt(transaction: Queryable, { record }: HeldRecord, { attempted }: Call): Promise<Outcome | undefined> {
  const last = attempted?.write.events.at(-1);
  if (attempted === undefined || last === undefined) return undefined;
  const isStored = last.hash === record.state.lastHash || (await transaction.query("SELECT 1 FROM events WHERE uid = $1 AND seq = $2 AND hash = $3", [record.uid, last.seq, last.hash])).length > 0;
  return isStored ? { kind: "done", result: attempted.result } : undefined;
}
