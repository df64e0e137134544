import type { StoreConfig } from "../store/open.ts";
import { backupSqlite, restoreSqlite } from "../store/sqlite-backup.ts";
import { openSqliteReader } from "../store/sqlite.ts";
import { printVerified, verifyLogs } from "./verify.ts";

type Print = (line: string) => void;

/** Copies the store to a file and verifies the copy. Returns the process' exit code: 1 when the copy holds damage of the store. */
export async function runBackup(config: StoreConfig, to: string, print: Print): Promise<number> {
  if (config.kind === "postgres") throw new Error("the store is in Postgres: back it up with pg_dump --format=custom, which reads one moment while gateways write");
  const fault = await backupSqlite(config.dataDir, to);
  if (fault !== undefined) print(`damaged: ${to}, as the store is: ${fault}`);
  const copy = openSqliteReader(to, { report: (error) => print(`the copy reports: ${error instanceof Error ? error.message : String(error)}`) });
  try {
    const code = printVerified(await verifyLogs({ store: copy }), print);
    print(`backed up to ${to}`);
    return fault === undefined ? code : 1;
  } finally {
    await copy.close();
  }
}

/** Makes the store from a backup. Returns the process' exit code. */
export async function runRestore(config: StoreConfig, { from, force }: { readonly from: string; readonly force: boolean }, print: Print): Promise<number> {
  if (config.kind === "postgres") throw new Error("the store is in Postgres: restore it with pg_restore, then start the gateways");
  await restoreSqlite(config.dataDir, from, { force });
  print(`restored from ${from}: start the gateway`);
  return 0;
}
