/**
 * Ordinary and partitioned tables with keys and foreign keys, one JSON document a row, in order of schema, name and id.
 * `$1 … $5`: id, included schemas, excluded schemas (`text[]` literals), limit, offset; each null for none.
 *
 * Written to stay linear where the catalog's statistics are those of an empty database: what hangs on one table or column is looked up
 * through its index, and foreign keys, which have no index on their target, are told by an expression that has no statistics, because
 * `contype = 'f'` would be taken for one row and joined by nested loop.
 */
export const tablesSql = (columns: boolean) => `
with picked as materialized (
  select c.oid, s.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
    pg_catalog.pg_has_role(c.relowner, 'USAGE') as owned
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p')
    and ($1::pg_catalog.oid is null or c.oid = $1::pg_catalog.oid)
    and ($2::pg_catalog.text[] is null or s.nspname = any ($2::pg_catalog.text[]))
    and ($3::pg_catalog.text[] is null or s.nspname <> all ($3::pg_catalog.text[]))
    and not pg_catalog.pg_is_other_temp_schema(s.oid)
    and (
      pg_catalog.pg_has_role(c.relowner, 'USAGE')
      or pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
      or pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
    )
  order by s.nspname, c.relname, c.oid
  limit $4::pg_catalog.int8 offset $5::pg_catalog.int8
),
foreign_keys as materialized (
  select f.conrelid, f.confrelid, f.conname, f.oid, k.position, pg_catalog.json_build_object(
    'id', f.oid::pg_catalog.int8,
    'constraint_name', f.conname,
    'source_schema', ss.nspname,
    'source_table_name', sc.relname,
    'source_column_name', sa.attname,
    'target_table_schema', ts.nspname,
    'target_table_name', tc.relname,
    'target_column_name', ta.attname
  ) as relationship
  from pg_catalog.pg_constraint f
  cross join lateral rows from (pg_catalog.unnest(f.conkey), pg_catalog.unnest(f.confkey))
    with ordinality as k (source, target, position)
  join pg_catalog.pg_class sc on sc.oid = f.conrelid
  join pg_catalog.pg_namespace ss on ss.oid = sc.relnamespace
  join pg_catalog.pg_attribute sa on sa.attrelid = f.conrelid and sa.attnum = k.source
  join pg_catalog.pg_class tc on tc.oid = f.confrelid
  join pg_catalog.pg_namespace ts on ts.oid = tc.relnamespace
  join pg_catalog.pg_attribute ta on ta.attrelid = f.confrelid and ta.attnum = k.target
  where pg_catalog.cardinality(f.confkey) > 0
    and (f.conrelid in (select oid from picked) or f.confrelid in (select oid from picked))
),
relationships as materialized (
  select side.relid, pg_catalog.json_agg(side.relationship order by side.conname, side.oid, side.position) as list
  from (
    select conrelid as relid, conname, oid, position, relationship from foreign_keys
    union all
    select confrelid, conname, oid, position, relationship from foreign_keys where confrelid <> conrelid
  ) as side
  group by side.relid
)
select pg_catalog.json_build_object(
  'id', p.oid::pg_catalog.int8,
  'schema', p.nspname,
  'name', p.relname,
  'rls_enabled', p.relrowsecurity,
  'rls_forced', p.relforcerowsecurity,
  'replica_identity', case p.relreplident when 'd' then 'DEFAULT' when 'i' then 'INDEX' when 'f' then 'FULL' else 'NOTHING' end,
  'bytes', size.bytes,
  'size', pg_catalog.pg_size_pretty(size.bytes),
  'live_rows_estimate', pg_catalog.pg_stat_get_live_tuples(p.oid),
  'dead_rows_estimate', pg_catalog.pg_stat_get_dead_tuples(p.oid),
  'comment', (
    select d.description
    from pg_catalog.pg_description d
    where d.objoid = p.oid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
  ),
  'primary_keys', coalesce((
    select pg_catalog.json_agg(
      pg_catalog.json_build_object(
        'schema', p.nspname, 'table_name', p.relname, 'name', a.attname, 'table_id', p.oid::pg_catalog.int8
      ) order by k.position
    )
    from pg_catalog.pg_index i
    cross join lateral pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality as k (attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = p.oid and i.indisprimary and k.position <= i.indnkeyatts
  ), '[]'),
  'relationships', coalesce(r.list, '[]')${columns ? `,\n  'columns', coalesce((${columnsSql}), '[]')` : ''}
)::pg_catalog.text as document
from picked p
cross join lateral (select coalesce(pg_catalog.pg_total_relation_size(p.oid), 0) as bytes offset 0) as size
left join relationships r on r.relid = p.oid
order by p.nspname, p.relname, p.oid`

/** The columns of table `p` that the role may use. A domain shows its base type, one level down. */
const columnsSql = `
    select pg_catalog.json_agg(
      pg_catalog.json_build_object(
        'table_id', p.oid::pg_catalog.int8,
        'schema', p.nspname,
        'table', p.relname,
        'id', p.oid || '.' || a.attnum,
        'ordinal_position', a.attnum,
        'name', a.attname,
        'default_value', (
          select pg_catalog.pg_get_expr(e.adbin, e.adrelid)
          from pg_catalog.pg_attrdef e
          where e.adrelid = a.attrelid and e.adnum = a.attnum
        ),
        'data_type', case
          when b.typelem <> 0 and b.typlen = -1 then 'ARRAY'
          when b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace then pg_catalog.format_type(b.oid, null)
          else 'USER-DEFINED'
        end,
        'format', b.typname,
        'is_identity', a.attidentity <> '',
        'identity_generation', case a.attidentity when 'a' then 'ALWAYS' when 'd' then 'BY DEFAULT' end,
        'is_generated', a.attgenerated <> '',
        'is_nullable', not (a.attnotnull or t.typtype = 'd' and t.typnotnull),
        'is_updatable', true,
        'is_unique', exists (
          select from pg_catalog.pg_constraint u
          where u.conrelid = a.attrelid and u.contype = 'u' and u.conkey = array[a.attnum]
        ),
        'enums', array(
          select n.enumlabel
          from pg_catalog.pg_enum n
          where n.enumtypid = case b.typelem when 0 then b.oid else b.typelem end
          order by n.enumsortorder
        ),
        'check', (
          select pg_catalog.pg_get_expr(c.conbin, c.conrelid, true)
          from pg_catalog.pg_constraint c
          where c.conrelid = a.attrelid and c.contype = 'c' and c.conkey = array[a.attnum]
          order by c.oid
          limit 1
        ),
        'comment', (
          select d.description
          from pg_catalog.pg_description d
          where d.objoid = a.attrelid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = a.attnum
        )
      ) order by a.attnum
    )
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    join pg_catalog.pg_type b on b.oid = case t.typtype when 'd' then t.typbasetype else t.oid end
    where a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped
      and (p.owned or pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT, INSERT, UPDATE, REFERENCES'))
  `
