import type { ISql } from 'postgres'
import { ApiError, codeOf } from '../errors.ts'
import { type PageRequest, projectNotFound } from '../registry/project-store.ts'
import { uuids } from '../registry/visible.ts'
import type { RegistryDatabase } from '../registry/registry-database.ts'
import type { ApiKey, Role } from './principal.ts'

/** What may be shown of a key: everything but its hash. Timestamps are ISO 8601 text with microseconds. */
export interface ApiKeyRow {
  readonly id: string
  readonly prefix: string
  readonly name: string
  readonly project_ref: string
  /** Without those that are gone; `null` for every database of the project. */
  readonly database_ids: readonly string[] | null
  readonly role: Role
  /** `service`, `key:<id>` or `user:<id>`. */
  readonly created_by: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
  readonly created_at: string
}

/** A key with what proves it: an HMAC of its secret under the pepper of the sealing key `kid`. */
export interface StoredKey {
  readonly key: ApiKey
  readonly hash: string
  readonly kid: string
  /** Milliseconds since 1970; 0 before its first use. */
  readonly lastUsedAt: number
}

export interface NewApiKey {
  readonly prefix: string
  readonly hash: string
  readonly kid: string
  readonly name: string
  readonly projectRef: string
  readonly databaseIds: readonly string[] | null
  readonly role: Role
  readonly createdBy: string
  /** ISO 8601. */
  readonly expiresAt: string | null
}

/** The projects and databases somebody may see and make keys for; `null` is all. */
export interface Reach {
  readonly projectIds: readonly string[] | null
  readonly databaseIds: readonly string[] | null
}

/** `platform.api_keys` in SQL. Ids are UUIDs, checked by the caller; what is out of reach is as if it were not there. */
export interface ApiKeyStore {
  /** Throws `NOT_FOUND` for an unknown project, `DB_NOT_FOUND` for a database that is not one of the project's. */
  create(key: NewApiKey, reach: Reach): Promise<ApiKeyRow>
  list(page: PageRequest & { readonly projectRef?: string | undefined }, reach: Reach): Promise<readonly ApiKeyRow[]>
  /** The prefix of the key that went, or `undefined` when there was none. */
  remove(id: string, reach: Reach): Promise<string | undefined>
  find(prefix: string): Promise<StoredKey | undefined>
  /** Notes when keys were last used, in milliseconds since 1970 by id. */
  noteUses(uses: ReadonlyMap<string, number>): Promise<void>
  /** Replaces the hash, unless it has changed since. */
  rehash(id: string, from: string, to: { readonly hash: string; readonly kid: string }): Promise<void>
}

const foreignKeyViolation = '23503'

