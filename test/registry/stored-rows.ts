import { randomBytes } from 'node:crypto'
import type { Sql } from 'postgres'
import { createKeyring, type Keyring } from '#src/credentials/keyring.ts'
import { openValue, sealValue } from '#src/credentials/sealed.ts'
import { newName } from './registries.ts'

/** A row as some program left it in `platform.databases`. */
export interface StoredRow {
  readonly type: string
  /** As it stands in the column. */
  readonly stored: string
  /** JSON text; `null` is SQL's. */
  readonly config?: string | null
  readonly id?: string
}

/** The place a row's connection string is sealed for, in project `default`. */
export async function newPlace(sql: Sql) {
  const [project] = await sql`select id from platform.projects where ref = 'default'`
  return { projectId: String(project?.['id']), databaseId: crypto.randomUUID(), field: 'connection_string' }
}

/** Seals for a new row of its own, under the ring's key for that engine. */
export async function sealedRow(sql: Sql, ring: Keyring, type: string, text: string): Promise<StoredRow> {
  const place = await newPlace(sql)
  return { id: place.databaseId, type, stored: await sealValue(ring.current(type), place, text) }
}

/** Writes a row past the server, as Studio or the seed's code would: no masked string, no host. Answers its id. */
export async function insertRow(sql: Sql, { type, stored, config = '{}', id }: StoredRow): Promise<string> {
  const { projectId, databaseId } = await newPlace(sql)
  await sql`
    insert into platform.databases (id, project_id, name, type, connection_string, config)
    values (${id ?? databaseId}, ${projectId}, ${newName()}, ${type}, ${stored}, ${config}::text::jsonb)`
  return id ?? databaseId
}

/** What a row says once opened, by its id. */
export async function openedRows(sql: Sql, ring: Keyring): Promise<ReadonlyMap<string, string>> {
  const rows = await sql`select id, project_id, connection_string from platform.databases`
  return new Map(
    await Promise.all(
      rows.map(async (row) => {
        const id = String(row['id'])
        const place = { projectId: String(row['project_id']), databaseId: id, field: 'connection_string' }
        return [id, await openValue(ring, place, String(row['connection_string']))] as const
      }),
    ),
  )
}

/** A sealing key as the environment gives it, and the ring it makes alone. */
export async function newKey() {
  const raw = randomBytes(32)
  return { text: raw.toString('base64url'), raw: Uint8Array.from(raw), ring: await createKeyring({ current: raw }) }
}
