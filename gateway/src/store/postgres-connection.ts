import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, DatabaseError, Pool } from "pg";
import type { PoolClient } from "pg";

export type Row = Readonly<Record<string, unknown>>;

/** Runs one statement. Rejects with a PostgresError. */
export interface Queryable {
  query(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

export interface Transaction extends Queryable {
  /** The connection was lost while an earlier attempt was committed: what it wrote may be stored. */
  readonly mayBeCommitted: boolean;
  /**
   * Waits until no other transaction of this process is in its last statement or commit, so that this process learns of its commits in their order. What
   * follows must not wait for another lock than the counter's.
   */
  last(): Promise<void>;
}

export interface Database extends Queryable {
  /**
   * Runs `work` in one transaction (READ COMMITTED), which is committed when it resolves and rolled back when it rejects. `work` is called again after a
   * deadlock, a lost connection, and a RestartError; also when the connection was lost while the commit was under way: then `work` has to look whether it
   * was made (mayBeCommitted). Rejects with a PostgresError when it does not help.
   */
  transact<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /** A connection of its own, for notifications; its owner ends it. */
  connect(): Promise<Client>;
  close(): Promise<void>;
}

/** What went wrong in Postgres' own words. Never holds the connection string, nor values of a statement. */
export class PostgresError extends Error {
  /** SQLSTATE; undefined when the server was not there to tell. */
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = "PostgresError";
    this.code = code;
  }
}

/** The transaction has to begin anew with what `work` has learned; not a failure. */
export class RestartError extends Error {}

const MAX_CONNECTIONS = 10;
const CONNECT_TIMEOUT_MS = 5000;
const STATEMENT_TIMEOUT_MS = 30_000;
/** What another replica that stands still can hold up us for. */
const LOCK_TIMEOUT_MS = 15_000;
const IDLE_TRANSACTION_TIMEOUT_MS = 10_000;
/** Waits before the next attempts, in milliseconds: a server that restarts is back in a few seconds. */
const RETRY_WAITS_MS = [0, 50, 100, 200, 400, 800, 1600, 3200];
const MAX_RESTARTS = 20;

const SERIALIZATION_FAILURE = "40001";
const DEADLOCK = "40P01";
/** Classes of SQLSTATE that say that the connection or the server goes away, or has no room: 08 connection, 53 resources, 57P operator intervention, 25P03 idle too long. */
const AWAY = /^(08|53|57P|25P03)/;

/** A pool of connections. Connects when it is asked something. Throws when the connection string is none. */
export function openDatabase(connectionString: string): Database {
  const config = {
    connectionString: parseable(connectionString),
    application_name: "paddock-gateway",
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // The server's own time-out comes first unless the network swallows its answer.
    query_timeout: STATEMENT_TIMEOUT_MS + CONNECT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_TIMEOUT_MS,
  };
  const pool = new Pool({ ...config, max: MAX_CONNECTIONS });
  // A connection that breaks while nobody uses it is replaced when it is needed; one that breaks between two statements, or before the first, fails the next.
  // The pool listens only while it is idle, and an end right behind the server's greeting comes before whoever waits for the connection has it.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  const turns = createTurns();
  return {
    query: (sql, values) => retrying(() => withClient(pool, (client) => client.query(sql, values))),
    transact: (work) => {
      const attempt: Attempt = { turns, mayBeCommitted: false };
      return retrying(() => withClient(pool, (client) => transactOnce(client, attempt, work)));
    },
    connect: async () => {
      const client = new Client(config);
      client.on("error", () => undefined);
      await client.connect().catch((error: unknown) => {
        throw cleaned(error);
      });
      return client;
    },
    close: () => pool.end(),
  };
}

/** The error of a string that cannot be parsed may hold the string: it is not passed on. */
function parseable(connectionString: string): string {
  const complaint = "the connection string of Postgres must be one line like postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full, with special characters of the password percent-encoded";
  const trimmed = connectionString.trim();
  if (!/^postgres(ql)?:\/\/\S+$/.test(trimmed)) throw new Error(complaint);
  try {
    new Client({ connectionString: trimmed });
  } catch {
    throw new Error(complaint);
  }
  return trimmed;
}

async function withClient<T>(pool: Pool, use: (client: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw cleaned(error);
  });
  let isBroken = false;
  try {
    return await use({
      query: (sql, values) =>
        ask(client, sql, values).catch((error: unknown) => {
          isBroken ||= isAway(error);
          throw error;
        }),
    });
  } finally {
    client.release(isBroken);
  }
}

