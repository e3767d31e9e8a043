import { columns } from './columns.ts'
import type { DatabaseRow } from './database.ts'
import { countSeal } from './key-canaries.ts'
import type { RegistryDatabase } from './registry-database.ts'
import type { SealedColumns } from './sealed-columns.ts'

/** What `platform.databases` holds as seen by its keys. */
export interface SealedRows {
  /** Whether a row's credentials were sealed under none of these keys, or not by this server at all. */
  hasUnreadable(kids: readonly string[]): Promise<boolean>
  /** Rows after this id in order of id, also those whose project is gone. */
  listAfter(id: string | undefined, limit: number): Promise<readonly DatabaseRow[]>
  /** Replaces a stored connection string if it is still that very text, and counts the sealing. */
  reseal(row: DatabaseRow, kid: string, columns: SealedColumns): Promise<boolean>
}

export function createSealedRows(database: RegistryDatabase, options: { readonly maxSealsPerKey: number }): SealedRows {
  return {
    hasUnreadable: (kids) =>
      database.use(async (sql) => {
        const [row] = await sql`
          select exists (
            select from platform.databases
            where connection_string not like 'enc:v1:%' or split_part(connection_string, ':', 3) not in ${sql([...kids])}
          ) as found`
        return row?.['found'] === true
      }),
    listAfter: (id, limit) =>
      database.use(
        (sql) => sql<DatabaseRow[]>`
          select ${columns(sql)} from (
            select d.*, '' as project_name, '' as project_ref, '' as organization_name, '' as organization_slug
            from platform.databases d
          ) d
          ${id === undefined ? sql`` : sql`where d.id > ${id}::uuid`} order by d.id limit ${limit}`,
      ),
    reseal: (row, kid, sealed) =>
      database.change((sql) =>
        sql.begin(async (tx) => {
          await countSeal(tx, kid, options.maxSealsPerKey)
          const { count } = await tx`
            update platform.databases set ${tx(sealed)} where id = ${row.id} and connection_string = ${row.connection_string}`
          return count > 0
        }),
      ),
  }
}
