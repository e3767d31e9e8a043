import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { Sql } from 'postgres'
import { openEmbedded } from '#src/registry/embedded.ts'
import type { PostgresStore } from '#test/support/stores.ts'

/** An empty database of a test's own, gone when disposed; `notified` collects what reached `sql` on a channel it listens to. */
export interface Scratch extends AsyncDisposable {
  readonly sql: Sql
  readonly notified: string[]
  /** Of the database, for clients beside `sql`; null on PGlite, which has one client. */
  readonly url: string | null
}

/** A folder for `DATA_DIR`, removed when disposed. */
export async function scratchFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'registry-test-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A database `t_…` on a real server. */
export async function scratchDatabase(store: PostgresStore): Promise<Scratch> {
  const name = `t_${crypto.randomUUID().replaceAll('-', '')}`
  await withClient(store.url, (admin) => admin.unsafe(`create database ${name}`))
  const url = new URL(store.url)
  url.pathname = name
  const notified: string[] = []
  const sql = postgres(url.href, options(notified))
  return {
    sql,
    notified,
    url: url.href,
    async [Symbol.asyncDispose]() {
      await sql.end({ timeout: 1 })
      await withClient(store.url, (admin) => admin.unsafe(`drop database ${name} with (force)`))
    },
  }
}

/** The client a server without `DATABASE_URL` uses. */
export function embeddedClient(socketPath: string, notified: string[] = []): Sql {
  return postgres({ ...options(notified), path: socketPath } as postgres.Options<{}>)
}

/** PGlite takes seconds to make: tests share it, each finding it without the schema. */
export async function scratchPglite(): Promise<AsyncDisposable & { fresh(): Promise<Scratch> }> {
  const folder = await scratchFolder()
  const embedded = await openEmbedded(folder.path)
  return {
    async fresh() {
      const notified: string[] = []
      const sql = embeddedClient(embedded.socketPath, notified)
      return {
        sql,
        notified,
        url: null,
        async [Symbol.asyncDispose]() {
          await sql.unsafe('drop schema if exists platform cascade')
          await sql.end({ timeout: 1 })
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await embedded.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

export async function withClient<T>(url: string, use: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, options([]))
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

function options(notified: string[]) {
  return {
    max: 1,
    fetch_types: false,
    prepare: false,
    onnotice: () => undefined,
    onnotify: (_channel: string, payload: string) => notified.push(payload),
  }
}
