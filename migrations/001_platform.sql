-- Supabase Studio may own these tables already: what exists is left exactly as it is.
-- A plain CREATE SCHEMA IF NOT EXISTS wants the right to create schemas even where the schema exists.
DO $$
BEGIN
  IF to_regnamespace('platform') IS NULL THEN
    CREATE SCHEMA platform;
  END IF;

  IF to_regprocedure('platform.update_updated_at_column()') IS NULL THEN
    CREATE FUNCTION platform.update_updated_at_column()
    RETURNS trigger
    LANGUAGE plpgsql
    AS $function$
    BEGIN
      NEW.updated_at = pg_catalog.now();
      RETURN NEW;
    END;
    $function$;
  END IF;

  IF to_regclass('platform.organizations') IS NULL THEN
    CREATE TABLE platform.organizations (
      id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
      name TEXT NOT NULL,
      slug TEXT UNIQUE NOT NULL,
      billing_email TEXT,
      created_at TIMESTAMPTZ DEFAULT NOW(),
      updated_at TIMESTAMPTZ DEFAULT NOW()
    );

    CREATE TRIGGER update_organizations_updated_at
      BEFORE UPDATE ON platform.organizations
      FOR EACH ROW
      EXECUTE FUNCTION platform.update_updated_at_column();
  END IF;

  IF to_regclass('platform.projects') IS NULL THEN
    CREATE TABLE platform.projects (
      id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
      organization_id UUID REFERENCES platform.organizations(id) ON DELETE CASCADE,
      name TEXT NOT NULL,
      slug TEXT NOT NULL,
      ref TEXT UNIQUE NOT NULL,
      database_host TEXT NOT NULL,
      database_port INTEGER DEFAULT 5432,
      database_name TEXT NOT NULL,
      database_user TEXT NOT NULL,
      database_password TEXT NOT NULL,
      postgres_meta_url TEXT,
      supabase_url TEXT,
      status TEXT DEFAULT 'ACTIVE_HEALTHY',
      created_at TIMESTAMPTZ DEFAULT NOW(),
      updated_at TIMESTAMPTZ DEFAULT NOW()
    );

    CREATE TRIGGER update_projects_updated_at
      BEFORE UPDATE ON platform.projects
      FOR EACH ROW
      EXECUTE FUNCTION platform.update_updated_at_column();
  END IF;

  IF to_regclass('platform.credentials') IS NULL THEN
    CREATE TABLE platform.credentials (
      id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
      project_id UUID UNIQUE REFERENCES platform.projects(id) ON DELETE CASCADE,
      anon_key TEXT NOT NULL,
      service_role_key TEXT NOT NULL,
      jwt_secret TEXT NOT NULL,
      created_at TIMESTAMPTZ DEFAULT NOW(),
      updated_at TIMESTAMPTZ DEFAULT NOW()
    );

    CREATE TRIGGER update_credentials_updated_at
      BEFORE UPDATE ON platform.credentials
      FOR EACH ROW
      EXECUTE FUNCTION platform.update_updated_at_column();
  END IF;
END;
$$;
