import { optionalText, text } from "./postgres-connection.ts";
import type { Database, Queryable, Transaction } from "./postgres-connection.ts";
import type { Publisher } from "./postgres-publish.ts";
import { isReadable, updateRecords } from "./postgres-rows.ts";
import type { HeldRecord, PlacedChange, Records } from "./postgres-rows.ts";
import type { StoredRecord } from "./store.ts";

/** Which replica each runner is connected to, and what becomes of that when a replica dies. */
export interface Replicas {
  connected(uid: string, podUid: string, connected: boolean, at: string): Promise<void>;
  /** Says that this replica lives, and marks as disconnected the runners of those that do not. Rejects when the server is away. */
  beat(): Promise<void>;
  /** Forgets this replica: its runners are disconnected. */
  leave(): Promise<void>;
}

export interface ReplicasOptions {
  readonly database: Database;
  readonly records: Records;
  readonly publisher: Publisher;
  /** Identity of this process's store. */
  readonly replica: string;
  /** Without a beat for so long a replica is dead. */
  readonly deadAfterMs: number;
  now(): Date;
}

/** Rows of replicas that are gone stay so long. */
const FORGOTTEN_AFTER = "1 hour";

export function openReplicas(options: ReplicasOptions): Replicas {
  const { database, records, publisher, replica, deadAfterMs, now } = options;
  /** Runner pods by record that follow their streams at this replica. */
  const followed = new Map<string, string>();

  const change = async (uid: string, next: (held: HeldRecord) => Next): Promise<void> => {
    const changes = await database.transact(async (transaction) => {
      const held = await records.one(transaction, "FROM records WHERE uid = $1 FOR UPDATE", [uid]);
      return held === undefined ? [] : applyNext(transaction, held, next(held));
    });
    await publisher.committed(changes);
  };
  const connect = (uid: string, podUid: string, at: string): Promise<void> => change(uid, (held) => decideConnected(held, { podUid, replica, at }));
  /** Unless it has come again meanwhile. */
  const disconnect = (uid: string, podUid: string, at: string): Promise<void> =>
    change(uid, (held) => (followed.get(uid) === podUid ? { kind: "keep" } : decideDisconnected(held, { podUid, replica, at })));
  /** `choose` gives the uids; asked once more when their rows are locked, because their replica may have come back meanwhile. */
  const disconnectAll = async (choose: (on: Queryable) => Promise<readonly string[]>): Promise<void> => {
    const uids = await choose(database);
    if (uids.length === 0) return;
    const changes = await database.transact(async (transaction) => {
      const found = await records.select(transaction, "FROM records WHERE uid = ANY($1::text[]) ORDER BY uid FOR UPDATE", [uids]);
      const still = new Set(await choose(transaction));
      const at = now().toISOString();
      const gone = found.filter(isReadable).filter(({ record }) => still.has(record.uid));
      return updateRecords(transaction, gone.map(({ record }) => ({ record: withRunner(record, false, at), replica: undefined })));
    });
    await publisher.committed(changes);
  };

  return {
    connected: async (uid, podUid, connected, at) => {
      if (connected) followed.set(uid, podUid);
      else if (followed.get(uid) === podUid) followed.delete(uid);
      await (connected ? connect(uid, podUid, at) : disconnect(uid, podUid, at));
    },
    beat: async () => {
      await database.query("INSERT INTO replicas (id, seen) VALUES ($1, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen", [replica]);
      for (const [uid, podUid] of await leftBehind(database, replica, followed)) await disconnect(uid, podUid, now().toISOString());
      for (const [uid, podUid] of await takenFrom(database, replica, followed)) await connect(uid, podUid, now().toISOString());
      await disconnectAll((on) => orphans(on, deadAfterMs));
      await database.query("DELETE FROM replicas WHERE seen < clock_timestamp() - $1::interval", [FORGOTTEN_AFTER]);
    },
    leave: async () => {
      followed.clear();
      await disconnectAll((on) => runnersOf(on, replica));
      await database.query("DELETE FROM replicas WHERE id = $1", [replica]);
    },
  };
}

