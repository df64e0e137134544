import { openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

/** Which store, and where. */
export type StoreConfig =
  | { readonly kind: "sqlite"; /** A folder on a disk of this machine. */ readonly dataDir: string }
  | { readonly kind: "postgres"; /** A file that holds a connection string. */ readonly urlFile: string };

export interface StorePorts {
  now(): Date;
  /** Told of what goes wrong beside a call: a record that cannot be read, a listener that throws, a connection that is lost. Must not throw. */
  report(error: unknown): void;
}

/** Rejects when the store cannot be opened. */
export async function openStore(config: StoreConfig, { now, report }: StorePorts): Promise<Store> {
  if (config.kind === "sqlite") return openSqliteStore(config.dataDir, now, { report });
  throw new Error(`this release keeps no log in Postgres yet (${config.urlFile})`);
}
