-- Grants of users: who gave them and since when, the same for a whole project, and both told on every instance. A user is the `sub` of a token:
-- text, for not every issuer uses UUIDs. database_permissions keeps the type it was published with.
ALTER TABLE platform.database_permissions
  ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  ADD COLUMN IF NOT EXISTS granted_by TEXT;

UPDATE platform.database_permissions SET updated_at = created_at WHERE created_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS idx_database_permissions_user_id ON platform.database_permissions(user_id);

CREATE TABLE IF NOT EXISTS platform.project_permissions (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  project_id UUID NOT NULL REFERENCES platform.projects(id) ON DELETE CASCADE,
  user_id TEXT NOT NULL CHECK (length(user_id) BETWEEN 1 AND 255),
  role TEXT NOT NULL CHECK (role IN ('admin', 'read', 'write')),
  granted_by TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  UNIQUE (project_id, user_id)
);

CREATE INDEX IF NOT EXISTS idx_project_permissions_user_id ON platform.project_permissions(user_id);

CREATE OR REPLACE TRIGGER update_database_permissions_updated_at
  BEFORE UPDATE ON platform.database_permissions
  FOR EACH ROW
  EXECUTE FUNCTION platform.update_updated_at_column();

CREATE OR REPLACE TRIGGER update_project_permissions_updated_at
  BEFORE UPDATE ON platform.project_permissions
  FOR EACH ROW
  EXECUTE FUNCTION platform.update_updated_at_column();

-- The id told is the user's. An update may take a grant from one user and give it to another.
CREATE OR REPLACE FUNCTION platform.notify_grant_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
  told TEXT;
BEGIN
  FOR told IN
    SELECT DISTINCT id
    FROM (VALUES
      (CASE WHEN TG_OP <> 'INSERT' THEN OLD.user_id::text END),
      (CASE WHEN TG_OP <> 'DELETE' THEN NEW.user_id::text END)
    ) AS users(id)
    WHERE id IS NOT NULL
  LOOP
    PERFORM pg_catalog.pg_notify(
      'bun_api_changes',
      pg_catalog.json_build_object('table', TG_TABLE_NAME, 'id', told, 'version', 0, 'op', TG_OP)::text
    );
  END LOOP;
  RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER notify_database_permissions
  AFTER INSERT OR UPDATE OR DELETE ON platform.database_permissions
  FOR EACH ROW
  EXECUTE FUNCTION platform.notify_grant_change();

CREATE OR REPLACE TRIGGER notify_project_permissions
  AFTER INSERT OR UPDATE OR DELETE ON platform.project_permissions
  FOR EACH ROW
  EXECUTE FUNCTION platform.notify_grant_change();
