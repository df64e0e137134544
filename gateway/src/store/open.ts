import { readFileSync } from "node:fs";
import { fileIn, openSqliteReader, openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

/** Which store, and where. */
export type StoreConfig =
  | { readonly kind: "sqlite"; /** A folder on a disk of this machine. */ readonly dataDir: string }
  | { readonly kind: "postgres"; /** A file that holds a connection string. */ readonly urlFile: string };

export interface StorePorts {
  now(): Date;
  /** Told of what goes wrong beside a call: a record that cannot be read, a listener that throws, a connection that is lost. Must not throw. */
  report(error: unknown): void;
  /** Told after each commit how many calls shared it, where a store makes such groups. Must not throw. */
  committed?(calls: number): void;
}

/** Rejects when the store cannot be opened. Postgres' client is loaded only for a Postgres. */
export async function openStore(config: StoreConfig, ports: StorePorts): Promise<Store> {
  if (config.kind === "sqlite") return openSqliteStore(config.dataDir, () => ports.now(), ports);
  const connectionString = readConnectionString(config.urlFile);
  return (await import("./postgres.ts")).openPostgresStore(connectionString, ports);
}

function readConnectionString(file: string): string {
  try {
    const url = readFileSync(file, "utf8").trim();
    if (url !== "") return url;
  } catch (error) {
    throw new Error(`the file of Postgres' connection string cannot be read: ${(error as Error).message}`, { cause: error });
  }
  throw new Error(`${file} is empty: put the connection string in it, e.g. postgres://USER:PASSWORD@HOST:5432/DATABASE`);
}

/** The store beside the gateways that use it, to be read only. Rejects when it cannot be opened. */
export async function openStoreToRead(config: StoreConfig, ports: StorePorts): Promise<Store> {
  return config.kind === "sqlite" ? openSqliteReader(fileIn(config.dataDir), ports) : openStore(config, ports);
}