export function createApiKeyStore(database: RegistryDatabase): ApiKeyStore {
  return {
    create: (key, reach) => database.change((sql) => sql.begin((tx) => insert(tx, key, reach)).catch(projectIsGone)),
    list: ({ limit, after, projectRef }, reach) =>
      database.use(
        (sql) => sql<ApiKeyRow[]>`
          select ${shown(sql)} from platform.api_keys k join platform.projects p on p.id = k.project_id
          where ${within(sql, reach)}
            ${projectRef === undefined ? sql`` : sql`and p.ref = ${projectRef}`}
            ${after === undefined ? sql`` : sql`and (k.created_at, k.id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`}
          order by k.created_at desc, k.id desc limit ${limit}`,
      ),
    remove: (id, reach) =>
      database.change(async (sql) => {
        const [row] =
          await sql`delete from platform.api_keys k where k.id = ${id} and ${within(sql, reach)} returning prefix`
        return row && String(row['prefix'])
      }),
    find: (prefix) =>
      database.use(async (sql) => {
        const [row] = await sql<(Omit<ApiKey, 'kind'> & Omit<StoredKey, 'key'>)[]>`
          select k.id, k.project_id as "projectId", p.ref as "projectRef", ${databaseIds(sql)} as "databaseIds", k.role,
            (extract(epoch from k.expires_at) * 1000)::float8 as "expiresAt", k.hash, k.kid,
            coalesce(extract(epoch from k.last_used_at) * 1000, 0)::float8 as "lastUsedAt"
          from platform.api_keys k join platform.projects p on p.id = k.project_id
          where k.prefix = ${prefix}`
        if (row === undefined) return undefined
        const { hash, kid, lastUsedAt, ...key } = row
        return { key: { kind: 'key', ...key }, hash, kid, lastUsedAt }
      }),
    noteUses: (uses) =>
      database.use(async (sql) => {
        // In one order everywhere: instances that note the same keys at once must not wait for each other in a circle.
        const noted = [...uses].map(([id, at]) => ({ id, at })).sort((a, b) => (a.id < b.id ? -1 : 1))
        await sql`
          with locked as (
            select k.id, to_timestamp(used.at / 1000) as used_at
            from json_to_recordset(${JSON.stringify(noted)}::json) as used(id uuid, at float8)
            join platform.api_keys k on k.id = used.id
            order by k.id for no key update of k
          )
          update platform.api_keys k set last_used_at = greatest(k.last_used_at, locked.used_at)
          from locked where k.id = locked.id`
      }),
    rehash: (id, from, { hash, kid }) =>
      database.use(async (sql) => {
        await sql`update platform.api_keys set hash = ${hash}, kid = ${kid} where id = ${id} and hash = ${from}`
      }),
  }
}

async function insert(tx: ISql, key: NewApiKey, { projectIds, databaseIds: reachable }: Reach): Promise<ApiKeyRow> {
  const [project] = await tx`
    select id from platform.projects
    where ref = ${key.projectRef} ${projectIds === null ? tx`` : tx`and id = any(${uuids(tx, projectIds)})`}`
  if (project === undefined) throw projectNotFound()
  if (key.databaseIds !== null) {
    const known = await tx`
      select id from platform.databases
      where project_id = ${project['id']} and id = any(${uuids(tx, key.databaseIds)})
        ${reachable === null ? tx`` : tx`and id = any(${uuids(tx, reachable)})`}`
    if (known.length < key.databaseIds.length)
      throw new ApiError('DB_NOT_FOUND', 'The project has no database with one of these ids.')
  }
  const [row] = await tx<ApiKeyRow[]>`
    with k as (
      insert into platform.api_keys (prefix, hash, kid, name, project_id, database_ids, role, created_by, expires_at)
      values (
        ${key.prefix}, ${key.hash}, ${key.kid}, ${key.name}, ${project['id']},
        ${key.databaseIds === null ? null : uuids(tx, key.databaseIds)}, ${key.role}, ${key.createdBy}, ${key.expiresAt}::timestamptz
      ) returning *
    )
    select ${shown(tx)} from k join platform.projects p on p.id = k.project_id`
  if (row === undefined) throw projectNotFound()
  return row
}

function within(sql: ISql, { projectIds, databaseIds: reachable }: Reach) {
  return sql`
    ${projectIds === null ? sql`true` : sql`k.project_id = any(${uuids(sql, projectIds)})`}
    and ${reachable === null ? sql`true` : onlyOf(sql, reachable)}`
}

// A database that is gone gives nothing, so it hides no key from those who reach the others; with none left it is the project's alone.
function onlyOf(sql: ISql, reachable: readonly string[]) {
  return sql`
    k.database_ids && ${uuids(sql, reachable)} and not exists (
      select from platform.databases d where d.id = any(k.database_ids) and d.id <> all(${uuids(sql, reachable)})
    )`
}

function shown(sql: ISql) {
  return sql`
    k.id, k.prefix, k.name, p.ref as project_ref, ${databaseIds(sql)} as database_ids, k.role, k.created_by,
    ${iso(sql, 'expires_at')}, ${iso(sql, 'last_used_at')}, ${iso(sql, 'created_at')}`
}

/** As JSON, which the driver reads without knowing the type. A database that is gone, or is another project's now, is left out. */
function databaseIds(sql: ISql) {
  return sql`
    case when k.database_ids is not null then array_to_json(array(
      select d.id from platform.databases d where d.id = any(k.database_ids) and d.project_id = k.project_id order by d.id
    )) end`
}

function iso(sql: ISql, column: 'expires_at' | 'last_used_at' | 'created_at') {
  return sql.unsafe(`to_char(k.${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${column}`) as never
}

function projectIsGone(error: unknown): never {
  throw codeOf(error) === foreignKeyViolation ? projectNotFound(error) : error
}
