import type { Sql } from 'postgres'

/** What the catalog says of schema `platform`, a line per column, constraint, index, trigger, view, function and enum label. */
export async function catalogOf(sql: Sql, tables: readonly string[] | null = null): Promise<readonly string[]> {
  // The place is counted, not read: a dropped column leaves a gap. NOT NULL is an attribute on 15 and a constraint too on 18.
  const rows = await sql.unsafe<{ owner: string | null; line: string }[]>(`
    select c.relname as owner, 'column ' || c.relname || ' '
      || row_number() over (partition by c.oid order by a.attnum) || ' ' || a.attname || ' '
      || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
      || coalesce(pg_get_expr(d.adbin, d.adrelid), '-') as line
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid and c.relnamespace = 'platform'::regnamespace and c.relkind in ('r', 'v', 'm')
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped
    union all
    select c.relname, 'constraint ' || c.relname || ' ' || o.conname || ' ' || pg_get_constraintdef(o.oid)
    from pg_constraint o join pg_class c on c.oid = o.conrelid
    where o.connamespace = 'platform'::regnamespace and o.contype <> 'n'
    union all
    select tablename, 'index ' || indexdef from pg_indexes where schemaname = 'platform'
    union all
    select c.relname, 'trigger ' || pg_get_triggerdef(t.oid)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'platform'::regnamespace and not t.tgisinternal
    union all
    select relname, 'view ' || relname || pg_get_viewdef(oid)
    from pg_class where relnamespace = 'platform'::regnamespace and relkind in ('v', 'm')
    union all
    select null, 'function ' || pg_get_functiondef(oid) from pg_proc where pronamespace = 'platform'::regnamespace
    union all
    select null, 'label ' || t.typname || ' ' || e.enumsortorder || ' ' || e.enumlabel
    from pg_enum e join pg_type t on t.oid = e.enumtypid where t.typnamespace = 'platform'::regnamespace
  `)
  return rows
    .filter((row) => tables === null || tables.includes(row.owner ?? ''))
    .map((row) => row.line)
    .sort()
}
