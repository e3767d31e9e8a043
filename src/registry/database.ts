/** A row of `platform.databases_with_projects`. `connection_string` is sealed; timestamps are ISO 8601 text with microseconds. */
export interface DatabaseRow {
  readonly id: string
  readonly project_id: string
  readonly name: string
  readonly type: string
  readonly description: string | null
  readonly connection_string: string
  /** The connection string with its password as `****`; `null` on rows another program wrote. */
  readonly masked_connection_string: string | null
  readonly host: string | null
  readonly port: number | null
  readonly database_name: string | null
  readonly username: string | null
  readonly config: Readonly<Record<string, unknown>>
  readonly status: DatabaseStatus
  readonly last_connected_at: string | null
  readonly created_at: string
  readonly updated_at: string
  /** Grows with every change of what a connection depends on: the ETag and the generation of sessions. */
  readonly version: number
  readonly project_name: string
  readonly project_ref: string
  /** `null` for a project without an organization. */
  readonly organization_name: string | null
  readonly organization_slug: string | null
}

export const databaseStatuses = ['active', 'inactive', 'error'] as const
export type DatabaseStatus = (typeof databaseStatuses)[number]

/** What a caller may see of a row: the connection string masked, and whether a secret is stored. */
export type PublicDatabase = Omit<DatabaseRow, 'masked_connection_string'> & { readonly has_credentials: boolean }

const hidden = '****'

export function toPublic(row: DatabaseRow): PublicDatabase {
  const { masked_connection_string: masked, ...rest } = row
  return {
    ...rest,
    connection_string: masked ?? hidden,
    has_credentials: masked === null ? row.connection_string !== '' : masked.includes(`:${hidden}@`),
  }
}

export interface OrganizationRow {
  readonly id: string
  readonly name: string
  readonly slug: string
  readonly billing_email: string | null
  readonly created_at: string
  readonly updated_at: string
}

/** A project without the database columns Studio keeps in it: they hold a password. */
export interface ProjectRow {
  readonly id: string
  readonly organization_id: string | null
  readonly organization_slug: string | null
  readonly name: string
  readonly slug: string
  readonly ref: string
  readonly status: string | null
  readonly created_at: string
  readonly updated_at: string
}

export interface DatabaseStats {
  readonly type: string
  readonly total: number
  readonly active: number
  readonly recently_connected: number
}
