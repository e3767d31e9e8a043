import { ApiError } from '../errors.ts'
import type { RequestState } from '../http/request-state.ts'
import { databaseNotFound } from '../registry/connections.ts'
import type { DatabaseRow } from '../registry/database.ts'
import { projectNotFound } from '../registry/project-store.ts'
import type { Visible } from '../registry/visible.ts'
import { allows, type Grants, lesser, type Principal, type Role } from './principal.ts'

/** Where a route works: on a database or project of its path, on what its handler narrows to the principal, or on this server. */
export type Scope = 'database' | 'project' | 'own' | 'server'

/** A project, and one of its databases where the role on that is asked for. */
export interface Place {
  readonly projectId: string
  readonly databaseId?: string
}

/** What a principal may do there; `undefined` is nothing, and the place is then not there for it. */
export function roleOf(principal: Principal, { projectId, databaseId }: Place, grants?: Grants): Role | undefined {
  switch (principal.kind) {
    case 'service':
      return 'admin'
    case 'key': {
      const { databaseIds, role, user } = principal
      if (principal.projectId !== projectId) return undefined
      if (databaseIds !== null && (databaseId === undefined || !databaseIds.includes(databaseId))) return undefined
      return user === undefined
        ? role
        : lesser(role, roleOf(user, { projectId, ...(databaseId && { databaseId }) }, grants))
    }
    case 'user': {
      const onProject = grants?.projects.get(projectId)
      const onDatabase = databaseId === undefined ? undefined : grants?.databases.get(databaseId)
      return onDatabase !== undefined && allows(onDatabase, onProject ?? 'read') ? onDatabase : onProject
    }
    default:
      return undefined
  }
}

/** A user's grants, read where they are not known; others have none. */
export function grantsOf(state: RequestState): Grants | undefined | Promise<Grants> {
  const { principal, deps } = state
  const user = principal.kind === 'key' ? principal.user : principal.kind === 'user' ? principal : undefined
  return user && (deps.grants.peek(user.id) ?? deps.grants.of(user.id, state))
}

/** What the principal may do at a place, for handlers that find it themselves. */
export async function roleAt(state: RequestState, place: Place): Promise<Role | undefined> {
  return roleOf(state.principal, place, await grantsOf(state))
}

/** `FORBIDDEN` unless the role suffices; what is nothing at all to the principal answers as what is not there. */
export function requireRole(role: Role | undefined, needed: Role, absent: () => ApiError): void {
  if (role === undefined) throw absent()
  if (!allows(role, needed)) throw new ApiError('FORBIDDEN', `This needs the role ${needed}; you have ${role}.`)
}

/**
 * Refuses what the principal may not do on a matched route, by the route's declaration. Synchronous for the service key, which may
 * everything. `name` is the value of the path's database id or project ref.
 */
export function authorize(state: RequestState, scope: Scope, name: string | undefined): undefined | Promise<void> {
  const { principal, declaration } = state
  if (principal.kind === 'service' || declaration === undefined || declaration.access === 'open') return undefined
  return refuse(state, scope, name, declaration.access)
}

/** What `projects.ref` can hold by any route of ours; other text is not asked for, since PostgreSQL refuses some. */
const isProjectRef = /^[\w-]{1,64}$/

async function refuse(state: RequestState, scope: Scope, name: string | undefined, needed: Role): Promise<void> {
  const { principal, deps } = state
  if (scope === 'own') {
    if (principal.kind !== 'key') return
    const { user, role, projectId } = principal
    const onProject = user === undefined ? role : lesser(role, roleOf(user, { projectId }, await grantsOf(state)))
    // Lists show each what is theirs.
    const held = needed === 'read' ? role : onProject
    if (!allows(held, needed)) throw new ApiError('FORBIDDEN', `This needs a key with the role ${needed}.`)
    return
  }
  if (scope === 'server' || name === undefined) throw new ApiError('FORBIDDEN', 'Only the service key may do this.')
  const grants = await grantsOf(state)
  if (scope === 'project') {
    const project = isProjectRef.test(name) ? await deps.projects.getProject(name) : undefined
    const role = project && roleOf(principal, { projectId: project.id }, grants)
    return requireRole(role, needed, projectNotFound)
  }
  // As its changes are heard.
  const id = name.toLowerCase()
  let copied = false
  const reading = deps.registry.read(id, { stale: (seconds) => state.stale(seconds), copied: () => (copied = true) })
  const row: DatabaseRow = reading instanceof Promise ? await reading : reading
  const role = roleOf(principal, { projectId: row.project_id, databaseId: row.id }, grants)
  // A row that is kept would say by its speed that it is there, and while the registry is down by its status.
  const isRemembered = !(reading instanceof Promise) || copied || state.staleSeconds !== undefined
  if (role === undefined && isRemembered) await deps.registry.get(id)
  requireRole(role, needed, databaseNotFound)
  if (role === 'read') state.readOnly = true
}

/** Which rows of lists a principal may see; `undefined` is all. */
export async function visibleTo(state: RequestState): Promise<Visible | undefined> {
  const { principal } = state
  if (principal.kind === 'service') return undefined
  const grants = await grantsOf(state)
  const granted = {
    projectIds: [...(grants?.projects.keys() ?? [])],
    databaseIds: [...(grants?.databases.keys() ?? [])],
  }
  if (principal.kind !== 'key') return granted
  const { projectId: within, databaseIds, user } = principal
  if (user === undefined)
    return { projectIds: databaseIds === null ? [within] : [], databaseIds: databaseIds ?? [], within }
  if (databaseIds === null) return { ...granted, within }
  const wholeProject = grants?.projects.has(within) ?? false
  return { projectIds: [], databaseIds: databaseIds.filter((id) => wholeProject || grants?.databases.has(id)), within }
}
