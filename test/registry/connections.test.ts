import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { Redis } from 'ioredis'
import { eventually, newName, path } from './registries.ts'
import { withClient } from './scratch.ts'
import { createScratchDatabase, createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { closesAtOnce, postgresClosesAfterStartup, startFakeServer } from '#test/support/fake-servers.ts'
import { type FaultProxy, startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

const { redis, redisOpen, postgres18: pg } = stores()

/** Cuts every connection, and waits until this process has seen it: a connection of ours, made last, is cut last. */
async function cut(proxy: FaultProxy): Promise<void> {
  const [before, witness] = [proxy.connections, connect({ host: '127.0.0.1', port: proxy.port })]
  witness.on('error', () => undefined).resume()
  const closed = new Promise((resolve) => witness.once('close', resolve))
  await eventually(() => proxy.connections > before)
  proxy.resetAll()
  await closed
}

describe('sessions of registered databases', () => {
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp({ registry: 'postgres18', env: { POOL_IDLE_TIMEOUT_MS: '1000' } })
  })
  afterAll(() => app[Symbol.asyncDispose]())

  const add = async (type: string, connectionString: string): Promise<string> => {
    const body = { projectRef: 'default', name: newName(), type, connectionString }
    return (await app.request('POST', `${path}?skipTest=true`, { body })).body.id
  }
  const read = (id: string, signal?: AbortSignal) =>
    app.request('GET', `/api/platform/redis/${id}/info?section=server`, signal === undefined ? {} : { signal })
  const query = (id: string, text: string) =>
    app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: text } })
  const backends = (database: string) =>
    withClient(pg.url, async (sql) => {
      const rows = await sql`
        select usename, state, query from pg_stat_activity where datname = ${database} and backend_type = 'client backend'`
      return rows.map((row) => ({ user: String(row['usename']), state: row['state'], query: String(row['query']) }))
    })

  describe.skipIf(redisOpen === null)('Redis', () => {
    const proxied = () => startFaultProxy(redisOpen?.host ?? '', redisOpen?.port ?? 0)
    const addProxied = (proxy: FaultProxy) => add('redis', `redis://127.0.0.1:${proxy.port}`)

    test('20 callers of a session that is not there yet share one connection', async () => {
      await using proxy = await proxied()
      const id = await addProxied(proxy)
      proxy.setDelay(20)
      const answers = await Promise.all(Array.from({ length: 20 }, () => read(id)))
      expect([answers.map(({ status }) => status), proxy.connections]).toEqual([Array(20).fill(200), 1])
    })

    test('a caller who leaves while it is made does not take it from the others', async () => {
      await using proxy = await proxied()
      const id = await addProxied(proxy)
      proxy.mode = 'blackhole'
      const leaving = new AbortController()
      const [first, second] = [read(id, leaving.signal), read(id)]
      await eventually(() => proxy.connections === 1)
      leaving.abort()
      await first.catch(() => undefined)
      proxy.mode = 'pass'
      expect([(await second).status, proxy.connections]).toEqual([200, 1])
    })

    test('a lost connection is replaced at the next call, which notices nothing', async () => {
      await using proxy = await proxied()
      const id = await addProxied(proxy)
      const seen: unknown[] = []
      for (let round = 1; round <= 3; round++) {
        seen.push((await read(id)).status, proxy.connections)
        await cut(proxy)
      }
      // The witness of each cut is a connection too.
      expect(seen).toEqual([200, 1, 200, 3, 200, 5])
    })

    test('a session nobody uses is closed after POOL_IDLE_TIMEOUT_MS', async () => {
      await using proxy = await proxied()
      const id = await addProxied(proxy)
      const unused = () => eventually(() => app.deps.connections.size === 0, 3_000)
      await unused()
      await read(id)
      expect(app.deps.connections.size).toBe(1)
      await unused()
      expect([(await read(id)).status, proxy.connections]).toEqual([200, 2])
    })

    test('a database that is back is found within 5 s', async () => {
      await using proxy = await proxied()
      const id = await addProxied(proxy)
      proxy.mode = 'refuse-after-accept'
      for (let count = 0; count < 20; count++) {
        const { status, body, headers } = await read(id)
        expect([status, body.error.code, headers.has('retry-after')]).toEqual([503, 'DB_CONNECTION_FAILED', true])
      }
      proxy.mode = 'pass'
      await eventually(async () => (await read(id)).status === 200, 5_000)
    })
  })

  test('a database that refuses costs at most 5 dials in 10 s, however many ask', async () => {
    await using refusing = await startFakeServer(closesAtOnce)
    await using closing = await startFakeServer(postgresClosesAfterStartup)
    const redisId = await add('redis', `redis://127.0.0.1:${refusing.port}`)
    const postgresId = await add('postgres', `postgres://u:${testPassword()}@127.0.0.1:${closing.port}/db`)
    const codes = new Set<string>()
    const until = performance.now() + 10_000
    while (performance.now() < until) {
      const calls = Array.from({ length: 5 }, () => [read(redisId), query(postgresId, 'select 1')]).flat()
      for (const { status, body } of await Promise.all(calls)) codes.add(`${status} ${body.error.code}`)
      await Bun.sleep(50)
    }
    expect([[...codes], refusing.dials <= 5, closing.dials <= 5]).toEqual([['503 DB_CONNECTION_FAILED'], true, true])
  })

  describe('a change under a query', () => {
    const running = async (work: (id: string, name: string, answer: Promise<{ status: number }>) => Promise<void>) => {
      await using database = await createScratchDatabase(pg)
      const id = await add('postgres', database.url)
      const answer = query(id, 'select pg_sleep(1)')
      await eventually(async () =>
        (await backends(database.name)).some(({ state, query }) => state === 'active' && query.includes('pg_sleep')),
      )
      await work(id, database.name, answer)
    }

    test('PATCH: the query completes, new calls use the new secret, and the old session ends', () =>
      running(async (id, name, answer) => {
        const { user, password } = pg.reader
        const body = { username: user, password }
        expect((await app.request('PATCH', `${path}/${id}`, { body })).status).toBe(200)
        const fresh = await query(id, 'select current_user::text as name')
        expect(fresh.body.rows).toEqual([{ name: user }])
        expect((await backends(name)).map((backend) => backend.user)).toContain(pg.user)
        expect((await answer).status).toBe(200)
        await eventually(async () => (await backends(name)).every((backend) => backend.user === user), 10_000)
      }))

    test('DELETE: the query completes, and the session ends', () =>
      running(async (id, name, answer) => {
        expect((await app.request('DELETE', `${path}/${id}`)).status).toBe(204)
        expect((await query(id, 'select 1')).body.error.code).toBe('DB_NOT_FOUND')
        expect((await answer).status).toBe(200)
        await eventually(async () => (await backends(name)).length === 0, 10_000)
      }))
  })

  test('404 an id of another engine', async () => {
    const [one, other] = [await add('redis', 'redis://store.test'), await add('postgres', 'postgres://u@store.test')]
    const answers = [await query(one, 'select 1'), await read(other), await read(crypto.randomUUID())]
    expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(Array(3).fill([404, 'DB_NOT_FOUND']))
  })
})

