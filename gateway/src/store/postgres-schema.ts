import { randomUUID } from "node:crypto";
import { integer, optionalText, text } from "./postgres-connection.ts";
import type { Database, Queryable } from "./postgres-connection.ts";

/**
 * What brings a database of the version that is the index to the next one.
 *
 * `events.body` is the canonical JSON text that `hash` covers, byte for byte. `counter` has one row, changed as the last thing of each transaction that
 * changes a record or a budget: who has it has the lock, so that versions and positions become visible in their order. `version` counts changes
 * of records, `position` those of records and budgets. Times are texts of one form whose order is that of time. Text that is compared has the
 * collation of its bytes, so that all replicas lock in one order. Payloads are bytes: text in Postgres holds no NUL.
 */
const MIGRATIONS: readonly string[] = [
  `
CREATE TABLE counter (one boolean PRIMARY KEY DEFAULT true CHECK (one), version bigint NOT NULL, position bigint NOT NULL);
INSERT INTO counter (version, position) VALUES (0, 0);
CREATE TABLE records (
  uid text COLLATE "C" PRIMARY KEY,
  namespace text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  namespace_uid text NOT NULL,
  ordinal bigint NOT NULL,
  bundle text NOT NULL,
  bundle_digest text NOT NULL,
  bind_key text NOT NULL,
  state text NOT NULL,
  batch text,
  runner_pod text,
  runner_connected boolean NOT NULL DEFAULT false,
  runner_since text NOT NULL,
  runner_replica text,
  acknowledged boolean NOT NULL DEFAULT false,
  due_at text COLLATE "C",
  finished_at text COLLATE "C",
  corrupt text,
  last_seq integer NOT NULL,
  last_hash text NOT NULL,
  version bigint NOT NULL,
  position bigint NOT NULL
);
CREATE INDEX records_by_name ON records (namespace, name, ordinal);
CREATE INDEX records_by_version ON records (version);
CREATE INDEX records_by_position ON records (position);
CREATE INDEX records_live ON records (version) WHERE NOT acknowledged;
CREATE INDEX records_due ON records (due_at) WHERE due_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX records_old ON records (finished_at) WHERE acknowledged;
CREATE INDEX records_connected ON records (uid) WHERE runner_connected;
CREATE TABLE events (
  uid text COLLATE "C" NOT NULL,
  seq integer NOT NULL,
  type text NOT NULL,
  body text NOT NULL,
  hash text NOT NULL,
  PRIMARY KEY (uid, seq)
);
CREATE TABLE blobs (uid text COLLATE "C" NOT NULL, sha256 text NOT NULL, content bytea NOT NULL, PRIMARY KEY (uid, sha256));
CREATE TABLE pods (pod_uid text PRIMARY KEY, session_uid text COLLATE "C" NOT NULL, component text NOT NULL, pod_name text NOT NULL);
CREATE INDEX pods_by_session ON pods (session_uid);
CREATE TABLE ledger (
  day text COLLATE "C" NOT NULL,
  environment_uid text COLLATE "C" NOT NULL,
  namespace text COLLATE "C" NOT NULL,
  agent text COLLATE "C" NOT NULL,
  environment text NOT NULL,
  sessions bigint NOT NULL,
  requests bigint NOT NULL,
  input_tokens bigint NOT NULL,
  cached_input_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  cost numeric NOT NULL,
  uncertain numeric NOT NULL,
  reserved numeric NOT NULL,
  PRIMARY KEY (environment_uid, day, namespace, agent)
);
CREATE INDEX ledger_by_namespace ON ledger (namespace, day);
CREATE TABLE budgets (environment_uid text COLLATE "C" PRIMARY KEY, cost_per_day text, position bigint NOT NULL);
CREATE TABLE replicas (id text PRIMARY KEY, seen timestamptz NOT NULL);
`,
];

/** The channel on which replicas hear of a commit: they ask for what comes after the position that they know. */
export const CHANGES = "paddock_changes";

/** Replicas that start at once prepare one after the other. Any constant will do. */
const SCHEMA_LOCK = "7226127402";

/**
 * Makes the tables, or brings them to this release's version. Resolves with the store's identity. Rejects when they are of a newer release, or when the
 * server would not keep what it acknowledges.
 */
export async function prepareSchema(database: Database): Promise<string> {
  return database.transact(async (transaction) => {
    await refuseCareless(transaction);
    await transaction.query("SELECT pg_advisory_xact_lock($1::bigint)", [SCHEMA_LOCK]);
    await transaction.query("CREATE TABLE IF NOT EXISTS meta (key text PRIMARY KEY, value text NOT NULL)");
    const [row] = await transaction.query("SELECT value FROM meta WHERE key = 'schema'");
    const version = row === undefined ? 0 : Number(text(row, "value"));
    if (version > MIGRATIONS.length) {
      throw new Error(`the Postgres database has schema version ${version} and this release knows ${MIGRATIONS.length}: start the release that wrote it, or a newer one`);
    }
    for (const migration of MIGRATIONS.slice(version)) await transaction.query(migration);
    await transaction.query("INSERT INTO meta (key, value) VALUES ('schema', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value", [String(MIGRATIONS.length)]);
    await transaction.query("INSERT INTO meta (key, value) VALUES ('incarnation', $1) ON CONFLICT (key) DO NOTHING", [randomUUID()]);
    const [incarnation] = await transaction.query("SELECT value FROM meta WHERE key = 'incarnation'");
    return text(incarnation, "value");
  });
}

const OLDEST_SERVER = 15;

/** Settings under which an acknowledged event could be lost, or a text not be what was stored. */
async function refuseCareless(transaction: Queryable): Promise<void> {
  const sql = `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('server_encoding') AS encoding, current_setting('server_version_num')::integer / 10000 AS version`;
  const [row = {}] = await transaction.query(sql);
  if (integer(row, "version") < OLDEST_SERVER) throw new Error(`the Postgres server is version ${integer(row, "version")}: use ${OLDEST_SERVER} or newer`);
  if (optionalText(row, "encoding") !== "UTF8") throw new Error(`the Postgres database has encoding ${text(row, "encoding")}: make it with ENCODING 'UTF8'`);
  for (const setting of ["fsync", "synchronous_commit"]) {
    if (optionalText(row, setting) === "off") throw new Error(`the Postgres server has ${setting} = off, so that it could lose what it acknowledged: set it to on`);
  }
}
