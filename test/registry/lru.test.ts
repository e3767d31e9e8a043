import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createRedisUser, type RedisUser } from './redis-user.ts'
import { eventually, newName, path } from './registries.ts'
import { type Call, callWithin } from '#src/engines/engine.ts'
import { redis as redisEngine } from '#src/engines/redis/engine.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

// Two sessions of Redis, each of one shared socket and one exclusive, and two of PostgreSQL.
const env = {
  REDIS_MAX_CONNECTIONS: '1',
  MAX_REDIS_CONNECTIONS: '4',
  POSTGRES_MAX_POOL_SIZE: '1',
  MAX_POSTGRES_CONNECTIONS: '2',
  POOL_WAIT_TIMEOUT_MS: '600',
}

describeWith('redis', 'where two sessions of an engine may live', (store) => {
  let app: TestApp
  let user: RedisUser
  beforeAll(async () => {
    ;[app, user] = await Promise.all([createTestApp({ registry: 'postgres18', env }), createRedisUser(store)])
  })
  afterAll(async () => {
    await app[Symbol.asyncDispose]()
    await user[Symbol.asyncDispose]()
  })

  const addUrl = async (type: string, connectionString: string): Promise<string> => {
    const body = { projectRef: 'default', name: newName(), type, connectionString }
    return (await app.request('POST', `${path}?skipTest=true`, { body })).body.id
  }
  const add = (database: number) => addUrl('redis', user.url(database))
  const addMany = (count: number) => Promise.all(Array.from({ length: count }, (_, index) => add(index + 1)))
  const read = async (id: string | undefined) => {
    const { status, headers, body } = await app.request('GET', `/api/platform/redis/${id}/info?section=server`)
    return status === 200 ? status : [status, body.error.code, headers.get('retry-after')]
  }
  const lend = async (id: string | undefined, call: Call) => app.deps.open(redisEngine, id ?? '', call)
  const live = () => user.databases().then((databases) => databases.toSorted())
  /** Ends all sessions, so that each test begins with none. */
  const empty = async () => {
    for (const { id } of (await app.request('GET', path)).body) await app.request('DELETE', `${path}/${id}`)
    await eventually(async () => (await live()).length === 0)
  }
  const exhausted = [503, 'POOL_EXHAUSTED', '1']

  test('the third database ends the session that was idle longest', async () => {
    await empty()
    const [one, two, three] = await addMany(3)
    using call = callWithin(10_000)
    {
      await using _lent = await lend(one, call)
      expect([await read(two), await live()]).toEqual([200, [1, 2]])
    }
    // One was asked for first, but came back last.
    expect([await read(three), await live()]).toEqual([200, [1, 3]])
    expect([await read(two), await live()]).toEqual([200, [2, 3]])
  })

  test('never more sockets than the cap, whoever asks', async () => {
    await empty()
    const ids = await addMany(8)
    let most = 0
    let watching = true
    const watch = async () => {
      while (watching) most = Math.max(most, (await user.databases()).length)
    }
    const watched = watch()
    for (let round = 0; round < 5; round++) for (const id of ids) expect(await read(id)).toBe(200)
    const answers = await Promise.all(Array.from({ length: 24 }, (_, index) => read(ids[index % 6])))
    watching = false
    await watched
    const { evicted, opened, closed, live: alive, waiting } = app.deps.connections.metrics()
    expect([new Set(answers.map(String)), most <= 2, evicted >= 38, opened - closed === alive, waiting]).toEqual([
      new Set(['200']),
      true,
      true,
      true,
      0,
    ])
  })

  test('503 all sessions lent: a bounded wait, and the lent ones and the other engines notice nothing', async () => {
    await empty()
    const [one, two, three] = await addMany(3)
    const postgresId = await addUrl('postgres', stores().postgres18.url)
    using call = callWithin(10_000)
    await using first = await lend(one, call)
    await using second = await lend(two, call)
    const started = performance.now()
    const [refused, others] = await Promise.all([
      read(three),
      Promise.all([read(one), read(two), app.request('GET', `/api/platform/postgres/${postgresId}/tables`)]),
    ])
    const waitedMs = performance.now() - started
    expect([refused, others[0], others[1], others[2].status]).toEqual([exhausted, 200, 200, 200])
    expect([waitedMs > 500, waitedMs < 1_500]).toEqual([true, true])
    await Promise.all([first.ping(call), second.ping(call)])
    expect(await live()).toEqual([1, 2])
  })

  test('503 PostgreSQL sessions busy with queries; a query in flight is never cut, and Redis notices nothing', async () => {
    await empty()
    const redisId = await add(1)
    const databases = await Promise.all([1, 2, 3].map(() => createScratchDatabase(stores().postgres18)))
    const ids = await Promise.all(databases.map(({ url }) => addUrl('postgres', url)))
    const query = (id: string | undefined, text: string) =>
      app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: text } })
    const slow = ids.slice(0, 2).map((id) => query(id, 'select pg_sleep(1.5)'))
    await eventually(() => app.deps.connections.metrics().live === 2)
    const third = await query(ids[2], 'select 1')
    expect([third.status, third.body.error.code, third.headers.get('retry-after'), await read(redisId)]).toEqual([
      ...exhausted,
      200,
    ])
    expect((await Promise.all(slow)).map(({ status }) => status)).toEqual([200, 200])
    expect((await query(ids[2], 'select 1')).status).toBe(200)
    await empty()
    await Promise.all(databases.map((database) => database[Symbol.asyncDispose]()))
  })

  test('who waits gets the slot of the first that comes back', async () => {
    await empty()
    const [one, two, three] = await addMany(3)
    using call = callWithin(10_000)
    const first = await lend(one, call)
    await using _second = await lend(two, call)
    const waiting = read(three)
    await eventually(() => app.deps.connections.metrics().waiting === 1)
    await first[Symbol.asyncDispose]()
    expect([await waiting, await live()]).toEqual([200, [2, 3]])
  })

  test('503 at once when twice as many wait as may live, and who leaves frees a place', async () => {
    await empty()
    const [one, two, ...others] = await addMany(8)
    using call = callWithin(10_000)
    const first = await lend(one, call)
    const second = await lend(two, call)
    const leaving = new AbortController()
    const left = lend(others[0], callWithin(10_000, leaving.signal)).catch((error: { code?: string }) => error.code)
    const waiting = [1, 2, 3].map((index) => read(others[index]))
    const queue = () => app.deps.connections.metrics().waiting
    await eventually(() => queue() === 4)
    const started = performance.now()
    expect([await read(others[4]), performance.now() - started < 200]).toEqual([exhausted, true])
    const { size } = app.deps.connections
    leaving.abort()
    expect([await left, queue(), app.deps.connections.size]).toEqual(['DB_TIMEOUT', 3, size - 1])
    waiting.push(read(others[5]))
    await eventually(() => queue() === 4)
    await Promise.all([first[Symbol.asyncDispose](), second[Symbol.asyncDispose]()])
    expect((await Promise.all(waiting)).map(String)).toEqual(Array(4).fill('200'))
  })

  test('100 connections that fail give their slots back', async () => {
    await empty()
    await using proxy = await startFaultProxy(store.host, store.port)
    proxy.mode = 'refuse-after-accept'
    const { failed } = app.deps.connections.metrics()
    for (let round = 0; round < 100; round += 4) {
      const ids = await Promise.all(
        [1, 2, 3, 4].map(() => addUrl('redis', `redis://:${store.password}@127.0.0.1:${proxy.port}/1`)),
      )
      const answers = await Promise.all(ids.map(read))
      expect(answers).toEqual(Array(4).fill([503, 'DB_CONNECTION_FAILED', '2']))
    }
    proxy.mode = 'pass'
    const [one, two, three] = await addMany(3)
    expect([await read(one), await read(two), await read(three), await live()]).toEqual([200, 200, 200, [2, 3]])
    const metrics = app.deps.connections.metrics()
    expect([metrics.failed - failed, metrics.opened - metrics.closed === metrics.live]).toEqual([100, true])
  })
})
