import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { callWithin } from '#src/engines/engine.ts'
import { postgres } from '#src/engines/postgres/engine.ts'
import { createReadRetries, type Work } from '#src/engines/read-retries.ts'
import { redis } from '#src/engines/redis/engine.ts'
import type { ApiError } from '#src/errors.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type FaultProxy, startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

const cleanup = new AsyncDisposableStack()
let app: TestApp
let read: Work
beforeAll(async () => {
  app = cleanup.use(await createTestApp())
  read = createReadRetries({ open: (engine, id, call) => app.deps.open(engine, id, call) })
})
afterAll(() => cleanup.disposeAsync())

const failed = (error: unknown) => (error as ApiError).code

/** The connection goes while the request is on its way, before the server has seen any of it. */
async function losing<T>(proxy: FaultProxy, asking: () => Promise<T>): Promise<T> {
  proxy.mode = 'blackhole'
  const answer = asking()
  proxy.resetAll()
  proxy.mode = 'pass'
  return await answer
}

describeWith('redis', 'a read whose connection is lost before any reply: Redis', (store) => {
  let id: string
  let proxy: FaultProxy
  beforeAll(async () => {
    proxy = cleanup.use(await startFaultProxy(store.host, store.port))
    const connectionString = store.url.replace(`:${store.port}/`, `:${proxy.port}/`)
    id = (await app.register({ name: 'retries-redis', type: 'redis', connectionString })).id
    await app.request('POST', `/api/platform/redis/${id}/set`, { body: { key: 'retried', value: 'x'.repeat(65_536) } })
  })
  const get = async (of: Work = read) => {
    using call = callWithin(5_000)
    return await of(redis, id, call, async (session) => (await session.strings.get('retried', 'utf8', call)).type)
  }

  test('is asked once more, on a connection made anew', async () => {
    expect(await get()).toBe('string')
    const dialled = proxy.connections
    expect(await losing(proxy, get)).toBe('string')
    expect(proxy.connections - dialled).toBe(1)
  })

  test('is not asked again where a part of the reply has come', async () => {
    expect(await get()).toBe('string')
    const dialled = proxy.connections
    proxy.cutAfterBytes(1_000)
    expect(await get().catch(failed)).toBe('DB_CONNECTION_FAILED')
    expect(proxy.connections).toBe(dialled)
    expect(await get()).toBe('string')
  })

  test('a write is not sent twice, and says that its outcome is unknown', async () => {
    expect(await get()).toBe('string')
    using call = callWithin(5_000)
    using session = await app.deps.open(redis, id, call)
    const error = await losing(proxy, () =>
      session.strings.set({ key: 'once', value: '1' }, call).catch((thrown) => thrown),
    )
    expect([error.code, error.retryable, error.message.includes('unknown')]).toEqual([
      'DB_CONNECTION_FAILED',
      false,
      true,
    ])
  })

  test('is asked again for a tenth of the reads only, and five at once', async () => {
    const own = createReadRetries({ open: (engine, databaseId, call) => app.deps.open(engine, databaseId, call) })
    const answers: string[] = []
    for (let round = 0; round < 10; round++) {
      await get()
      answers.push(await losing(proxy, () => get(own).catch(failed)))
    }
    expect(answers).toEqual([...Array(5).fill('string'), ...Array(5).fill('DB_CONNECTION_FAILED')])
    for (let round = 0; round < 12; round++) await get(own).catch(failed)
    expect(await losing(proxy, () => get(own).catch(failed))).toBe('string')
  })
})

describe('a read whose connection is lost before any reply: PostgreSQL', () => {
  test('is asked once more; one that has begun is not', async () => {
    const store = stores().postgres18
    await using proxy = await startFaultProxy(store.host, store.port)
    const connectionString = store.url.replace(`:${store.port}/`, `:${proxy.port}/`)
    const { id } = await app.register({ name: 'retries-postgres', type: 'postgres', connectionString })
    const request = { parameters: [], readOnly: true, maxRows: 1, rowMode: 'object' } as const
    let tries = 0
    const ask = async (query: string) => {
      using call = callWithin(5_000)
      return await read(postgres, id, call, async (session) => {
        tries += 1
        return (await session.query({ ...request, query }, call)).rows
      })
    }
    expect([await ask('select 1 as n'), tries]).toEqual([[{ n: 1 }], 1])
    expect([await losing(proxy, () => ask('select 2 as n')), tries]).toEqual([[{ n: 2 }], 3])
    proxy.cutAfterBytes(20_000)
    expect([await ask("select repeat('x', 100000) as n").catch(failed), tries]).toEqual(['DB_CONNECTION_FAILED', 4])
  })
})

describeWith('redis', 'GET routes', (store) => {
  test('200 though the connection was lost meanwhile; a write on it is a 503 of unknown outcome', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const connectionString = store.url.replace(`:${store.port}/`, `:${proxy.port}/`)
    const { id } = await app.register({ name: 'retries-routes', type: 'redis', connectionString })
    const path = `/api/platform/redis/${id}`
    const body = { key: 'by-route', value: 'kept' }
    expect((await app.request('POST', `${path}/set`, { body })).status).toBe(200)
    for (const read of ['get?key=by-route', 'keys?count=1', 'info'])
      expect([read, (await losing(proxy, () => app.request('GET', `${path}/${read}`))).status]).toEqual([read, 200])
    const { status, body: answer } = await losing(proxy, () => app.request('POST', `${path}/set`, { body }))
    expect([status, answer.error.retryable]).toEqual([503, false])
  })
})
