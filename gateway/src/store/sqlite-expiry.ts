import type { Committer } from "./sqlite-commit.ts";
import { text } from "./sqlite-connection.ts";
import type { Connection } from "./sqlite-connection.ts";
import { newestVersion } from "./sqlite-records.ts";

/** Events that one commit deletes at most: appends wait for it. */
const BATCH_EVENTS = 2000;

export interface Expiry {
  /** RFC 3339. */
  readonly before: string | null;
  readonly limit: number;
}

export interface ExpiryPorts {
  readonly connection: Connection;
  readonly committer: Committer;
  /** Told of each record that is gone, inside the transaction. */
  forget(uid: string): void;
}

/**
 * Deletes old records: each at once as far as readers can see, its events and payloads in small commits after that. What a stop leaves
 * undone is done by the next call. Resolves with the number of records.
 */
export async function expireRecords({ connection, committer, forget }: ExpiryPorts, expiry: Expiry): Promise<number> {
  const gone = await committer.commit(() => {
    const uids = removeRecords(connection, expiry);
    for (const uid of uids) forget(uid);
    return { result: uids.length };
  });
  while (await committer.commit(() => ({ result: removeSomeEvents(connection) }))) {
    // Appends that came meanwhile have their turn between two commits.
  }
  return gone;
}

function removeRecords(connection: Connection, { before, limit }: Expiry): readonly string[] {
  const uids = connection.all("SELECT uid FROM records WHERE acknowledged = 1 AND finished_at < ? ORDER BY finished_at LIMIT ?", before, limit).map((row) => text(row, "uid"));
  if (uids.length === 0) return uids;
  connection.run("INSERT OR REPLACE INTO meta (key, value) VALUES ('version', ?)", String(newestVersion(connection)));
  for (const uid of uids) {
    connection.run("INSERT OR IGNORE INTO expired (uid) VALUES (?)", uid);
    connection.run("DELETE FROM records WHERE uid = ?", uid);
    connection.run("DELETE FROM bundles WHERE uid = ?", uid);
    connection.run("DELETE FROM pods WHERE session_uid = ?", uid);
  }
  return uids;
}

/** Whether there is more to do. */
function removeSomeEvents(connection: Connection): boolean {
  const row = connection.one("SELECT uid FROM expired LIMIT 1");
  if (row === undefined) return false;
  const uid = text(row, "uid");
  const removed = connection.run("DELETE FROM events WHERE uid = ?1 AND seq IN (SELECT seq FROM events WHERE uid = ?1 ORDER BY seq LIMIT ?2)", uid, BATCH_EVENTS);
  if (removed === BATCH_EVENTS) return true;
  removeRest(connection, uid);
  return true;
}

/** Whatever is left of an expired record's events and payloads; a payload stays as long as another record references it. */
export function removeRest(connection: Connection, uid: string): void {
  if (connection.run("DELETE FROM expired WHERE uid = ?", uid) === 0) return;
  connection.run("DELETE FROM events WHERE uid = ?", uid);
  const digests = connection.all("SELECT DISTINCT sha256 FROM blob_references WHERE uid = ?", uid).map((row) => text(row, "sha256"));
  connection.run("DELETE FROM blob_references WHERE uid = ?", uid);
  for (const digest of digests) connection.run("DELETE FROM blobs WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM blob_references WHERE sha256 = ?1)", digest);
}
