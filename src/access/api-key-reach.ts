import { ApiError } from '../errors.ts'
import type { Reach } from './api-key-store.ts'
import { allows, type Grants, type Principal, type Role } from './principal.ts'

/** The key somebody asks for. */
export interface WantedKey {
  readonly name: string
  readonly projectRef: string
  /** `null`: every database of the project, later ones too. */
  readonly databaseIds: readonly string[] | null
  readonly role: Role
  /** ISO 8601; `null` never. */
  readonly expiresAt: string | null
}

/** The keys a principal may see, make and revoke: those of the projects it is admin of, within its own databases. `grants` are a user's. */
export function reachOf(principal: Principal, grants?: Grants): Reach {
  switch (principal.kind) {
    case 'service':
      return { projectIds: null, databaseIds: null }
    case 'key':
      return {
        projectIds: allows(principal.role, 'admin') ? [principal.projectId] : [],
        databaseIds: principal.databaseIds,
      }
    case 'user':
      return { projectIds: adminOf(grants), databaseIds: null }
    case 'anonymous':
      return { projectIds: [], databaseIds: null }
  }
}

/**
 * Whether a principal may make this key: never one that does more than itself, or outlives it. Which projects and databases are its own is
 * `reachOf`.
 */
export function mayMint(principal: Principal, wanted: Pick<WantedKey, 'databaseIds' | 'role' | 'expiresAt'>): boolean {
  if (principal.kind !== 'key') return principal.kind !== 'anonymous'
  const { databaseIds, role, expiresAt } = principal
  if (!allows(role, 'admin') || !allows(role, wanted.role)) return false
  if (databaseIds !== null && wanted.databaseIds === null) return false
  return expiresAt === null || (wanted.expiresAt !== null && Date.parse(wanted.expiresAt) <= expiresAt)
}

/** As the registry notes who did something. */
export function authorOf(principal: Principal): string {
  return principal.kind === 'key' || principal.kind === 'user' ? `${principal.kind}:${principal.id}` : principal.kind
}

export function refuseMint(principal: Principal, wanted: WantedKey): void {
  if (mayMint(principal, wanted)) return
  throw new ApiError('FORBIDDEN', 'A key may not make one that does more than itself, or outlives it.')
}

function adminOf(grants: Grants | undefined): readonly string[] {
  return [...(grants?.projects ?? [])].flatMap(([id, role]) => (allows(role, 'admin') ? [id] : []))
}
