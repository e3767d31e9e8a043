import type { ISql } from 'postgres'

import { ApiError, codeOf } from '../errors.ts'
import type { DatabaseRow, DatabaseStats, DatabaseStatus } from './database.ts'
import { uuids, type Visible } from './visible.ts'
import { columns } from './columns.ts'
import { countSeal } from './key-canaries.ts'
import type { RegistryDatabase } from './registry-database.ts'
import type { SealedColumns } from './sealed-columns.ts'
import { createSealedRows, type SealedRows } from './sealed-rows.ts'

export interface DatabaseFilter {
  readonly projectRef?: string | undefined
  readonly types?: readonly string[] | undefined
  readonly status?: DatabaseStatus | undefined
  readonly search?: string | undefined
  /** Only rows of these projects and these databases. */
  readonly visible?: Visible | undefined
  readonly limit: number
  /** Rows after this one in `created_at desc, id desc`. */
  readonly after?: { readonly createdAt: string; readonly id: string } | undefined
}

export interface NewDatabase extends SealedColumns {
  readonly id: string
  readonly project_id: string
  readonly name: string
  readonly type: string
  readonly description: string | null
  readonly config: Readonly<Record<string, unknown>>
  /** Whether the connection was tried: `last_connected_at` is then now. */
  readonly connected: boolean
}

/** The columns a PATCH may set, and no other ever. */
export const updatable = [
  'name',
  'description',
  'config',
  'connection_string',
  'masked_connection_string',
  'host',
  'port',
  'database_name',
  'username',
] as const
export type DatabaseChanges = { readonly [K in (typeof updatable)[number]]?: NewDatabase[K] } & {
  readonly connected?: boolean
}

/** `platform.databases` in SQL. Ids are UUIDs, checked by the caller. */
export interface DatabaseStore extends SealedRows {
  list(filter: DatabaseFilter): Promise<readonly DatabaseRow[]>
  get(id: string): Promise<DatabaseRow | undefined>
  getByName(projectRef: string, name: string): Promise<DatabaseRow | undefined>
  /** Counts one sealing under `kid` in the same transaction. Throws `CONFLICT` for a taken name, `NOT_FOUND` for a project that is gone. */
  create(database: NewDatabase, kid: string): Promise<DatabaseRow>
  /** Compare and set: `undefined` when the row is not at `version` any more. `kid` when the changes hold a newly sealed value. */
  update(
    id: string,
    version: number,
    changes: DatabaseChanges,
    kid: string | undefined,
  ): Promise<DatabaseRow | undefined>
  /** Answers whether a row went; with `version` only that one. */
  remove(id: string, version?: number): Promise<boolean>
  /** Notes how a connection attempt went, unless the row has changed since; moves neither version nor `updated_at`. */
  touch(row: Pick<DatabaseRow, 'id' | 'version'>, status: DatabaseStatus): Promise<void>
  /** Counts by type as of the last `refreshStats`; of what is visible, as of now. */
  stats(visible?: Visible): Promise<readonly DatabaseStats[]>
  refreshStats(): Promise<void>
}

const uniqueViolation = '23505'
const foreignKeyViolation = '23503'
const insufficientPrivilege = '42501'

