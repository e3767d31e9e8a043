import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { MongoClient } from 'mongodb'
import postgres from 'postgres'
import { createApp } from '#src/app.ts'
import { eventually } from '#test/engines/peers.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'
import { startOwnRedis } from './own-redis.ts'

/** The app on a port of its own: a client leaves by closing its connection. */
interface Served extends AsyncDisposable {
  readonly app: TestApp
  /** Asks, and answers the status, or 0 when the client left. */
  ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<number>
}

async function serve(env: Readonly<Record<string, string>> = {}): Promise<Served> {
  const app = await createTestApp({ env })
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: createApp(app.deps).fetch })
  return {
    app,
    async ask(method, path, body, signal) {
      const headers = { authorization: `Bearer ${app.key}`, 'content-type': 'application/json' }
      const sent = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
      const asking = fetch(`${server.url}api/platform/${path}`, { ...sent, ...(signal ? { signal } : {}) })
      return asking.then(
        ({ status }) => status,
        () => 0,
      )
    },
    async [Symbol.asyncDispose]() {
      await server.stop(true)
      await app[Symbol.asyncDispose]()
    },
  }
}

describe('a client that leaves PostgreSQL’s work', () => {
  const cleanup = new AsyncDisposableStack()
  let served: Served
  let sql: postgres.Sql
  let id: string
  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(stores().postgres18))
    sql = postgres(scratch.url, { max: 1 })
    cleanup.defer(() => sql.end())
    served = cleanup.use(await serve({ POSTGRES_MAX_POOL_SIZE: '20' }))
    id = (await served.app.register({ name: 'cancel', type: 'postgres', connectionString: scratch.url })).id
  })
  afterAll(() => cleanup.disposeAsync())

  test('has the right backends cancelled within a second, of 20 at work; the others finish', async () => {
    const running = async () => {
      const rows = await sql`select substring(query from 'mark_([0-9]+)')::int as n from pg_stat_activity
        where datname = current_database() and state = 'active' and query like '%pg_sleep%mark_%' and pid <> pg_backend_pid()`
      return rows.map(({ n }) => n as number).toSorted((a, b) => a - b)
    }
    const all = Array.from({ length: 20 }, (_, n) => n)
    const leaving = all.map(() => new AbortController())
    const asking = all.map((n) =>
      served.ask('POST', `postgres/${id}/query`, { query: `select pg_sleep(3) as mark_${n}` }, leaving[n]?.signal),
    )
    await eventually(async () => (await running()).length === 20)
    const gone = all.filter((n) => n % 3 === 1)
    for (const n of gone) leaving[n]?.abort()
    const left = all.filter((n) => n % 3 !== 1)
    await eventually(async () => (await running()).length === left.length, 1_000)
    expect(await running()).toEqual(left)
    expect(await Promise.all(asking)).toEqual(all.map((n) => (n % 3 === 1 ? 0 : 200)))
    expect(await served.ask('POST', `postgres/${id}/query`, { query: 'select 1' })).toBe(200)
  })
})

describeWith('mongo', 'a client that leaves MongoDB’s work', (store) => {
  const client = new MongoClient(store.url)
  const db = client.db(`cancel_${process.pid}`)
  const cleanup = new AsyncDisposableStack()
  let served: Served
  let id: string
  beforeAll(async () => {
    cleanup.defer(() => client.close())
    cleanup.defer(async () => void (await db.dropDatabase()))
    await db.collection('numbers').insertMany(Array.from({ length: 4_000 }, (_, n) => ({ n })))
    served = cleanup.use(await serve())
    const connectionString = `mongodb://${store.host}:${store.port}/${db.databaseName}?replicaSet=${store.replicaSet}`
    id = (await served.app.register({ name: 'cancel', type: 'mongodb', connectionString })).id
  })
  afterAll(() => cleanup.disposeAsync())

  // Sixteen million comparisons that find nothing.
  const join = { $expr: { $eq: [{ $mod: [{ $add: ['$n', '$$other'] }, 7] }, 8] } }
  const pipeline = [
    { $lookup: { from: 'numbers', let: { other: '$n' }, pipeline: [{ $match: join }], as: 'found' } },
    { $count: 'n' },
  ]
  const working = async () => {
    const filter = { active: true, ns: `${db.databaseName}.numbers`, 'command.aggregate': 'numbers' }
    return ((await client.db('admin').command({ currentOp: 1, ...filter }))['inprog'] as unknown[]).length
  }

  test('has the operation killed within a second', async () => {
    const leaving = new AbortController()
    const body = { collection: 'numbers', pipeline, timeoutMs: 30_000 }
    const asking = served.ask('POST', `mongodb/${id}/aggregate`, body, leaving.signal)
    await eventually(async () => (await working()) === 1)
    leaving.abort()
    await eventually(async () => (await working()) === 0, 1_000)
    expect(await asking).toBe(0)
    expect(await served.ask('GET', `mongodb/${id}/documents?collection=numbers&limit=1`)).toBe(200)
  })

  test('and one whose time is over is killed as well: 504, and nothing goes on', async () => {
    const started = performance.now()
    expect(
      await served.ask('POST', `mongodb/${id}/aggregate`, { collection: 'numbers', pipeline, timeoutMs: 1_000 }),
    ).toBe(504)
    expect(performance.now() - started).toBeLessThan(1_250)
    await eventually(async () => (await working()) === 0, 500)
  })
})

describeWith('redis', 'a client that leaves a scan', () => {
  test('has it stopped at the next round', async () => {
    await using own = await startOwnRedis()
    await own.use(async (redis) => {
      for (let from = 0; from < 20_000; from += 1_000)
        await redis.mset(...Array.from({ length: 1_000 }, (_, n) => [`key:${from + n}`, '1']).flat())
    })
    await using proxy = await startFaultProxy('127.0.0.1', own.port)
    await using served = await serve()
    const connectionString = own.url.replace(`:${own.port}/`, `:${proxy.port}/`)
    const { id } = await served.app.register({ name: 'scan', type: 'redis', connectionString })
    const scans = () =>
      own.use(async (redis) => Number(/cmdstat_scan:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0))
    proxy.setDelay(100)
    const leaving = new AbortController()
    const path = `redis/${id}/keys?pattern=absent:*&count=10`
    const asking = served.ask('GET', path, undefined, leaving.signal)
    await eventually(async () => (await scans()) >= 2)
    leaving.abort()
    expect(await asking).toBe(0)
    // The one under way ends; ten would have followed in two seconds more.
    await eventually(async () => {
      const before = await scans()
      await Bun.sleep(500)
      return before === (await scans())
    })
    expect(await scans()).toBeLessThanOrEqual(5)
    proxy.setDelay(0)
    expect(await served.ask('GET', path)).toBe(200)
  })
})

test('a client that leaves a Bun API peer’s work has its request to the peer ended within a second', async () => {
  const asked = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  await using peer = await startFakeServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      if (chunk.includes('GET /info'))
        return socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}')
      asked.resolve()
      socket.on('close', closed.resolve)
    })
  })
  await using served = await serve()
  const body = {
    projectRef: 'default',
    name: 'peer',
    type: 'bun_api',
    connectionString: `http://127.0.0.1:${peer.port}`,
  }
  const { id } = (await served.app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
  const leaving = new AbortController()
  const asking = served.ask('GET', `bun-api/${id}/health`, undefined, leaving.signal)
  await asked.promise
  const left = performance.now()
  leaving.abort()
  await closed.promise
  expect(performance.now() - left).toBeLessThan(1_000)
  expect(await asking).toBe(0)
})
