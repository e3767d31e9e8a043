import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { callWithin } from '#src/engines/engine.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { ApiError } from '#src/errors.ts'
import { eventually } from '#test/engines/peers.ts'
import { type Answer, createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type FakeBehaviour, startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary, stores } from '#test/support/stores.ts'
import { startOwnRedis } from './own-redis.ts'

const callers = 8
// Below that, a p99 of this machine is noise.
const noiseMs = 5

type Timed = Answer & { readonly ms: number }

describeWith('redis', 'a store in trouble leaves the others alone', (store) => {
  let app: TestApp
  let otherId: string
  let names = 0

  beforeAll(async () => {
    app = await createTestApp({ env: { REQUEST_TIMEOUT_MS: '2000' } })
    otherId = await register('redis', store.url)
    await measure(500)
  })
  afterAll(() => app?.[Symbol.asyncDispose]())
  afterEach(async () => {
    const busy = () => {
      const { leased, draining, waiting, open, live, opened, closed } = app.deps.connections.metrics()
      return [leased, draining, waiting, open, opened - closed - live]
    }
    await eventually(() => busy().every((count) => count === 0)).catch(() => undefined)
    expect(busy()).toEqual([0, 0, 0, 0, 0])
  })

  const register = async (type: string, connectionString: string): Promise<string> => {
    const body = { projectRef: 'default', name: `bulkhead-${names++}`, type, connectionString }
    return (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body.id
  }
  const paths: Readonly<Record<string, string>> = {
    redis: 'get?key=absent',
    postgres: 'tables?limit=1',
    mongodb: 'databases',
  }
  const ask = async (id: string, type = 'redis'): Promise<Timed> => {
    const started = performance.now()
    const answer = await app.request('GET', `/api/platform/${type}/${id}/${paths[type]}`)
    return { ...answer, ms: performance.now() - started }
  }
  const codeOf = ({ status, body }: Answer): string => (body?.error ? `${status} ${body.error.code}` : `${status}`)
  /** The p99 of a healthy database, asked one request after the other. */
  const measure = async (forMs: number): Promise<number> => {
    const took: number[] = []
    const statuses = new Set<number>()
    for (const until = performance.now() + forMs; performance.now() < until;) {
      const { status, ms } = await ask(otherId)
      statuses.add(status)
      took.push(ms)
    }
    expect([...statuses]).toEqual([404])
    return took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.99)] ?? 0
  }
  /** Runs `trouble` and holds the other database's p99 meanwhile against that of before. */
  const beside = async <T>(name: string, trouble: Promise<T>, before: number, forMs: number): Promise<T> => {
    const during = await measure(forMs)
    console.log(
      `${name}: p99 of the other ${before.toFixed(2)} → ${during.toFixed(2)} ms, × ${(during / before).toFixed(2)}`,
    )
    expect(during).toBeLessThan(3 * Math.max(before, noiseMs))
    return trouble
  }
  /** Asks as several callers do, each again 20 ms after its answer. */
  const press = async (id: string, type: string, forMs: number): Promise<readonly Timed[]> => {
    const until = performance.now() + forMs
    const answers: Timed[] = []
    const caller = async () => {
      while (performance.now() < until) {
        answers.push(await ask(id, type))
        await Bun.sleep(20)
      }
    }
    await Promise.all(Array.from({ length: callers }, caller))
    return answers
  }
  const healthy = (id: string, type: string) =>
    eventually(async () => [200, 404].includes((await ask(id, type)).status), 10_000)

  /** 504 or a full pool while it hangs, refused at once when the breaker is open, and served again within 10 s. */
  const hangs = async (
    type: string,
    id: string,
    freeze: () => Promise<void> | void,
    thaw: () => Promise<void> | void,
  ) => {
    await healthy(id, type)
    const before = await measure(700)
    await freeze()
    try {
      const waiting = Promise.all(Array.from({ length: callers }, () => ask(id, type)))
      for (const answer of await beside(`${type} hangs`, waiting, before, 1_500)) {
        expect(['504 DB_TIMEOUT', '503 POOL_EXHAUSTED']).toContain(codeOf(answer))
        expect(answer.ms).toBeLessThan(2_250)
      }
      const refused = await ask(id, type)
      const { error } = refused.body
      expect([codeOf(refused), error.retryable, error.details]).toEqual([
        '503 DB_UNAVAILABLE',
        true,
        { reason: 'breaker', code: 'DB_TIMEOUT' },
      ])
      expect(Number(refused.headers.get('retry-after'))).toBeWithin(1, 6)
      expect(refused.ms).toBeLessThan(50)
      expect(app.deps.connections.stateOf(id)).toMatchObject({ state: 'open', last_code: 'DB_TIMEOUT' })
    } finally {
      await thaw()
    }
    await healthy(id, type)
    expect(app.deps.connections.stateOf(id)).toEqual({ state: 'closed', retry_in_ms: 0, last_code: null })
  }

  test('one that hangs: Redis', async () => {
    await using own = await startOwnRedis()
    await hangs('redis', await register('redis', own.url), own.freeze, own.thaw)
  }, 30_000)

  const pg = stores().postgres18
  test.skipIf(pg.pid === null)(
    'one that hangs: PostgreSQL',
    async () => {
      const id = await register('postgres', pg.url)
      let frozen: readonly number[] = []
      await hangs(
        'postgres',
        id,
        async () => {
          const sql = postgres(pg.url, { max: 1, onnotice: () => undefined })
          const backends = await sql`select pid from pg_stat_activity where application_name = 'bun-api'`
          await sql.end()
          frozen = [pg.pid ?? 0, ...backends.map((row) => Number(row['pid']))]
          for (const pid of frozen) process.kill(pid, 'SIGSTOP')
        },
        () => {
          for (const pid of frozen) process.kill(pid, 'SIGCONT')
        },
      )
    },
    30_000,
  )

  describeWith('mongo', 'and so', (mongo) => {
    test.skipIf(mongo.pid === null)(
      'one that hangs: MongoDB',
      async () => {
        const id = await register('mongodb', `mongodb://${mongo.host}:${mongo.port}/a?directConnection=true`)
        const signal = (name: NodeJS.Signals) => process.kill(mongo.pid ?? 0, name)
        await hangs(
          'mongodb',
          id,
          () => void signal('SIGSTOP'),
          () => void signal('SIGCONT'),
        )
      },
      30_000,
    )
  })

  test('one that refuses: answered at once, dialled at most 5 times in 10 s, left alone after the fifth, and found again', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await register('redis', store.url.replace(`:${store.port}/`, `:${proxy.port}/`))
    await healthy(id, 'redis')
    const before = await measure(700)
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    const dials = proxy.connections
    const pressing = press(id, 'redis', 10_000)
    const answers = await beside('redis refuses', pressing, before, 2_000)
    expect(new Set(answers.map(codeOf))).toEqual(new Set(['503 DB_CONNECTION_FAILED']))
    expect(proxy.connections - dials).toBeLessThanOrEqual(5)
    await eventually(async () => codeOf(await ask(id)) === '503 DB_UNAVAILABLE')
    const open = await Promise.all(Array.from({ length: 100 }, () => ask(id)))
    expect(new Set(open.map(codeOf))).toEqual(new Set(['503 DB_UNAVAILABLE']))
    expect([app.deps.connections.metrics().open, proxy.connections - dials]).toEqual([1, 5])
    proxy.mode = 'pass'
    await healthy(id, 'redis')
  }, 40_000)

  test('a changed row closes the breaker at once, and the log says when it opened', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const connectionString = store.url.replace(`:${store.port}/`, `:${proxy.port}/`)
    const id = await register('redis', connectionString)
    await healthy(id, 'redis')
    proxy.mode = 'blackhole'
    await Promise.all(Array.from({ length: callers }, () => ask(id)))
    const open = codeOf(await ask(id))
    proxy.mode = 'pass'
    await app.request('PATCH', `/api/platform/databases/${id}`, { body: { description: 'moved' } })
    expect([open, codeOf(await ask(id))]).toEqual(['503 DB_UNAVAILABLE', '404 NOT_FOUND'])
    const told = () => app.logLines.filter((line) => line.includes(id) && line.includes('"state":"open"')).length
    await eventually(() => told() === 1)
  })

  test('a successful test of the connection closes the breaker at once, and one that fails leaves it open', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await register('redis', store.url.replace(`:${store.port}/`, `:${proxy.port}/`))
    await healthy(id, 'redis')
    const states = () =>
      app.logLines
        .filter((line) => line.includes(id) && line.includes('"breaker"'))
        .map((line) => JSON.parse(line).state)
    const prove = async () => (await app.request('POST', `/api/platform/databases/${id}/test`)).body.ok
    proxy.mode = 'blackhole'
    await Promise.all(Array.from({ length: callers }, () => ask(id)))
    const seen: unknown[] = [codeOf(await ask(id)), await prove(), codeOf(await ask(id)), states()]
    proxy.mode = 'pass'
    proxy.resetAll()
    seen.push(await prove(), app.deps.connections.stateOf(id), codeOf(await ask(id)))
    const closed = { state: 'closed', retry_in_ms: 0, last_code: null }
    const refused = '503 DB_UNAVAILABLE'
    expect(seen).toEqual([refused, false, refused, ['open'], true, closed, '404 NOT_FOUND'])
    await eventually(() => Bun.deepEquals(states(), ['open', 'closed']))
  })

  test('a connection that is lost under many requests is one failure: the next one dials, and is answered', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await register('redis', store.url.replace(`:${store.port}/`, `:${proxy.port}/`))
    await healthy(id, 'redis')
    proxy.mode = 'blackhole'
    const body = { key: 'bulkhead', value: 'x' }
    const writing = Array.from({ length: 20 }, () => app.request('POST', `/api/platform/redis/${id}/set`, { body }))
    await Bun.sleep(50)
    proxy.resetAll()
    proxy.mode = 'pass'
    const lost = new Set((await Promise.all(writing)).map(codeOf))
    expect([lost, codeOf(await ask(id))]).toEqual([new Set(['503 DB_CONNECTION_FAILED']), '404 NOT_FOUND'])
    await app.request('DELETE', `/api/platform/databases/${id}`)
  })

  test('the request that tries may be repeated once: it is not refused by itself, and closes the breaker', async () => {
    const id = await register('redis', store.url)
    const { connections } = app.deps
    const call = callWithin(20_000)
    const loading = () => new ApiError('DB_UNAVAILABLE', 'loading', { details: { code: 'LOADING' } })
    for (let failures = 0; failures < 5; failures++) {
      const borrower = { lent: undefined, lentAt: 0, trying: false }
      using _session = await connections.open(redis, id, call, borrower)
      connections.settled(borrower, loading())
    }
    const seen: unknown[] = [codeOf(await ask(id))]
    await Bun.sleep(connections.stateOf(id).retry_in_ms)
    const borrower = { lent: undefined, lentAt: 0, trying: false }
    for (let attempt = 0; attempt < 2; attempt++) {
      using _session = await connections.open(redis, id, call, borrower)
      seen.push(borrower.trying, codeOf(await ask(id)))
    }
    connections.settled(borrower)
    seen.push(codeOf(await ask(id)))
    const refused = '503 DB_UNAVAILABLE'
    expect(seen).toEqual([refused, true, refused, true, refused, '404 NOT_FOUND'])
    await app.request('DELETE', `/api/platform/databases/${id}`)
  })

  test('one that is slow, and is served', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await register('redis', store.url.replace(`:${store.port}/`, `:${proxy.port}/`))
    await healthy(id, 'redis')
    proxy.setDelay(300)
    const before = await measure(700)
    const answers = await beside('redis is slow', press(id, 'redis', 1_500), before, 1_500)
    expect(new Set(answers.map(codeOf))).toEqual(new Set(['404 NOT_FOUND']))
    await app.request('DELETE', `/api/platform/databases/${id}`)
  })

  test('one that answers with more than it was asked for', async () => {
    const floods: FakeBehaviour = (socket) => {
      let commands = 0
      const chunk = Buffer.alloc(65_536, 'x')
      const pour = () => {
        while (!socket.destroyed && socket.write(chunk));
      }
      socket.on('data', () => {
        if (commands++ === 0) return void socket.write('+OK\r\n')
        socket.write('$536870912\r\n')
        socket.on('drain', pour)
        pour()
      })
    }
    await using server = await startFakeServer(floods)
    const id = await register('redis', `redis://:${canary}@127.0.0.1:${server.port}`)
    const before = await measure(700)
    const answers = await beside('redis floods', press(id, 'redis', 1_500), before, 1_500)
    for (const code of new Set(answers.map(codeOf)))
      expect(['413 RESULT_TOO_LARGE', '503 DB_CONNECTION_FAILED', '503 DB_UNAVAILABLE']).toContain(code)
    await app.request('DELETE', `/api/platform/databases/${id}`)
  })

  test('callers whose statements are too slow for their own limits do not close a database to others', async () => {
    await using scratch = await createScratchDatabase(pg)
    const sql = postgres(scratch.url, { max: 1, onnotice: () => undefined })
    await sql.unsafe("create function raising() returns int language plpgsql as 'begin raise sqlstate ''28P01''; end'")
    await sql.end()
    const id = await register('postgres', scratch.url)
    const run = async (body: object) =>
      codeOf(await app.request('POST', `/api/platform/postgres/${id}/query`, { body }))
    const seen: string[] = []
    for (let count = 0; count < 6; count++) {
      seen.push(await run({ query: 'select pg_sleep(5)', timeoutMs: 300 }))
      seen.push(await run({ query: 'select raising()' }))
    }
    expect([new Set(seen), codeOf(await ask(id, 'postgres'))]).toEqual([
      new Set(['504 DB_TIMEOUT', '424 DB_INVALID_CREDENTIALS']),
      '200',
    ])
    await app.request('DELETE', `/api/platform/databases/${id}`)
  })
})

describe('the figures', () => {
  test('of a server without trouble say so', async () => {
    await using app = await createTestApp()
    const id = crypto.randomUUID()
    expect([app.deps.connections.metrics().open, app.deps.connections.stateOf(id)]).toEqual([
      0,
      { state: 'closed', retry_in_ms: 0, last_code: null },
    ])
  })
})
