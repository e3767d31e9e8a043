import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { eventually } from '#test/engines/peers.ts'
import { stores } from '#test/support/stores.ts'

const cleanup = new AsyncDisposableStack()
let app: TestApp
let sql: postgres.Sql
let hot: string
let cold: string
let seconds = 0

beforeAll(async () => {
  const store = cleanup.use(await createScratchDatabase(stores().postgres18))
  sql = postgres(store.url, { max: 1, onnotice: () => undefined })
  cleanup.defer(() => sql.end())
  app = cleanup.use(await createTestApp({ env: { MAX_IN_FLIGHT: '4', MAX_DATABASE_IN_FLIGHT: '2' } }))
  const register = async (name: string) =>
    (await app.register({ name, type: 'postgres', connectionString: store.url })).id as string
  hot = await register('hot')
  cold = await register('cold')
}, 60_000)
afterAll(() => cleanup.disposeAsync())

const run = (id: string, query: string, signal?: AbortSignal) =>
  app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query }, ...(signal ? { signal } : {}) })

/** Requests that stay at work until they are let go; resolves once the store runs them all. */
async function occupy(id: string, count: number) {
  // A mark of its own tells these sleepers from those before.
  const mark = `pg_sleep(${20 + ++seconds})`
  const leaving = new AbortController()
  const running = Array.from({ length: count }, () => run(id, `select ${mark}`, leaving.signal).catch(() => undefined))
  await eventually(async () => {
    const [row] = await sql`select count(*)::int as n from pg_stat_activity
      where query like ${`%${mark}%`} and state = 'active' and pid <> pg_backend_pid()`
    return row?.['n'] === count
  })
  return {
    async [Symbol.asyncDispose]() {
      leaving.abort()
      await Promise.all(running)
    },
  }
}

const overloaded = {
  status: 503,
  retryAfter: '1',
  body: { message: expect.any(String), error: expect.objectContaining({ code: 'OVERLOADED', retryable: true }) },
}
const shown = ({ status, headers, body }: Awaited<ReturnType<typeof run>>) => ({
  status,
  retryAfter: headers.get('retry-after'),
  body,
})

describe('shedding over HTTP', () => {
  test('503 OVERLOADED at once for a database with all it may have at work; another one answers', async () => {
    await using _busy = await occupy(hot, 2)
    const started = performance.now()
    expect(shown(await run(hot, 'select 1'))).toEqual(overloaded)
    expect(performance.now() - started).toBeLessThan(500)
    expect((await run(cold, 'select 1')).status).toBe(200)
    expect((await app.request('GET', '/api/platform/organizations')).status).toBe(200)
  })

  test('503 OVERLOADED for everything but health once the process has all it takes at work', async () => {
    await using _first = await occupy(hot, 2)
    await using _second = await occupy(cold, 2)
    expect(shown(await app.request('GET', '/api/platform/organizations'))).toEqual(overloaded)
    expect(shown(await app.request('GET', '/openapi.json', { key: null }))).toEqual(overloaded)
    expect((await app.request('GET', '/health')).status).toBe(200)
    expect((await app.request('GET', '/health/ready')).status).toBe(200)
  })

  test('what is over makes room: nothing is counted that has been answered, refused or left', async () => {
    for (let round = 0; round < 3; round++) {
      await using _busy = await occupy(hot, 2)
      for (let refused = 0; refused < 5; refused++) expect((await run(hot, 'select 1')).status).toBe(503)
    }
    await run(hot, 'select nothing')
    await run(crypto.randomUUID(), 'select 1')
    const { load } = app.deps
    await eventually(() => load.inFlight === 0 && load.busyDatabases === 0)
    expect((await run(hot, 'select 1')).status).toBe(200)
  })
})
