-- Repairs of tables that Studio's own 002 made. The version column comes first: its lock keeps writers out of the rest.
ALTER TABLE platform.databases ADD COLUMN IF NOT EXISTS version BIGINT NOT NULL DEFAULT 1;

-- The connection string with its password as ****, so that showing a row opens nothing; NULL on rows of other programs.
ALTER TABLE platform.databases ADD COLUMN IF NOT EXISTS masked_connection_string TEXT;

DROP TRIGGER IF EXISTS update_databases_updated_at ON platform.databases;

ALTER TABLE platform.databases
  ALTER COLUMN config SET DEFAULT '{}',
  ALTER COLUMN status SET DEFAULT 'active';

UPDATE platform.databases SET config = '{}' WHERE config IS NULL;

-- Rows of Studio's that would break a NOT NULL stay, and so does their column.
DO $$
DECLARE
  wanted record;
  has_nulls boolean;
BEGIN
  FOR wanted IN
    SELECT * FROM (VALUES
      ('databases', 'project_id'),
      ('databases', 'config'),
      ('databases', 'status'),
      ('databases', 'created_at'),
      ('databases', 'updated_at'),
      ('database_permissions', 'database_id'),
      ('database_permissions', 'user_id'),
      ('database_permissions', 'role'),
      ('database_permissions', 'created_at')
    ) AS columns(table_name, column_name)
  LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM platform.%I WHERE %I IS NULL)', wanted.table_name, wanted.column_name)
      INTO has_nulls;
    IF NOT has_nulls THEN
      EXECUTE format('ALTER TABLE platform.%I ALTER COLUMN %I SET NOT NULL', wanted.table_name, wanted.column_name);
    END IF;
  END LOOP;
END;
$$;

DO $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint
    WHERE conrelid = 'platform.databases'::regclass AND conname = 'databases_status_check'
  ) THEN
    ALTER TABLE platform.databases
      ADD CONSTRAINT databases_status_check CHECK (status IN ('active', 'inactive', 'error')) NOT VALID;
  END IF;

  IF NOT EXISTS (SELECT FROM platform.databases WHERE status NOT IN ('active', 'inactive', 'error')) THEN
    ALTER TABLE platform.databases VALIDATE CONSTRAINT databases_status_check;
  END IF;
END;
$$;

-- Permissions go with their database, the audit log stays: foreign keys are found by what they do, whatever their names.
DO $$
DECLARE
  outdated record;
BEGIN
  FOR outdated IN
    SELECT conname, conrelid::regclass AS table_name
    FROM pg_catalog.pg_constraint
    WHERE contype = 'f'
      AND confrelid = 'platform.databases'::regclass
      AND (
        conrelid = 'platform.database_audit_log'::regclass
        OR (conrelid = 'platform.database_permissions'::regclass AND confdeltype <> 'c')
      )
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', outdated.table_name, outdated.conname);
  END LOOP;

  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint
    WHERE contype = 'f'
      AND confrelid = 'platform.databases'::regclass
      AND conrelid = 'platform.database_permissions'::regclass
  ) THEN
    ALTER TABLE platform.database_permissions
      ADD CONSTRAINT database_permissions_database_id_fkey
      FOREIGN KEY (database_id) REFERENCES platform.databases(id) ON DELETE CASCADE;
  END IF;

  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint
    WHERE contype = 'u'
      AND conrelid = 'platform.database_permissions'::regclass
      AND conname = 'database_permissions_database_id_user_id_key'
  ) THEN
    DELETE FROM platform.database_permissions older
    USING (
      SELECT id, row_number() OVER (PARTITION BY database_id, user_id ORDER BY created_at DESC NULLS LAST, id) AS place
      FROM platform.database_permissions
      WHERE database_id IS NOT NULL AND user_id IS NOT NULL
    ) ranked
    WHERE older.id = ranked.id AND ranked.place > 1;

    ALTER TABLE platform.database_permissions
      ADD CONSTRAINT database_permissions_database_id_user_id_key UNIQUE (database_id, user_id);
  END IF;
END;
$$;

-- Its unique sister of 002 does the same and lets the view be refreshed concurrently.
DROP INDEX IF EXISTS platform.database_stats_type_idx;

