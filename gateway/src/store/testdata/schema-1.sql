CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (
  uid TEXT PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  namespace_uid TEXT NOT NULL,
  ordinal INTEGER NOT NULL UNIQUE,
  bundle TEXT NOT NULL,
  bundle_digest TEXT NOT NULL,
  bind_key TEXT NOT NULL,
  state TEXT NOT NULL,
  batch TEXT,
  runner_pod TEXT,
  runner_connected INTEGER NOT NULL DEFAULT 0,
  runner_since TEXT NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL UNIQUE
) STRICT;
CREATE INDEX records_by_name ON records (namespace, name, ordinal);
CREATE INDEX records_live ON records (version) WHERE acknowledged = 0;
CREATE TABLE events (
  uid TEXT NOT NULL REFERENCES records (uid),
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  body TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (uid, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE pods (
  pod_uid TEXT PRIMARY KEY,
  session_uid TEXT NOT NULL REFERENCES records (uid),
  component TEXT NOT NULL,
  pod_name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
