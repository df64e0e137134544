/** Version of the tables below; a store of a newer version is not opened, one of an older version is brought to this one by MIGRATIONS. */
export const SCHEMA_VERSION = 2;

const RECORD_INDEXES = `
CREATE INDEX records_by_name ON records (namespace, name, ordinal);
CREATE INDEX records_live ON records (version) WHERE acknowledged = 0;
CREATE INDEX records_due ON records (due_at) WHERE due_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX records_old ON records (finished_at) WHERE acknowledged = 1;
CREATE INDEX records_connected ON records (uid) WHERE runner_connected = 1;
`;

/** Tables that version 2 added. Money is decimal text: SQLite's integers end at 64 bits, and a sum of a hostile endpoint's counts does not. */
const ADDED_TABLES = `
CREATE TABLE bundles (uid TEXT PRIMARY KEY, bundle TEXT NOT NULL) STRICT;
CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE blob_references (
  uid TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (uid, sha256, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_references_by_blob ON blob_references (sha256);
CREATE TABLE ledger (
  day TEXT NOT NULL,
  environment_uid TEXT NOT NULL,
  namespace TEXT NOT NULL,
  agent TEXT NOT NULL,
  environment TEXT NOT NULL,
  sessions INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost TEXT NOT NULL,
  uncertain TEXT NOT NULL,
  reserved TEXT NOT NULL,
  PRIMARY KEY (day, environment_uid, namespace, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_by_namespace ON ledger (namespace, day);
CREATE TABLE budgets (environment_uid TEXT PRIMARY KEY, cost_per_day TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE expired (uid TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE INDEX pods_by_session ON pods (session_uid);
`;

/**
 * `events.body` is the canonical JSON text that `hash` covers, byte for byte. `records.state` is the fold of all events of the record, so
 * that a start reads no log again; `last_seq` and `last_hash` tell how its log ends even when `state` cannot be read. `versions` is the commit
 * order over all records. A bundle is beside its record: it never changes, and would be written again with each change of the row.
 * `expired` holds records that are gone and whose events are being deleted.
 */
export const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (
  uid TEXT PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  namespace_uid TEXT NOT NULL,
  ordinal INTEGER NOT NULL UNIQUE,
  bundle_digest TEXT NOT NULL,
  bind_key TEXT NOT NULL,
  batch TEXT,
  runner_pod TEXT,
  runner_connected INTEGER NOT NULL DEFAULT 0,
  runner_since TEXT NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL UNIQUE,
  due_at TEXT,
  finished_at TEXT,
  corrupt TEXT,
  last_seq INTEGER NOT NULL,
  last_hash TEXT NOT NULL,
  state TEXT NOT NULL
) STRICT;
CREATE TABLE events (
  uid TEXT NOT NULL,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  body TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (uid, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE pods (
  pod_uid TEXT PRIMARY KEY,
  session_uid TEXT NOT NULL,
  component TEXT NOT NULL,
  pod_name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
${ADDED_TABLES}${RECORD_INDEXES}`;

/** What brings a store of the version that is the key to the next one. A state that cannot be read is left for its events to tell. */
export const MIGRATIONS: Readonly<Record<number, string>> = {
  1: `
${ADDED_TABLES}
DROP INDEX records_by_name;
DROP INDEX records_live;
INSERT INTO bundles (uid, bundle) SELECT uid, bundle FROM records;
ALTER TABLE records DROP COLUMN bundle;
ALTER TABLE records ADD COLUMN due_at TEXT;
ALTER TABLE records ADD COLUMN finished_at TEXT;
ALTER TABLE records ADD COLUMN corrupt TEXT;
ALTER TABLE records ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN last_hash TEXT NOT NULL DEFAULT '';
UPDATE records SET
  finished_at = json_extract(state, '$.finished.at'),
  last_seq = coalesce(json_extract(state, '$.lastSeq'), 0),
  last_hash = coalesce(json_extract(state, '$.lastHash'), '')
WHERE json_valid(state);
UPDATE records SET
  last_seq = coalesce((SELECT max(seq) FROM events WHERE events.uid = records.uid), 0),
  last_hash = coalesce((SELECT hash FROM events WHERE events.uid = records.uid ORDER BY seq DESC LIMIT 1), '')
WHERE NOT json_valid(state);
${RECORD_INDEXES}`,
};