/** What becomes of a row: written with a new version, told nobody of, or nothing. */
type Next = { readonly kind: "change"; readonly record: StoredRecord; readonly replica: string | undefined } | { readonly kind: "move"; readonly replica: string } | { readonly kind: "keep" };

interface Follower {
  readonly podUid: string;
  readonly replica: string;
  readonly at: string;
}

function decideConnected({ record, replica }: HeldRecord, follower: Follower): Next {
  if (record.runner.podUid !== follower.podUid) return { kind: "keep" };
  if (!record.runner.connected) return { kind: "change", record: withRunner(record, true, follower.at), replica: follower.replica };
  return replica === follower.replica ? { kind: "keep" } : { kind: "move", replica: follower.replica };
}

/** A runner that follows another replica by now stays connected. */
function decideDisconnected({ record, replica }: HeldRecord, follower: Follower): Next {
  if (record.runner.podUid !== follower.podUid || !record.runner.connected || replica !== follower.replica) return { kind: "keep" };
  return { kind: "change", record: withRunner(record, false, follower.at), replica: undefined };
}

function withRunner(record: StoredRecord, connected: boolean, since: string): StoredRecord {
  return { ...record, runner: { podUid: record.runner.podUid, connected, since } };
}

async function applyNext(transaction: Transaction, { record }: HeldRecord, next: Next): Promise<readonly PlacedChange[]> {
  if (next.kind === "change") return updateRecords(transaction, [next]);
  if (next.kind === "move") await transaction.query("UPDATE records SET runner_replica = $2 WHERE uid = $1", [record.uid, next.replica]);
  return [];
}

async function runnersOf(on: Queryable, replica: string): Promise<readonly string[]> {
  const rows = await on.query("SELECT uid FROM records WHERE runner_connected AND runner_replica = $1", [replica]);
  return rows.map((row) => text(row, "uid"));
}

/** Records whose runner is connected to a replica that has not been heard of for so long. */
async function orphans(on: Queryable, deadAfterMs: number): Promise<readonly string[]> {
  const sql = `SELECT uid FROM records WHERE runner_connected AND NOT EXISTS (
    SELECT 1 FROM replicas WHERE id = runner_replica AND seen > clock_timestamp() - $1::double precision * interval '1 millisecond')`;
  const rows = await on.query(sql, [deadAfterMs]);
  return rows.map((row) => text(row, "uid"));
}

/** Runners that are noted as connected to this replica and follow it no more: the server was away when they left. */
async function leftBehind(on: Queryable, replica: string, followed: ReadonlyMap<string, string>): Promise<readonly (readonly [string, string])[]> {
  const sql = `SELECT uid, runner_pod FROM records WHERE runner_connected AND runner_replica = $1
    AND (uid, runner_pod) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))`;
  const rows = await on.query(sql, [replica, [...followed.keys()], [...followed.values()]]);
  return rows.map((row) => [text(row, "uid"), text(row, "runner_pod")] as const);
}

/** Runners that follow this replica and that another one took for disconnected, because it did not hear of this one for a while. */
async function takenFrom(on: Queryable, replica: string, followed: ReadonlyMap<string, string>): Promise<readonly (readonly [string, string])[]> {
  if (followed.size === 0) return [];
  const rows = await on.query("SELECT uid, runner_pod, runner_replica FROM records WHERE uid = ANY($1::text[]) AND NOT (runner_connected AND runner_replica = $2)", [[...followed.keys()], replica]);
  return rows.flatMap((row) => {
    const [uid, podUid] = [text(row, "uid"), optionalText(row, "runner_pod")];
    // Another replica that the runner went to has it by right.
    return podUid !== undefined && followed.get(uid) === podUid && optionalText(row, "runner_replica") === undefined ? [[uid, podUid] as const] : [];
  });
}
