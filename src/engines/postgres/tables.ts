import { tablesSql } from './sql/tables.sql.ts'

/** A foreign key's pair of columns, seen from either table; a key of three columns is three of these. */
export interface Relationship {
  readonly id: number
  readonly constraint_name: string
  readonly source_schema: string
  readonly source_table_name: string
  readonly source_column_name: string
  readonly target_table_schema: string
  readonly target_table_name: string
  readonly target_column_name: string
}

export interface PrimaryKeyColumn {
  readonly schema: string
  readonly table_name: string
  readonly name: string
  readonly table_id: number
}

/** A column in postgres-meta's JSON; `id` is `table_id.ordinal_position`, `enums` the labels of an enum, its array or its domain. */
export interface TableColumn {
  readonly table_id: number
  readonly schema: string
  readonly table: string
  readonly id: string
  readonly ordinal_position: number
  readonly name: string
  readonly default_value: string | null
  readonly data_type: string
  readonly format: string
  readonly is_identity: boolean
  readonly identity_generation: 'ALWAYS' | 'BY DEFAULT' | null
  readonly is_generated: boolean
  readonly is_nullable: boolean
  readonly is_updatable: boolean
  readonly is_unique: boolean
  readonly enums: readonly string[]
  readonly check: string | null
  readonly comment: string | null
}

/** A table in postgres-meta's JSON; `bytes` counts indexes and TOAST, and is 0 for a partitioned table. */
export interface Table {
  readonly id: number
  readonly schema: string
  readonly name: string
  readonly rls_enabled: boolean
  readonly rls_forced: boolean
  readonly replica_identity: 'DEFAULT' | 'INDEX' | 'FULL' | 'NOTHING'
  readonly bytes: number
  readonly size: string
  readonly live_rows_estimate: number
  readonly dead_rows_estimate: number
  readonly comment: string | null
  readonly primary_keys: readonly PrimaryKeyColumn[]
  readonly relationships: readonly Relationship[]
  readonly columns?: readonly TableColumn[]
}

export interface TableFilter {
  /** One table, of any schema: the schema lists don't apply. */
  readonly id?: number | undefined
  /** When not empty, exactly these schemas, whatever is excluded. */
  readonly includedSchemas?: readonly string[] | undefined
  readonly excludedSchemas?: readonly string[] | undefined
  /** Default false: `information_schema`, `pg_catalog` and `pg_toast` are excluded. */
  readonly includeSystemSchemas?: boolean | undefined
  /** Default true. */
  readonly includeColumns?: boolean | undefined
  readonly limit?: number | undefined
  readonly offset?: number | undefined
}

/** A statement for the extended protocol: parameters are bound, never written into the text. */
export interface BoundQuery {
  readonly text: string
  readonly parameters: readonly (string | number | boolean | null)[]
}

export const systemSchemas = ['information_schema', 'pg_catalog', 'pg_toast'] as const

/**
 * The tables the role owns or has any privilege on, of any schema it may see or not. Rows have one text column `document` for
 * `toTable`, in order of schema, name and id; key columns in key order, columns by position, relationships by constraint name.
 */
export function tablesQuery(filter: TableFilter = {}): BoundQuery {
  const { id = null, includedSchemas = [], includeColumns = true, limit = null, offset = null } = filter
  const excluded = [...(filter.includeSystemSchemas ? [] : systemSchemas), ...(filter.excludedSchemas ?? [])]
  const anySchema = id !== null
  const onlyIncluded = includedSchemas.length > 0
  return {
    text: tablesSql(includeColumns),
    parameters: [
      id,
      anySchema || !onlyIncluded ? null : textArray(includedSchemas),
      anySchema || onlyIncluded || excluded.length === 0 ? null : textArray(excluded),
      limit,
      offset,
    ],
  }
}

/** Reads a row of `tablesQuery`. */
export function toTable(row: Readonly<Record<string, unknown>>): Table {
  return JSON.parse(String(row['document']))
}

/** A `text[]` literal, so that a list is one parameter and the statement has one text. */
function textArray(names: readonly string[]): string {
  return `{${names.map((name) => `"${name.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
