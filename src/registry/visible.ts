import type { ISql } from 'postgres'

/** The part of the registry that somebody may see: whole projects, and single databases. */
export interface Visible {
  readonly projectIds: readonly string[]
  readonly databaseIds: readonly string[]
  /** Nothing outside of this project, whatever else is named. */
  readonly within?: string
}

/** Ids as an array in SQL: the driver knows no array types, which it would have to ask the server for. */
export function uuids(sql: ISql, ids: readonly string[]) {
  return sql`string_to_array(${ids.join(',')}, ',')::uuid[]`
}
