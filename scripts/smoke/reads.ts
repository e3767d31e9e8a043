import { type Client, expectEqual, type Json } from './client.ts'

/** The types of databases that are tried, in this order. */
export const types = ['redis', 'postgres', 'mongodb', 'bun_api'] as const
export type Type = (typeof types)[number]

/** A registered database to read from. */
export interface Database {
  readonly path: string
  /** Of a key and a collection nobody else has. */
  readonly name: string
  /** The one its connection string names, if it does. */
  readonly databaseName: string | undefined
  /** Whether a key may be written: not into a database that was there before. */
  readonly writable: boolean
}

const ownDatabases = new Set(['admin', 'config', 'local'])

/** The routes of each engine, asked for what any database has; no row, value or document of anybody else is shown. */
export const reads: Readonly<Record<Type, (client: Client, database: Database) => Promise<void>>> = {
  async redis({ send }, { path, name, writable }) {
    const key = `${name}:greeting`
    if (writable) {
      await send('POST', `${path}/set`, 200, { key, value: 'hello', ttlMs: 60_000 })
      const { value } = await send('GET', `${path}/get?key=${key}`, 200)
      expectEqual('the value', value, 'hello')
    }
    listOf(await send('GET', `${path}/keys?pattern=${key}&count=1000`, 200), 'keys')
    await send('GET', `${path}/info?section=server`, 200)
  },

  async postgres({ send }, { path }) {
    const query = { query: 'select $1::int + 1 as answer', parameters: [41] }
    const { rows } = await send('POST', `${path}/query`, 200, query)
    expectEqual('the row', JSON.stringify(rows), '[{"answer":42}]')
    const system = 'included_schemas=pg_catalog&include_system_schemas=true&include_columns=false&limit=1'
    const tables = await send('GET', `${path}/tables?${system}`, 200)
    expectEqual('the number of tables', tables['length'], 1)
  },

  async mongodb({ send }, { path, name, databaseName }) {
    const names = listOf(await send('GET', `${path}/databases`, 200), 'databases').map(nameOf)
    const database = encodeURIComponent(databaseName ?? names.find((found) => !ownDatabases.has(found)) ?? name)
    listOf(await send('GET', `${path}/collections?databaseName=${database}`, 200), 'collections')
    const query = `collection=${name}&databaseName=${database}&limit=1`
    const documents = listOf(await send('GET', `${path}/documents?${query}`, 200), 'documents')
    expectEqual('the number of documents', documents.length, 0)
  },

  async bun_api({ send }, { path }) {
    const { ok } = await send('GET', `${path}/health`, 200)
    expectEqual('ok', ok, true)
    await send('GET', `${path}/info`, 200)
  },
}

function listOf({ data }: Json, what: string): readonly unknown[] {
  if (!Array.isArray(data)) throw new Error(`the answer has no list of ${what}`)
  return data
}

function nameOf(entry: unknown): string {
  return typeof entry === 'object' && entry !== null && 'name' in entry ? String(entry.name) : ''
}
