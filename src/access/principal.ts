/** What one may do with a database, each including those before it (the seed's table of roles). */
export const roles = ['read', 'write', 'admin'] as const
export type Role = (typeof roles)[number]

/** Who asks. */
export type Principal = Anonymous | ServiceKey | ApiKey | User

/** Nobody we know: may read what is open. */
export interface Anonymous {
  readonly kind: 'anonymous'
  readonly id: 'anonymous'
}

/** The operator's own key, which may do everything. */
export interface ServiceKey {
  readonly kind: 'service'
  readonly id: 'service'
}

/** A scoped key: one project, all of its databases or some, one role. */
export interface ApiKey {
  readonly kind: 'key'
  /** The key's row. */
  readonly id: string
  readonly projectId: string
  readonly projectRef: string
  /** `null`: every database of the project, later ones too. */
  readonly databaseIds: readonly string[] | null
  readonly role: Role
  /** Milliseconds since 1970; `null` never. */
  readonly expiresAt: number | null
  /** For whom it acts: then it may do no more than that user, and that user no more than it. */
  readonly user?: User
}

/** Somebody signed in; `id` is the token's `sub`. */
export interface User {
  readonly kind: 'user'
  readonly id: string
  /** The token's `exp` in milliseconds since 1970. */
  readonly expiresAt: number
}

/** What a user was granted, by database and by project; nothing else is allowed. */
export interface Grants {
  readonly databases: ReadonlyMap<string, Role>
  readonly projects: ReadonlyMap<string, Role>
}

export const anonymous: Anonymous = { kind: 'anonymous', id: 'anonymous' }
export const serviceKey: ServiceKey = { kind: 'service', id: 'service' }

/** The lesser of two roles; `undefined` is none. */
export function lesser(a: Role | undefined, b: Role | undefined): Role | undefined {
  if (a === undefined || b === undefined) return undefined
  return roles.indexOf(a) < roles.indexOf(b) ? a : b
}

export function allows(role: Role | undefined, needed: Role): boolean {
  return role !== undefined && roles.indexOf(role) >= roles.indexOf(needed)
}
