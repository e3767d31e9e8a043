-- What is shown of a database beside its definition: its status, and the names of its project and organization. Their changes are told too,
-- so that rows may be served from memory. Studio may own these tables: where the right to make triggers is missing, rows are shown as they
-- were for at most CACHE_TTL.
CREATE OR REPLACE FUNCTION platform.notify_shown_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  PERFORM pg_catalog.pg_notify(
    'bun_api_changes',
    pg_catalog.json_build_object('table', TG_TABLE_NAME, 'id', NEW.id, 'version', 0, 'op', TG_OP)::text
  );
  RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER notify_databases_status
  AFTER UPDATE OF status ON platform.databases
  FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status)
  EXECUTE FUNCTION platform.notify_shown_change();

DO $$
BEGIN
  CREATE OR REPLACE TRIGGER notify_projects_names
    AFTER UPDATE ON platform.projects
    FOR EACH ROW
    WHEN ((OLD.name, OLD.ref, OLD.organization_id) IS DISTINCT FROM (NEW.name, NEW.ref, NEW.organization_id))
    EXECUTE FUNCTION platform.notify_shown_change();

  CREATE OR REPLACE TRIGGER notify_organizations_names
    AFTER UPDATE ON platform.organizations
    FOR EACH ROW
    WHEN ((OLD.name, OLD.slug) IS DISTINCT FROM (NEW.name, NEW.slug))
    EXECUTE FUNCTION platform.notify_shown_change();
EXCEPTION
  WHEN insufficient_privilege THEN
    RAISE NOTICE 'changes of projects and organizations are not told';
END;
$$;
