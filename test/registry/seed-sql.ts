/** Studio's 001, as its README has it; `uuid_generate_v4` is uuid-ossp's, which not every test server ships. */
export const studioTables = `
  create schema platform;
  create function public.uuid_generate_v4() returns uuid language sql as 'select gen_random_uuid()';
  create table platform.organizations (
    id uuid primary key default uuid_generate_v4(),
    name text not null,
    slug text unique not null,
    billing_email text,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
  );
  create table platform.projects (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid references platform.organizations(id) on delete cascade,
    name text not null,
    slug text not null,
    ref text unique not null,
    database_host text not null,
    database_port integer default 5432,
    database_name text not null,
    database_user text not null,
    database_password text not null,
    postgres_meta_url text,
    supabase_url text,
    status text default 'ACTIVE_HEALTHY',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
  );
  create table platform.credentials (
    id uuid primary key default uuid_generate_v4(),
    project_id uuid unique references platform.projects(id) on delete cascade,
    anon_key text not null,
    service_role_key text not null,
    jwt_secret text not null,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
  );
  insert into platform.organizations (name, slug) values ('Acme', 'acme');
  insert into platform.projects
    (organization_id, name, slug, ref, database_host, database_name, database_user, database_password)
    select id, 'Shop', 'shop', 'shop', 'db', 'postgres', 'postgres', 'sealed' from platform.organizations;
  insert into platform.credentials (project_id, anon_key, service_role_key, jwt_secret)
    select id, 'a', 's', 'j' from platform.projects;
`

/** The function as published: PostgreSQL refuses to make it (42702), unless bodies are not checked, as in a restored dump. */
export const ambiguousFunction = `
  create function platform.get_database_by_name(project_ref text, database_name text)
  returns platform.databases as $$
    select d.*
    from platform.databases d
    join platform.projects p on d.project_id = p.id
    where p.ref = project_ref and d.name = database_name
    limit 1;
  $$ language sql stable
`

/** The published 002 and the sections that add to it, statement by statement, with `gen_random_uuid()`. */
export const seedStatements: readonly string[] = [
  `create type platform.database_type as enum ('postgres', 'redis', 'mongodb', 'bun_api')`,
  `create table platform.databases (
    id uuid primary key default gen_random_uuid(),
    project_id uuid references platform.projects(id) on delete cascade,
    name text not null,
    type platform.database_type not null,
    description text,
    connection_string text not null,
    host text,
    port integer,
    database_name text,
    username text,
    config jsonb default '{}',
    status text default 'active',
    last_connected_at timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    unique (project_id, name),
    check (name ~ '^[a-z0-9-]+$')
  )`,
  'create index idx_databases_project_id on platform.databases(project_id)',
  'create index idx_databases_type on platform.databases(type)',
  'create index idx_databases_status on platform.databases(status)',
  `create trigger update_databases_updated_at before update on platform.databases
    for each row execute function platform.update_updated_at_column()`,
  `create view platform.databases_with_projects as
    select d.*, p.name as project_name, p.ref as project_ref, o.name as organization_name, o.slug as organization_slug
    from platform.databases d
    join platform.projects p on d.project_id = p.id
    join platform.organizations o on p.organization_id = o.id`,
  `create function platform.get_databases_by_project(project_ref text)
    returns setof platform.databases as $$
      select d.*
      from platform.databases d
      join platform.projects p on d.project_id = p.id
      where p.ref = project_ref
      order by d.created_at desc;
    $$ language sql stable`,
  `set check_function_bodies = off; ${ambiguousFunction}; set check_function_bodies = on`,
  `create table platform.database_permissions (
    id uuid primary key default gen_random_uuid(),
    database_id uuid references platform.databases(id),
    user_id uuid,
    role text check (role in ('admin', 'read', 'write')),
    created_at timestamptz default now()
  )`,
  `create table platform.database_audit_log (
    id uuid primary key default gen_random_uuid(),
    database_id uuid references platform.databases(id),
    operation text,
    user_id uuid,
    metadata jsonb,
    created_at timestamptz default now()
  )`,
  'create index idx_audit_log_database_id on platform.database_audit_log(database_id)',
  'create index idx_audit_log_created_at on platform.database_audit_log(created_at desc)',
  'create index idx_databases_project_type on platform.databases(project_id, type)',
  `create index idx_databases_status_active on platform.databases(status) where status = 'active'`,
  `create materialized view platform.database_stats as
    select
      type,
      count(*) as total,
      count(*) filter (where status = 'active') as active,
      count(*) filter (where last_connected_at > now() - interval '1 hour') as recently_connected
    from platform.databases
    group by type`,
  'create index on platform.database_stats(type)',
]