describe('the end of a server', () => {
  test.skipIf(redis === null)('50 databases used in turn leave no connection behind', async () => {
    const admin = new Redis({ host: redis?.host ?? '', port: redis?.port ?? 0, password: redis?.password ?? '' })
    const [user, password] = [newName('user'), testPassword()]
    await admin.call('ACL', 'SETUSER', user, 'on', `>${password}`, '~*', '+@all')
    const clients = async () => String(await admin.call('CLIENT', 'LIST')).split(` user=${user} `).length - 1
    try {
      {
        await using app = await createTestApp({ registry: 'postgres18' })
        const connectionString = `redis://${user}:${password}@${redis?.host}:${redis?.port}`
        for (let count = 0; count < 50; count++) {
          const { id } = await app.register({ name: newName(), type: 'redis', connectionString })
          expect((await app.request('GET', `${path}/${id}/info`)).status).toBe(200)
        }
        expect([app.deps.connections.size, await clients()]).toEqual([50, 50])
      }
      await eventually(async () => (await clients()) === 0)
    } finally {
      await admin.call('ACL', 'DELUSER', user)
      admin.disconnect()
    }
  })

  test('a connection in the making does not hold it up', async () => {
    const proxy = await startFaultProxy(pg.host, pg.port)
    await using _ = proxy
    proxy.mode = 'blackhole'
    const app = await createTestApp({ registry: 'postgres18' })
    const body = {
      projectRef: 'default',
      name: newName(),
      type: 'redis',
      connectionString: `redis://127.0.0.1:${proxy.port}`,
    }
    const { id } = (await app.request('POST', `${path}?skipTest=true`, { body })).body
    const answer = app.request('GET', `${path}/${id}/info`)
    await eventually(() => proxy.connections === 1)
    const started = performance.now()
    await app[Symbol.asyncDispose]()
    expect([(await answer).status >= 500, performance.now() - started < 1_500]).toEqual([true, true])
  })
})

test.skipIf(redisOpen === null)(
  '403 an engine that is switched off, on every way to it; its rows can be seen and removed',
  async () => {
    await using scratch = await createScratchDatabase(pg)
    const env = { ...testKeys(), DATABASE_URL: scratch.url }
    const on = await createTestApp({ registry: 'postgres18', env })
    const target = { type: 'redis', connectionString: redisOpen?.url }
    const row = { projectRef: 'default', name: newName(), ...target }
    const key = env.BUN_API_KEY
    const { id } = (await on.request('POST', path, { body: row, key })).body
    await on[Symbol.asyncDispose]()

    await using off = await createTestApp({ registry: 'postgres18', env: { ...env, ENABLE_REDIS_MANAGEMENT: 'false' } })
    const refused = [
      await off.request('POST', path, { body: { ...row, name: newName() }, key }),
      await off.request('POST', `${path}?skipTest=true`, { body: { ...row, name: newName() }, key }),
      await off.request('POST', `${path}/test`, { body: target, key }),
      await off.request('POST', `${path}/${id}/test`, { key }),
      await off.request('GET', `${path}/${id}/info`, { key }),
      await off.request('PATCH', `${path}/${id}`, {
        body: target.connectionString === undefined ? {} : { connectionString: target.connectionString },
        key,
      }),
      await off.request('GET', `/api/platform/redis/${id}/keys`, { key }),
    ]
    expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(
      Array(7).fill([403, 'FEATURE_DISABLED']),
    )
    expect((await off.request('GET', path, { key })).body).toHaveLength(1)
    expect((await off.request('GET', `${path}/${id}`, { key })).status).toBe(200)
    expect((await off.request('DELETE', `${path}/${id}`, { key })).status).toBe(204)
  },
)