export function createDatabaseStore(
  database: RegistryDatabase,
  options: { readonly maxSealsPerKey: number },
): DatabaseStore {
  return {
    list,
    get,
    getByName,
    create,
    update,
    remove,
    touch,
    stats,
    refreshStats,
    ...createSealedRows(database, options),
  }

  function list(filter: DatabaseFilter) {
    return database.use(
      (sql) => sql<DatabaseRow[]>`
        select ${columns(sql)} from platform.databases_with_projects d
        where true
          ${filter.visible === undefined ? sql`` : sql`and (project_id = any(${uuids(sql, filter.visible.projectIds)}) or d.id = any(${uuids(sql, filter.visible.databaseIds)}))`}
          ${filter.visible?.within === undefined ? sql`` : sql`and project_id = ${filter.visible.within}`}
          ${filter.projectRef === undefined ? sql`` : sql`and project_ref = ${filter.projectRef}`}
          ${filter.types === undefined ? sql`` : sql`and type::text in ${sql([...filter.types])}`}
          ${filter.status === undefined ? sql`` : sql`and coalesce(status, 'inactive') = ${filter.status}`}
          ${filter.search === undefined ? sql`` : sql`and (name ilike ${like(filter.search)} or description ilike ${like(filter.search)})`}
          ${filter.after === undefined ? sql`` : sql`and (d.created_at, d.id) < (${filter.after.createdAt}::timestamptz, ${filter.after.id}::uuid)`}
        order by d.created_at desc, d.id desc
        limit ${filter.limit}`,
    )
  }

  function get(id: string) {
    return database.use((sql) => selectOne(sql, id))
  }

  function getByName(projectRef: string, name: string) {
    return database.use(async (sql) => {
      const [row] = await sql<DatabaseRow[]>`
        select ${columns(sql)} from platform.databases_with_projects
        where id = (select id from platform.get_database_by_name(${projectRef}, ${name}))`
      return row
    })
  }

  function create(row: NewDatabase, kid: string) {
    return database.change((sql) =>
      sql
        .begin(async (tx) => {
          await countSeal(tx, kid, options.maxSealsPerKey)
          await tx`
            insert into platform.databases (
              id, project_id, name, type, description, connection_string, masked_connection_string,
              host, port, database_name, username, config, last_connected_at
            ) values (
              ${row.id}, ${row.project_id}, ${row.name}, ${row.type}, ${row.description}, ${row.connection_string},
              ${row.masked_connection_string}, ${row.host}, ${row.port}, ${row.database_name}, ${row.username},
              ${JSON.stringify(row.config)}, case when ${row.connected}::boolean then now() end
            )`
          return present(await selectOne(tx, row.id))
        })
        .catch(translateWrite),
    )
  }

  function update(id: string, version: number, changes: DatabaseChanges, kid: string | undefined) {
    const names = updatable.filter((name) => Object.hasOwn(changes, name))
    const values = Object.fromEntries(
      names.map((name) => [name, name === 'config' ? JSON.stringify(changes.config) : changes[name]]),
    )
    return database.change((sql) =>
      sql
        .begin(async (tx) => {
          if (kid !== undefined) await countSeal(tx, kid, options.maxSealsPerKey)
          const assignments = names.length === 0 ? tx`name = name` : tx(values, ...names)
          const connected = changes.connected ? tx`, last_connected_at = now(), status = 'active'` : tx``
          const { count } = await tx`
            update platform.databases set ${assignments}${connected} where id = ${id} and version = ${version}`
          return count === 0 ? undefined : present(await selectOne(tx, id))
        })
        .catch(translateWrite),
    )
  }

  function remove(id: string, version?: number) {
    return database.change(async (sql) => {
      const { count } = await sql`
        delete from platform.databases where id = ${id} ${version === undefined ? sql`` : sql`and version = ${version}`}`
      return count > 0
    })
  }

  async function touch({ id, version }: Pick<DatabaseRow, 'id' | 'version'>, status: DatabaseStatus) {
    await database.use(
      (sql) => sql`
        update platform.databases
        set status = ${status}, last_connected_at = case when ${status === 'active'}::boolean then now() else last_connected_at end
        where id = ${id} and version = ${version}`,
    )
  }

  async function refreshStats() {
    await database
      .use((sql) => sql`refresh materialized view concurrently platform.database_stats`)
      .catch((error: unknown) => {
        // Studio may own the view, and then Studio refreshes it.
        if (codeOf(error) !== insufficientPrivilege) throw error
      })
  }

  function stats(visible?: Visible) {
    return database.use(async (sql) => {
      const rows =
        visible === undefined
          ? await sql`select type::text, total, active, recently_connected from platform.database_stats order by type`
          : await sql`
              select type::text, count(*) as total, count(*) filter (where status = 'active') as active,
                count(*) filter (where last_connected_at > now() - interval '1 hour') as recently_connected
              from platform.databases
              where (project_id = any(${uuids(sql, visible.projectIds)}) or id = any(${uuids(sql, visible.databaseIds)}))
                ${visible.within === undefined ? sql`` : sql`and project_id = ${visible.within}`}
              group by type order by type`
      return rows.map((row) => ({
        type: String(row['type']),
        total: Number(row['total']),
        active: Number(row['active']),
        recently_connected: Number(row['recently_connected']),
      }))
    })
  }
}

async function selectOne(sql: ISql, id: string): Promise<DatabaseRow | undefined> {
  const [row] = await sql<DatabaseRow[]>`select ${columns(sql)} from platform.databases_with_projects where id = ${id}`
  return row
}

function present(row: DatabaseRow | undefined): DatabaseRow {
  if (row === undefined) throw new ApiError('NOT_FOUND', 'The project of this database is gone.')
  return row
}

function like(text: string): string {
  return `%${text.replace(/[\\%_]/g, '\\$&')}%`
}

function translateWrite(error: unknown): never {
  if (codeOf(error) === uniqueViolation) {
    throw new ApiError('CONFLICT', 'The project has a database of this name already. Choose another name.', {
      cause: error,
    })
  }
  if (codeOf(error) === foreignKeyViolation)
    throw new ApiError('NOT_FOUND', 'There is no such project.', { cause: error })
  throw error
}
