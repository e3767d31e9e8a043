import postgres, { type Sql } from 'postgres'
import type { PostgresStore } from '#test/support/stores.ts'

export interface FreshDatabase extends AsyncDisposable {
  /** One connection as the store's superuser, to nothing else but this database. */
  readonly sql: Sql
  connect(user: string, password: string): Sql
  /** Rows as the server's bytes, in column order. */
  raw(text: string, ...parameters: readonly string[]): Promise<readonly (readonly (Uint8Array | null)[])[]>
}

/** A database of its own for one test file, dropped when disposed. */
export async function freshDatabase(store: PostgresStore, options = ''): Promise<FreshDatabase> {
  const name = `test_${crypto.randomUUID().replaceAll('-', '')}`
  const connections: Sql[] = []
  const connect = (user: string, password: string, database = name) => {
    const sql = postgres({
      host: store.host,
      port: store.port,
      user,
      password,
      database,
      max: 1,
      prepare: false,
      fetch_types: false,
      onnotice: () => undefined,
    })
    connections.push(sql)
    return sql
  }
  const admin = connect(store.user, store.password, store.database)
  await admin.unsafe(`create database ${name} ${options}`)
  const sql = connect(store.user, store.password)
  return {
    sql,
    connect: (user, password) => connect(user, password),
    async raw(text, ...parameters) {
      return (await sql.unsafe(text, [...parameters]).raw()) as unknown as (Uint8Array | null)[][]
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(connections.filter((connection) => connection !== admin).map((connection) => connection.end()))
      await admin.unsafe(`drop database ${name} with (force)`)
      await admin.end()
    },
  }
}
