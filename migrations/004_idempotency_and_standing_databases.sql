-- Answers of POST requests that carried an Idempotency-Key, kept 24 hours. The answer is sealed: it may hold rows of a registered database.
CREATE TABLE IF NOT EXISTS platform.idempotency_keys (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  -- NULL while the first request runs.
  status INTEGER,
  answer TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  PRIMARY KEY (scope, key)
);

CREATE INDEX IF NOT EXISTS idx_idempotency_keys_created_at ON platform.idempotency_keys(created_at);

-- Stores of the operator's environment that were registered once, so that a removed one does not come back at the next start.
CREATE TABLE IF NOT EXISTS platform.standing_databases (
  name TEXT PRIMARY KEY,
  registered_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
