import type { ISql } from 'postgres'
import { codeOf } from '../errors.ts'
import { iso } from '../registry/columns.ts'
import type { PageRequest } from '../registry/project-store.ts'
import type { RegistryDatabase } from '../registry/registry-database.ts'
import { type Grants, type Role, roles } from './principal.ts'
import { isUuid } from './user-id.ts'

interface GrantRow {
  readonly id: string
  /** The `sub` of the user's tokens. */
  readonly user_id: string
  readonly role: Role
  /** `service`, `key:<id>` or `user:<id>`; `null` on rows another program wrote. */
  readonly granted_by: string | null
  readonly created_at: string
  readonly updated_at: string
}

/** A row of `platform.database_permissions`. */
export interface DatabaseGrant extends GrantRow {
  readonly database_id: string
}

/** A row of `platform.project_permissions`: the role on every database of the project, later ones too. */
export interface ProjectGrant extends GrantRow {
  readonly project_id: string
  readonly project_ref: string
}

/** What is granted to whom, and by whom. */
export interface NewGrant {
  readonly userId: string
  readonly role: Role
  readonly grantedBy: string
}

/** Grants of users in SQL. Ids of databases, and of users granted one, are UUIDs checked by the caller. */
export interface GrantStore {
  /** All that a user was granted; empty for one nobody knows. */
  grantsOf(userId: string): Promise<Grants>
  listOfDatabase(databaseId: string, page: PageRequest): Promise<readonly DatabaseGrant[]>
  /** Replaces the user's role; `undefined` when there is no such database. */
  setOnDatabase(databaseId: string, grant: NewGrant): Promise<DatabaseGrant | undefined>
  /** Answers whether there was a grant. */
  removeFromDatabase(databaseId: string, userId: string): Promise<boolean>
  listOfProject(ref: string, page: PageRequest): Promise<readonly ProjectGrant[]>
  /** Replaces the user's role; `undefined` when there is no such project. */
  setOnProject(ref: string, grant: NewGrant): Promise<ProjectGrant | undefined>
  /** Answers whether there was a grant. */
  removeFromProject(ref: string, userId: string): Promise<boolean>
}

const foreignKeyViolation = '23503'

export function createGrantStore(database: RegistryDatabase): GrantStore {
  return {
    grantsOf: (userId) =>
      database.use(async (sql) => {
        const rows = await sql<{ of: 'database' | 'project'; id: string; role: Role }[]>`
          select 'project' as of, project_id as id, role from platform.project_permissions where user_id = ${userId}
          ${isUuid(userId) ? sql`union all select 'database', database_id, role from platform.database_permissions where user_id = ${userId}` : sql``}`
        const rolesOf = (of: 'database' | 'project') =>
          new Map(rows.filter((row) => row.of === of && roles.includes(row.role)).map(({ id, role }) => [id, role]))
        return { databases: rolesOf('database'), projects: rolesOf('project') }
      }),
    listOfDatabase: (databaseId, { limit, after }) =>
      database.use(
        (sql) => sql<DatabaseGrant[]>`
          select ${databaseGrant(sql)} from platform.database_permissions
          where database_id = ${databaseId} ${following(sql, after)}
          order by created_at desc, id desc limit ${limit}`,
      ),
    setOnDatabase: (databaseId, { userId, role, grantedBy }) =>
      database.change(async (sql) => {
        const [row] = await sql<DatabaseGrant[]>`
          insert into platform.database_permissions (database_id, user_id, role, granted_by)
          values (${databaseId}, ${userId}, ${role}, ${grantedBy})
          on conflict (database_id, user_id) do update set role = excluded.role, granted_by = excluded.granted_by
          returning ${databaseGrant(sql)}`.catch((error: unknown) => {
          if (codeOf(error) === foreignKeyViolation) return []
          throw error
        })
        return row
      }),
    removeFromDatabase: (databaseId, userId) =>
      database.change(async (sql) => {
        const { count } = await sql`
          delete from platform.database_permissions where database_id = ${databaseId} and user_id = ${userId}`
        return count > 0
      }),
    listOfProject: (ref, { limit, after }) =>
      database.use(
        (sql) => sql<ProjectGrant[]>`
          select ${projectGrant(sql, ref)} from platform.project_permissions
          where project_id = (select p.id from platform.projects p where p.ref = ${ref}) ${following(sql, after)}
          order by created_at desc, id desc limit ${limit}`,
      ),
    setOnProject: (ref, { userId, role, grantedBy }) =>
      database.change(async (sql) => {
        const [row] = await sql<ProjectGrant[]>`
          insert into platform.project_permissions (project_id, user_id, role, granted_by)
          select p.id, ${userId}, ${role}, ${grantedBy} from platform.projects p where p.ref = ${ref}
          on conflict (project_id, user_id) do update set role = excluded.role, granted_by = excluded.granted_by
          returning ${projectGrant(sql, ref)}`
        return row
      }),
    removeFromProject: (ref, userId) =>
      database.change(async (sql) => {
        const { count } = await sql`
          delete from platform.project_permissions
          where project_id = (select p.id from platform.projects p where p.ref = ${ref}) and user_id = ${userId}`
        return count > 0
      }),
  }
}

function databaseGrant(sql: ISql) {
  return sql`id, database_id, user_id::text, role, granted_by, ${iso(sql, 'created_at')}, ${iso(sql, 'updated_at')}`
}

function projectGrant(sql: ISql, ref: string) {
  return sql`
    id, project_id, ${ref}::text as project_ref, user_id, role, granted_by,
    ${iso(sql, 'created_at')}, ${iso(sql, 'updated_at')}`
}

function following(sql: ISql, after: PageRequest['after']) {
  return after === undefined ? sql`` : sql`and (created_at, id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`
}
