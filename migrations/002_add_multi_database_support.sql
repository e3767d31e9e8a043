-- Studio's own 002 may have run here, whole or in part: each object is made only where it is missing.
DO $$
BEGIN
  IF to_regtype('platform.database_type') IS NULL THEN
    CREATE TYPE platform.database_type AS ENUM ('postgres', 'redis', 'mongodb', 'bun_api');
  END IF;
END;
$$;

CREATE TABLE IF NOT EXISTS platform.databases (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  project_id UUID NOT NULL REFERENCES platform.projects(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  type platform.database_type NOT NULL,
  description TEXT,
  connection_string TEXT NOT NULL,
  host TEXT,
  port INTEGER,
  database_name TEXT,
  username TEXT,
  config JSONB NOT NULL DEFAULT '{}',
  status TEXT NOT NULL DEFAULT 'active',
  last_connected_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  UNIQUE (project_id, name),
  CHECK (name ~ '^[a-z0-9-]+$')
);

CREATE INDEX IF NOT EXISTS idx_databases_project_id ON platform.databases(project_id);
CREATE INDEX IF NOT EXISTS idx_databases_type ON platform.databases(type);
CREATE INDEX IF NOT EXISTS idx_databases_status ON platform.databases(status);
CREATE INDEX IF NOT EXISTS idx_databases_project_type ON platform.databases(project_id, type);
CREATE INDEX IF NOT EXISTS idx_databases_status_active ON platform.databases(status) WHERE status = 'active';

-- The view's columns are listed, so that a later migration can append one.
DO $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_trigger
    WHERE tgrelid = 'platform.databases'::regclass AND tgname = 'update_databases_updated_at'
  ) THEN
    CREATE TRIGGER update_databases_updated_at
      BEFORE UPDATE ON platform.databases
      FOR EACH ROW
      EXECUTE FUNCTION platform.update_updated_at_column();
  END IF;

  IF to_regclass('platform.databases_with_projects') IS NULL THEN
    CREATE VIEW platform.databases_with_projects AS
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
      o.slug AS organization_slug
    FROM platform.databases d
    JOIN platform.projects p ON d.project_id = p.id
    JOIN platform.organizations o ON p.organization_id = o.id;
  END IF;
END;
$$;

-- CREATE OR REPLACE cannot change a result type. An SQL function that is not a set gives a row of nulls for "none".
DO $$
DECLARE
  outdated regprocedure;
BEGIN
  FOR outdated IN
    SELECT p.oid
    FROM pg_catalog.pg_proc p
    WHERE p.oid IN (
        to_regprocedure('platform.get_databases_by_project(text)'),
        to_regprocedure('platform.get_database_by_name(text, text)')
      )
      AND NOT (p.proretset AND p.prorettype = 'platform.databases'::regtype)
  LOOP
    EXECUTE format('DROP FUNCTION %s', outdated);
  END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION platform.get_databases_by_project(project_ref TEXT)
RETURNS SETOF platform.databases
LANGUAGE SQL
STABLE
AS $$
  SELECT d.*
  FROM platform.databases d
  JOIN platform.projects p ON d.project_id = p.id
  WHERE p.ref = get_databases_by_project.project_ref
  ORDER BY d.created_at DESC, d.id DESC;
$$;

-- Unqualified, database_name is also a column of both tables: ambiguous.
CREATE OR REPLACE FUNCTION platform.get_database_by_name(project_ref TEXT, database_name TEXT)
RETURNS SETOF platform.databases
LANGUAGE SQL
STABLE
AS $$
  SELECT d.*
  FROM platform.databases d
  JOIN platform.projects p ON d.project_id = p.id
  WHERE p.ref = get_database_by_name.project_ref AND d.name = get_database_by_name.database_name
  LIMIT 1;
$$;

CREATE TABLE IF NOT EXISTS platform.database_permissions (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  database_id UUID NOT NULL REFERENCES platform.databases(id) ON DELETE CASCADE,
  user_id UUID NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('admin', 'read', 'write')),
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  UNIQUE (database_id, user_id)
);

-- No foreign key: the log outlives its database.
CREATE TABLE IF NOT EXISTS platform.database_audit_log (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  database_id UUID,
  operation TEXT,
  user_id UUID,
  metadata JSONB,
  created_at TIMESTAMPTZ DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_audit_log_database_id ON platform.database_audit_log(database_id);
CREATE INDEX IF NOT EXISTS idx_audit_log_created_at ON platform.database_audit_log(created_at DESC);

CREATE MATERIALIZED VIEW IF NOT EXISTS platform.database_stats AS
SELECT
  type,
  COUNT(*) AS total,
  COUNT(*) FILTER (WHERE status = 'active') AS active,
  COUNT(*) FILTER (WHERE last_connected_at > NOW() - INTERVAL '1 hour') AS recently_connected
FROM platform.databases
GROUP BY type;

-- REFRESH MATERIALIZED VIEW CONCURRENTLY wants a unique index.
CREATE UNIQUE INDEX IF NOT EXISTS database_stats_type_key ON platform.database_stats(type);