CREATE INDEX IF NOT EXISTS idx_databases_created_at_id ON platform.databases(created_at DESC, id DESC);

-- What the registry adds: a version that is the ETag and the generation of connections. The three triggers share one
-- condition, so that a health check writing status and last_connected_at disturbs nobody.
CREATE OR REPLACE FUNCTION platform.increment_database_version()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  NEW.version = OLD.version + 1;
  RETURN NEW;
END;
$$;

CREATE OR REPLACE FUNCTION platform.notify_database_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
  changed platform.databases := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  PERFORM pg_catalog.pg_notify(
    'bun_api_changes',
    pg_catalog.json_build_object('table', TG_TABLE_NAME, 'id', changed.id, 'version', changed.version, 'op', TG_OP)::text
  );
  RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER increment_databases_version
  BEFORE UPDATE ON platform.databases
  FOR EACH ROW
  WHEN (
    (OLD.project_id, OLD.name, OLD.type, OLD.description, OLD.connection_string,
      OLD.host, OLD.port, OLD.database_name, OLD.username, OLD.config)
    IS DISTINCT FROM
    (NEW.project_id, NEW.name, NEW.type, NEW.description, NEW.connection_string,
      NEW.host, NEW.port, NEW.database_name, NEW.username, NEW.config)
  )
  EXECUTE FUNCTION platform.increment_database_version();

CREATE TRIGGER update_databases_updated_at
  BEFORE UPDATE ON platform.databases
  FOR EACH ROW
  WHEN (
    (OLD.project_id, OLD.name, OLD.type, OLD.description, OLD.connection_string,
      OLD.host, OLD.port, OLD.database_name, OLD.username, OLD.config)
    IS DISTINCT FROM
    (NEW.project_id, NEW.name, NEW.type, NEW.description, NEW.connection_string,
      NEW.host, NEW.port, NEW.database_name, NEW.username, NEW.config)
  )
  EXECUTE FUNCTION platform.update_updated_at_column();

CREATE OR REPLACE TRIGGER notify_databases_update
  AFTER UPDATE ON platform.databases
  FOR EACH ROW
  WHEN (
    (OLD.project_id, OLD.name, OLD.type, OLD.description, OLD.connection_string,
      OLD.host, OLD.port, OLD.database_name, OLD.username, OLD.config)
    IS DISTINCT FROM
    (NEW.project_id, NEW.name, NEW.type, NEW.description, NEW.connection_string,
      NEW.host, NEW.port, NEW.database_name, NEW.username, NEW.config)
  )
  EXECUTE FUNCTION platform.notify_database_change();

CREATE OR REPLACE TRIGGER notify_databases_insert_delete
  AFTER INSERT OR DELETE ON platform.databases
  FOR EACH ROW
  EXECUTE FUNCTION platform.notify_database_change();

CREATE OR REPLACE VIEW platform.databases_with_projects AS
SELECT
  d.id,
  d.project_id,
  d.name,
  d.type,
  d.description,
  d.connection_string,
  d.host,
  d.port,
  d.database_name,
  d.username,
  d.config,
  d.status,
  d.last_connected_at,
  d.created_at,
  d.updated_at,
  p.name AS project_name,
  p.ref AS project_ref,
  o.name AS organization_name,
  o.slug AS organization_slug,
  d.version,
  d.masked_connection_string
FROM platform.databases d
JOIN platform.projects p ON d.project_id = p.id
LEFT JOIN platform.organizations o ON p.organization_id = o.id;

-- One row per sealing key: a value only that key opens, and how often it has sealed.
CREATE TABLE IF NOT EXISTS platform.key_canaries (
  kid TEXT PRIMARY KEY,
  sealed TEXT NOT NULL,
  seals BIGINT NOT NULL DEFAULT 0,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

INSERT INTO platform.organizations (name, slug) VALUES ('Default', 'default') ON CONFLICT DO NOTHING;

INSERT INTO platform.projects (
  organization_id, name, slug, ref, database_host, database_name, database_user, database_password
)
SELECT o.id, 'Default', 'default', 'default', '', '', '', ''
FROM platform.organizations o
WHERE o.slug = 'default'
ON CONFLICT DO NOTHING;