async function ask(client: PoolClient, sql: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
  try {
    const { rows } = await client.query<Row>(values.length === 0 ? { text: sql } : { name: nameOf(sql), text: sql, values: [...values] });
    return rows;
  } catch (error) {
    throw cleaned(error);
  }
}

const names = new Map<string, string>();

/** Under its name the server keeps a statement prepared; there is a fixed number of texts. */
function nameOf(sql: string): string {
  const known = names.get(sql);
  if (known !== undefined) return known;
  const name = createHash("sha256").update(sql).digest("base64url").slice(0, 20);
  names.set(sql, name);
  return name;
}

interface Turns {
  /** Resolves when all before have ended their turn; what it resolves with ends this one. */
  take(): Promise<() => void>;
}

function createTurns(): Turns {
  let newest = Promise.resolve();
  return {
    take: async () => {
      const before = newest;
      const { promise, resolve } = Promise.withResolvers<void>();
      newest = promise;
      await before;
      return resolve;
    },
  };
}

/** What the attempts of one transaction share. */
interface Attempt {
  readonly turns: Turns;
  mayBeCommitted: boolean;
}

async function transactOnce<T>(client: Queryable, attempt: Attempt, work: (transaction: Transaction) => Promise<T>): Promise<T> {
  let endTurn: (() => void) | undefined;
  const last = async (): Promise<void> => {
    endTurn ??= await attempt.turns.take();
  };
  try {
    await client.query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    const result = await work({ query: client.query, last, mayBeCommitted: attempt.mayBeCommitted });
    await client.query("COMMIT").catch((error: unknown) => {
      attempt.mayBeCommitted ||= isAway(error);
      throw error;
    });
    return result;
  } catch (error) {
    // What cannot be rolled back is rolled back with its connection.
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  } finally {
    endTurn?.();
  }
}

async function retrying<T>(attempt: () => Promise<T>): Promise<T> {
  let restarts = 0;
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof RestartError && restarts < MAX_RESTARTS) {
        restarts += 1;
        continue;
      }
      const waitMs = RETRY_WAITS_MS[failures];
      if (!isWorthRetry(error) || waitMs === undefined) throw error;
      failures += 1;
      await sleep(waitMs);
    }
  }
}

function isWorthRetry(error: unknown): boolean {
  return isAway(error) || (error instanceof PostgresError && (error.code === SERIALIZATION_FAILURE || error.code === DEADLOCK));
}

/** Whether the connection or the server is gone, or has no room. */
export function isAway(error: unknown): boolean {
  return error instanceof PostgresError && (error.code === undefined || AWAY.test(error.code));
}

/** pg's errors hold details, which may be what a row holds: only their message and code go on. */
function cleaned(error: unknown): PostgresError {
  if (error instanceof PostgresError) return error;
  const messages = error instanceof AggregateError ? error.errors.map(String) : [error instanceof Error ? error.message : String(error)];
  // Only what the server itself says carries an SQLSTATE: the code of a socket's error (EPIPE) can look like one.
  const code = error instanceof DatabaseError ? error.code : undefined;
  return new PostgresError(`Postgres: ${messages.join("; ")}${code === undefined ? "" : ` (${code})`}`, code);
}

/** Text of a column. Throws when there is none. */
export function text(row: Row | undefined, column: string): string {
  const value = row?.[column];
  if (typeof value !== "string") throw new Error(`the store has no text in ${column}`);
  return value;
}

export function optionalText(row: Row, column: string): string | undefined {
  const value = row[column];
  return typeof value === "string" ? value : undefined;
}

/** A whole number of a column; bigint comes as text. */
export function integer(row: Row | undefined, column: string): number {
  const value = row?.[column];
  const number = typeof value === "string" || typeof value === "number" ? Number(value) : NaN;
  if (!Number.isSafeInteger(number)) throw new Error(`the store has no number in ${column}`);
  return number;
}
