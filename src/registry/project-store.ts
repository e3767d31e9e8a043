import type { ISql } from 'postgres'

import { ApiError, codeOf } from '../errors.ts'
import type { OrganizationRow, ProjectRow } from './database.ts'
import type { RegistryDatabase } from './registry-database.ts'
import { iso } from './columns.ts'
import { uuids, type Visible } from './visible.ts'

export interface PageRequest {
  readonly limit: number
  readonly after?: { readonly createdAt: string; readonly id: string } | undefined
}

/** `platform.organizations` and `platform.projects` in SQL. Columns that hold a password are never selected. */
export interface ProjectStore {
  listOrganizations(page: PageRequest & { readonly visible?: Visible | undefined }): Promise<readonly OrganizationRow[]>
  /** Throws `CONFLICT` for a taken slug. */
  createOrganization(organization: {
    name: string
    slug: string
    billingEmail: string | null
  }): Promise<OrganizationRow>
  listProjects(
    page: PageRequest & { readonly organizationSlug?: string | undefined; readonly visible?: Visible | undefined },
  ): Promise<readonly ProjectRow[]>
  getProject(ref: string): Promise<ProjectRow | undefined>
  /** Throws `CONFLICT` for a taken ref, `NOT_FOUND` for an unknown organization. */
  createProject(project: { name: string; ref: string; organizationSlug: string }): Promise<ProjectRow>
  renameProject(ref: string, name: string): Promise<ProjectRow | undefined>
  /** The ids of the databases that went with it, or `undefined` when there was none. Throws `CONFLICT` when it has databases and `cascade` is not set. */
  removeProject(ref: string, cascade: boolean): Promise<readonly string[] | undefined>
}

export function createProjectStore(database: RegistryDatabase): ProjectStore {
  return {
    listOrganizations: ({ limit, after, visible }) =>
      database.use(
        (sql) => sql<OrganizationRow[]>`
          select ${organizationColumns(sql)} from platform.organizations
          where true
            ${visible === undefined ? sql`` : sql`and id in (select organization_id from platform.projects where id in (${visibleProjects(sql, visible)}))`}
            ${after === undefined ? sql`` : sql`and (created_at, id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`}
          order by created_at desc, id desc limit ${limit}`,
      ),
    createOrganization: ({ name, slug, billingEmail }) =>
      database.change(async (sql) => {
        const [row] = await sql<OrganizationRow[]>`
          insert into platform.organizations (name, slug, billing_email) values (${name}, ${slug}, ${billingEmail})
          returning ${organizationColumns(sql)}`.catch(taken('An organization with this slug is there already.'))
        return present(row)
      }),
    listProjects: ({ limit, after, organizationSlug, visible }) =>
      database.use(
        (sql) => sql<ProjectRow[]>`
          select * from (${projects(sql)}) p
          where true
            ${visible === undefined ? sql`` : sql`and id in (${visibleProjects(sql, visible)})`}
            ${organizationSlug === undefined ? sql`` : sql`and organization_slug = ${organizationSlug}`}
            ${after === undefined ? sql`` : sql`and (created_at::timestamptz, id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`}
          order by created_at desc, id desc limit ${limit}`,
      ),
    getProject: (ref) => database.use((sql) => findProject(sql, ref)),
    createProject: ({ name, ref, organizationSlug }) =>
      database.change(async (sql) => {
        const { count } = await sql`
          insert into platform.projects (
            organization_id, name, slug, ref, database_host, database_name, database_user, database_password
          )
          select id, ${name}, ${ref}, ${ref}, '', '', '', '' from platform.organizations where slug = ${organizationSlug}`.catch(
          taken('A project with this ref is there already.'),
        )
        if (count === 0) throw new ApiError('NOT_FOUND', 'There is no organization with this slug.')
        return present(await findProject(sql, ref))
      }),
    renameProject: (ref, name) =>
      database.change(async (sql) => {
        const { count } = await sql`update platform.projects set name = ${name} where ref = ${ref}`
        return count === 0 ? undefined : findProject(sql, ref)
      }),
    removeProject: (ref, cascade) =>
      database.change((sql) =>
        sql.begin(async (tx) => {
          const [project] = await tx`select id from platform.projects where ref = ${ref} for update`
          if (project === undefined) return undefined
          const databases = await tx`select id from platform.databases where project_id = ${project['id']}`
          if (databases.length > 0 && !cascade) {
            throw new ApiError('CONFLICT', 'The project has databases. Delete them first, or send ?cascade=true.', {
              details: { databases: databases.length },
            })
          }
          await tx`delete from platform.projects where id = ${project['id']}`
          return databases.map((row) => String(row['id']))
        }),
      ),
  }
}

/** The same store; told are the databases that went with a project, and that names which are shown with databases changed. */
export function tellingChanges(
  store: ProjectStore,
  told: { readonly removed: (databaseId: string) => void; readonly renamed: () => void },
): ProjectStore {
  return {
    ...store,
    async renameProject(ref, name) {
      const renamed = await store.renameProject(ref, name)
      told.renamed()
      return renamed
    },
    async removeProject(ref, cascade) {
      const removed = await store.removeProject(ref, cascade)
      removed?.forEach(told.removed)
      return removed
    },
  }
}

// A project shows where a database of it does.
function visibleProjects(sql: ISql, { projectIds, databaseIds }: Visible) {
  return sql`
    select unnest(${uuids(sql, projectIds)})
    union select project_id from platform.databases where id = any(${uuids(sql, databaseIds)})`
}

/** Unknown projects and those of others answer alike. */
export function projectNotFound(cause?: unknown): ApiError {
  return new ApiError('NOT_FOUND', 'There is no project with this ref.', { cause })
}

function organizationColumns(sql: ISql) {
  return sql`id, name, slug, billing_email, ${iso(sql, 'created_at')}, ${iso(sql, 'updated_at')}`
}

function projects(sql: ISql) {
  return sql`
    select id, organization_id, (select o.slug from platform.organizations o where o.id = organization_id) as organization_slug,
      name, slug, ref, status, ${iso(sql, 'created_at')}, ${iso(sql, 'updated_at')}
    from platform.projects`
}

async function findProject(sql: ISql, ref: string): Promise<ProjectRow | undefined> {
  const [row] = await sql<ProjectRow[]>`select * from (${projects(sql)}) p where ref = ${ref}`
  return row
}

function present<T>(row: T | undefined): T {
  if (row === undefined) throw new ApiError('INTERNAL', 'The registry did not answer with the row it wrote.')
  return row
}

function taken(sentence: string) {
  return (error: unknown): never => {
    if (codeOf(error) === '23505') throw new ApiError('CONFLICT', sentence, { cause: error })
    throw error
  }
}
