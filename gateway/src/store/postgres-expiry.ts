import { text } from "./postgres-connection.ts";
import type { Database } from "./postgres-connection.ts";

/** Deletes records that were acknowledged and finished before `before`, the oldest first, each in its own transaction. Resolves with their number. */
export async function expireRecords(database: Database, before: string | null, limit: number): Promise<number> {
  for (let gone = 0; gone < limit; gone += 1) if (!(await expireOldest(database, before))) return gone;
  return limit;
}

/** Whether there was one. What another replica works on is left to it. */
function expireOldest(database: Database, before: string | null): Promise<boolean> {
  return database.transact(async (transaction) => {
    const sql = "SELECT uid FROM records WHERE acknowledged AND finished_at < $1 ORDER BY finished_at LIMIT 1 FOR UPDATE SKIP LOCKED";
    const [row] = await transaction.query(sql, [before]);
    if (row === undefined) return false;
    const uid = text(row, "uid");
    await transaction.query("DELETE FROM events WHERE uid = $1", [uid]);
    await transaction.query("DELETE FROM blobs WHERE uid = $1", [uid]);
    await transaction.query("DELETE FROM pods WHERE session_uid = $1", [uid]);
    await transaction.query("DELETE FROM records WHERE uid = $1", [uid]);
    return true;
  });
}
