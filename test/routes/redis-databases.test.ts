import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { keyspaceOf } from '#src/engines/redis/keyspace/databases.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describeWith('redis', 'another logical database', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 11, lazyConnect: true })
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { REDIS_MAX_CONNECTIONS: '2', POOL_WAIT_TIMEOUT_MS: '5000' } })
    const { register } = app
    id = (await register({ name: 'databases', type: 'redis', connectionString: store.url.replace(/\/0$/, '/10') })).id
    await raw.flushdb()
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const set = (value: string, db?: number) =>
    app.request('POST', `/api/platform/redis/${id}/set${db === undefined ? '' : `?db=${db}`}`, {
      body: { key: 'where', value, ttlMs: 60_000 },
    })
  const get = (db?: number) =>
    app.request('GET', `/api/platform/redis/${id}/get?key=where${db === undefined ? '' : `&db=${db}`}`)

  test('200 is read and written beside the registered one, by many at once', async () => {
    expect((await set('here')).status).toBe(200)
    expect((await set('there', 11)).status).toBe(200)
    expect(await raw.get('where')).toBe('there')
    const asked = await Promise.all(Array.from({ length: 40 }, (_, n) => get(n % 2 === 0 ? undefined : 11)))
    expect(asked.map(({ body }) => body.value)).toEqual(asked.map((_, n) => (n % 2 === 0 ? 'here' : 'there')))
  })

  test('400 a number the registration does not have, or that is none', async () => {
    for (const db of ['16', '99999', '-1', 'x', '1.5']) {
      const { status, body } = await app.request('GET', `/api/platform/redis/${id}/get?key=where&db=${db}`)
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', 'db'])
    }
  })
})

describeWith('redis', 'GET /redis/{databaseId}/databases', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 11, lazyConnect: true })
  let app: TestApp

  beforeAll(async () => {
    app = await createTestApp()
    const volatile = raw.duplicate({ db: 10 })
    await Promise.all([raw.flushdb(), volatile.flushdb()])
    await raw.mset({ a: '1', b: '2', c: '3' })
    await volatile.set('a', '1', 'PX', 3_600_000)
    await volatile.set('b', '1')
    volatile.disconnect()
  })
  afterAll(async () => {
    await raw.flushdb()
    const volatile = raw.duplicate({ db: 10 })
    await volatile.flushdb()
    volatile.disconnect()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const register = async (name: string, connectionString: string, config = {}) =>
    (await app.register({ name, type: 'redis', connectionString, config })).id
  const list = (id: string) => app.request('GET', `/api/platform/redis/${id}/databases`)
  // Other tests may have keys in other databases.
  const ours = ({ data }: { readonly data: readonly { readonly db: number }[] }) =>
    data.filter(({ db }) => db === 10 || db === 11)

  test('200 keys, expiring keys and average TTL as INFO says them, and how many databases there are', async () => {
    const { status, body } = await list(await register('listed', store.url))
    // The server makes its estimate when it has the time.
    const average = body.data.find(({ db }: { db: number }) => db === 10).avg_ttl_ms
    expect(average ?? 3_600_000).toBeWithin(3_000_000, 3_600_001)
    expect([status, { ...body, data: ours(body) }]).toEqual([
      200,
      {
        data: [
          { db: 10, keys: 2, expires: 1, avg_ttl_ms: average },
          { db: 11, keys: 3, expires: 0, avg_ttl_ms: null },
        ],
        count: 16,
        usable: 16,
        source: 'info',
        complete: true,
      },
    ])
    expect(body.data.every(({ keys }: { keys: number }) => keys > 0)).toBe(true)
  })

  test('200 without the rights to INFO and CONFIG: by DBSIZE, and null for what nobody says', async () => {
    const { username, password } = store.limited
    const url = store.url.replace(/\/\/[^@]*@/, `//${username}:${password}@`)
    const { status, body } = await list(await register('limited', url))
    expect([status, { ...body, data: ours(body) }]).toEqual([
      200,
      {
        data: [
          { db: 10, keys: 2, expires: null, avg_ttl_ms: null },
          { db: 11, keys: 3, expires: null, avg_ttl_ms: null },
        ],
        count: null,
        usable: 16,
        source: 'dbsize',
        complete: true,
      },
    ])
    const few = (await list(await register('limited-few', url, { databases: 11 }))).body
    expect([few.usable, ours(few).map(({ db }) => db)]).toEqual([11, [10]])
    // More than the server has, and more than are asked.
    const many = (await list(await register('limited-many', url, { databases: 1_000 }))).body
    expect([many.complete, many.usable, ours(many).length]).toEqual([true, 1_000, 2])
  })

  test('404 an unknown database', async () => {
    const { status, body } = await list(crypto.randomUUID())
    expect([status, body.error.code]).toEqual([404, 'DB_NOT_FOUND'])
  })
})

test('lines of INFO keyspace are read exactly, and others left out', () => {
  expect(
    keyspaceOf({
      db0: 'keys=12,expires=3,avg_ttl=4500,subexpiry=1',
      db15: 'keys=1,expires=0,avg_ttl=0',
      db7: 'keys=5',
      db8: 'keys=many,expires=1',
      dbx: 'keys=1',
      other: 'keys=1',
    }),
  ).toEqual([
    { db: 0, keys: 12, expires: 3, avg_ttl_ms: 4_500 },
    { db: 15, keys: 1, expires: 0, avg_ttl_ms: null },
    { db: 7, keys: 5, expires: null, avg_ttl_ms: null },
  ])
})
