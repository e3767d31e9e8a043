import type { Sql } from 'postgres'
import type { ServerInfo } from '../engine.ts'

/** What the server, the database and the role say of themselves; the size, for which the server asks for each file, only where it is wanted. */
export async function readInfo(sql: Sql, isSized: boolean): Promise<ServerInfo> {
  const [row] = await sql<
    [
      {
        version: string
        number: string
        uptime: string
        size: string | null
        standby: boolean
        superuser: string
        user: string
        encoding: string
        max_connections: string
        connections: string
      },
    ]
  >`select pg_catalog.current_setting('server_version') as version, pg_catalog.current_setting('server_version_num') as number,
      extract(epoch from pg_catalog.now() - pg_catalog.pg_postmaster_start_time())::int8::text as uptime,
      case when ${isSized}::bool then pg_catalog.pg_database_size(pg_catalog.current_database())::text end as size, pg_catalog.pg_is_in_recovery() as standby,
      pg_catalog.current_setting('is_superuser') as superuser, current_user::text as user,
      pg_catalog.current_setting('server_encoding') as encoding, pg_catalog.current_setting('max_connections') as max_connections,
      (select count(*)::text from pg_catalog.pg_stat_activity where datname = pg_catalog.current_database()) as connections`
  const superuser = row.superuser === 'on'
  return {
    product: 'PostgreSQL',
    version: row.version,
    uptime_seconds: Number(row.uptime),
    size_bytes: row.size === null ? null : Number(row.size),
    role: row.standby ? 'standby' : 'primary',
    engine: {
      server_version_num: Number(row.number),
      user: row.user,
      is_superuser: superuser,
      server_encoding: row.encoding,
      connections: Number(row.connections),
      max_connections: Number(row.max_connections),
    },
    warnings: superuser
      ? [
          'The role is a superuser: nothing in the server limits what a query may do. Register a role with fewer rights.',
        ]
      : [],
  }
}
