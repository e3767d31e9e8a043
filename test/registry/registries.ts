import { afterAll, beforeAll, describe } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Sql } from 'postgres'
import {
  createTestApp,
  type RegistryKind,
  registryKinds,
  type TestApp,
  type TestAppOptions,
} from '#test/support/app.ts'
import { embeddedClient, withClient } from './scratch.ts'

export const path = '/api/platform/databases'

/** A `describe` per kind of registry, each with one app for all its tests. */
export function describeRegistries(
  label: string,
  body: (app: () => TestApp, registry: RegistryKind) => void,
  options: Omit<TestAppOptions, 'registry'> = {},
): void {
  for (const registry of registryKinds) {
    describe(`${label} on ${registry}`, () => {
      let app: TestApp | undefined
      beforeAll(async () => {
        app = await createTestApp({ ...options, registry })
      })
      afterAll(() => app?.[Symbol.asyncDispose]())
      body(() => {
        if (app === undefined) throw new Error('the app is not there yet')
        return app
      }, registry)
    })
  }
}

/** SQL in the app's own registry, beside the app. */
export async function inRegistry<T>(app: TestApp, work: (sql: Sql) => Promise<T>): Promise<T> {
  const { DATABASE_URL, DATA_DIR } = app.deps.config
  if (DATABASE_URL !== undefined) return withClient(DATABASE_URL, work)
  const sql = embeddedClient(join(DATA_DIR, 'registry.sock'))
  try {
    return await work(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** A name no other test has. */
export const newName = (prefix = 'db') => `${prefix}-${randomBytes(6).toString('hex')}`

interface Listed {
  readonly id: string
  readonly created_at: string
}

/** The order of every list. PGlite's clock has milliseconds only, so rows made one after the other may share one: then their ids decide. */
export function newestFirst<T extends Listed>(rows: readonly T[]): T[] {
  const place = ({ created_at, id }: Listed) => `${created_at} ${id}`
  return rows.toSorted((one, other) => (place(one) < place(other) ? 1 : -1))
}

/** Waits until the condition holds; throws after `ms`. */
export async function eventually(condition: () => boolean | Promise<boolean>, ms = 5_000): Promise<void> {
  const until = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > until) throw new Error('the condition did not come true in time')
    await Bun.sleep(20)
  }
}
