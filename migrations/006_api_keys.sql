-- Scoped keys: found by their public prefix, proved by an HMAC of the whole secret, which itself is nowhere.
CREATE TABLE IF NOT EXISTS platform.api_keys (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  prefix TEXT NOT NULL UNIQUE,
  hash TEXT NOT NULL,
  -- The sealing key whose pepper the hash was made with.
  kid TEXT NOT NULL,
  name TEXT NOT NULL,
  project_id UUID NOT NULL REFERENCES platform.projects(id) ON DELETE CASCADE,
  -- NULL: every database of the project, later ones too. The id of a database that is gone may stay: it gives nothing.
  database_ids UUID[],
  role TEXT NOT NULL CHECK (role IN ('admin', 'read', 'write')),
  created_by TEXT NOT NULL,
  expires_at TIMESTAMPTZ,
  last_used_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_api_keys_project_id ON platform.api_keys(project_id);
CREATE INDEX IF NOT EXISTS idx_api_keys_created_at_id ON platform.api_keys(created_at DESC, id DESC);

-- Told by prefix, under which instances keep the row.
CREATE OR REPLACE FUNCTION platform.notify_api_key_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  PERFORM pg_catalog.pg_notify(
    'bun_api_changes',
    pg_catalog.json_build_object('table', TG_TABLE_NAME, 'id', OLD.prefix, 'version', 0, 'op', TG_OP)::text
  );
  RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER notify_api_keys_delete
  AFTER DELETE ON platform.api_keys
  FOR EACH ROW
  EXECUTE FUNCTION platform.notify_api_key_change();

-- Every change but the note of a use.
CREATE OR REPLACE TRIGGER notify_api_keys_update
  AFTER UPDATE ON platform.api_keys
  FOR EACH ROW
  WHEN (
    (OLD.id, OLD.prefix, OLD.hash, OLD.kid, OLD.project_id, OLD.database_ids, OLD.role, OLD.expires_at)
    IS DISTINCT FROM
    (NEW.id, NEW.prefix, NEW.hash, NEW.kid, NEW.project_id, NEW.database_ids, NEW.role, NEW.expires_at)
  )
  EXECUTE FUNCTION platform.notify_api_key_change();
