import type { ISql } from 'postgres'

/** The columns of a `DatabaseRow`, from the view or what looks like it. */
export function columns(sql: ISql) {
  return sql`
    id, project_id, name, type::text, description, connection_string, masked_connection_string, host, port, database_name, username,
    case jsonb_typeof(config) when 'object' then config else '{}' end as config, coalesce(status, 'inactive') as status,
    ${iso(sql, 'last_connected_at')}, ${iso(sql, 'created_at')}, ${iso(sql, 'updated_at')},
    version::float8 as version, project_name, project_ref, organization_name, organization_slug`
}

/** A timestamp column as ISO 8601 text in UTC with its microseconds, which a JS Date would lose. */
export function iso(sql: ISql, column: 'last_connected_at' | 'created_at' | 'updated_at') {
  // Studio's own table lets both be NULL.
  const value = column === 'last_connected_at' ? column : `coalesce(${column}, 'epoch')`
  return sql.unsafe(`to_char(${value} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${column}`) as never
}
