import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";

export type Row = Record<string, SQLOutputValue>;

/** One connection to a SQLite file. Each text of SQL is prepared once: there is a fixed number of them. Everything is synchronous. */
export interface Connection {
  readonly db: DatabaseSync;
  one(sql: string, ...values: SQLInputValue[]): Row | undefined;
  all(sql: string, ...values: SQLInputValue[]): Row[];
  /** Rows as they are read; the same SQL must not run meanwhile. */
  each(sql: string, ...values: SQLInputValue[]): Iterable<Row>;
  /** How many rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number;
}

/** A connection that only reads. Throws when there is no such file, or no SQLite file. */
export function connectToRead(file: string): Connection {
  if (!existsSync(file)) throw new Error(`there is no ${file}`);
  return connect(file, { readOnly: true });
}

/** Opens a file, which is made when absent unless `readOnly`. Throws when it cannot be. */
export function connect(file: string, { readOnly = false } = {}): Connection {
  const db = new DatabaseSync(file, { timeout: 5000, readOnly, enableForeignKeyConstraints: false });
  // What undoes one call of a group would else spill into a temporary file, and the container has no folder for one.
  db.exec("PRAGMA temp_store = MEMORY");
  const prepared = new Map<string, StatementSync>();
  const statement = (sql: string): StatementSync => {
    const known = prepared.get(sql);
    if (known !== undefined) return known;
    const made = db.prepare(sql);
    prepared.set(sql, made);
    return made;
  };
  return {
    db,
    one: (sql, ...values) => statement(sql).get(...values),
    all: (sql, ...values) => statement(sql).all(...values),
    each: (sql, ...values) => statement(sql).iterate(...values),
    run: (sql, ...values) => Number(statement(sql).run(...values).changes),
  };
}

export function schemaVersion(connection: Connection): number {
  return integer(connection.one("PRAGMA user_version"), "user_version");
}

/** Runs `work` in one transaction, alone among writers when `kind` is IMMEDIATE. What it throws undoes it. */
export function transaction<T>({ db, run }: Connection, kind: "IMMEDIATE" | "DEFERRED", work: () => T): T {
  run(`BEGIN ${kind}`);
  try {
    const result = work();
    run("COMMIT");
    return result;
  } catch (error) {
    // A failed COMMIT may have ended the transaction already.
    if (db.isTransaction) run("ROLLBACK");
    throw error;
  }
}

/** A row that does not hold what was written. */
class DamagedRowError extends Error {
  constructor(column: string, wanted: string) {
    super(`the store has no ${wanted} in ${column}`);
    this.name = "DamagedRowError";
  }
}

/** Text of a column. Throws when there is none: a damaged file gives anything. */
export function text(row: Row | undefined, column: string): string {
  const value = row?.[column];
  if (typeof value !== "string") throw new DamagedRowError(column, "text");
  return value;
}

export function optionalText(row: Row, column: string): string | undefined {
  const value = row[column];
  return typeof value === "string" ? value : undefined;
}

/** Integer of a column. Throws when there is none. */
export function integer(row: Row | undefined, column: string): number {
  const value = row?.[column];
  if (typeof value !== "number") throw new DamagedRowError(column, "integer");
  return value;
}

const DAMAGED_CODES: ReadonlySet<number> = new Set([11, 26]);

/**
 * Whether it is the file that is damaged: a row is not what was written, SQLite says so (SQLITE_CORRUPT, SQLITE_NOTADB), or node:sqlite met an
 * integer larger than any that we write.
 */
export function isDamage(error: unknown): error is Error {
  if (error instanceof DamagedRowError) return true;
  if (!(error instanceof Error)) return false;
  if ("code" in error && error.code === "ERR_OUT_OF_RANGE") return true;
  return "errcode" in error && typeof error.errcode === "number" && DAMAGED_CODES.has(error.errcode & 0xff);
}
