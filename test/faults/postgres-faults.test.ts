import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { eventually, message, sessionBegins } from '#test/engines/peers.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { type FaultProxy, startFaultProxy } from '#test/support/fault-proxy.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { canary, stores } from '#test/support/stores.ts'

describe('PostgreSQL that fails', () => {
  const store = stores().postgres18
  const cleanup = new AsyncDisposableStack()
  let app: TestApp
  let sql: postgres.Sql
  let scratchUrl: string
  let otherId: string
  let names = 0

  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(store))
    scratchUrl = scratch.url
    sql = postgres(scratch.url, { max: 1, onnotice: () => undefined })
    cleanup.defer(() => sql.end())
    await sql`create table t (a int)`
    app = cleanup.use(await createTestApp())
    otherId = (await app.register({ name: 'other', type: 'postgres', connectionString: store.url })).id
  })
  afterAll(() => cleanup.disposeAsync())

  const run = (id: string, query: string, more: Readonly<Record<string, unknown>> = {}) =>
    app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query, ...more } })
  const timed = async <T>(work: Promise<T>): Promise<[T, number]> => {
    const started = performance.now()
    return [await work, performance.now() - started]
  }
  const registerBehind = async (proxy: FaultProxy) => {
    const connectionString = scratchUrl.replace(`:${store.port}/`, `:${proxy.port}/`)
    return (await app.register({ name: `behind-${names++}`, type: 'postgres', connectionString })).id as string
  }
  const recovers = (id: string, withinMs: number) =>
    eventually(async () => (await run(id, 'select 1')).status === 200, withinMs)
  const open = async () =>
    (
      await sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and application_name = 'bun-api'`
    )[0]?.['n'] as number

  test('504 at the deadline when the backend hangs; others are not slower; it recovers within 10 s', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    const pid = (await run(id, 'select pg_backend_pid() as pid')).body.rows[0].pid as number
    const cleaned = () =>
      sql`select 1 from pg_stat_activity where pid = ${pid} and state = 'idle' and query = 'discard all'`
    await eventually(async () => (await cleaned()).length === 1)
    process.kill(pid, 'SIGSTOP')
    try {
      const hanging = timed(run(id, 'select 1', { timeoutMs: 1_000 }))
      const [other, otherMs] = await timed(run(otherId, 'select 1'))
      expect([other.status, otherMs < 250]).toEqual([200, true])
      const [{ status, body }, ms] = await hanging
      expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', true])
      expect(Math.abs(ms - 1_000)).toBeLessThan(250)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await recovers(id, 10_000)
  })

  test('504 at the deadline when nothing arrives any more, for a new connection as well; then 200 within 10 s', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    await run(id, 'select 1')
    proxy.mode = 'blackhole'
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        timed(run(id, 'insert into t values (1)', { readOnly: false, timeoutMs: 1_500 })),
      ),
    )
    for (const [{ status, body }, ms] of answers) {
      expect([503, 504]).toContain(status)
      expect(['DB_TIMEOUT', 'POOL_EXHAUSTED']).toContain(body.error.code)
      expect(ms).toBeLessThan(1_750)
    }
    const written = answers.filter(([{ body }]) => body.message.includes('unknown'))
    expect(written.map(([{ body }]) => body.error.retryable)).toEqual(written.map(() => false))
    proxy.mode = 'pass'
    await recovers(id, 10_000)
  })

  test('a hang while a failed statement is rolled back, or a connection cleaned, keeps no place in the pool', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    for (let round = 0; round < 5; round++) {
      const asking = run(id, 'select 1 / 0')
      proxy.mode = 'blackhole'
      const [{ status }, ms] = await timed(asking)
      expect([400, 504]).toContain(status)
      expect(ms).toBeLessThan(10_250)
      proxy.mode = 'pass'
    }
    await recovers(id, 10_000)
    const together = await Promise.all(Array.from({ length: 5 }, () => run(id, 'select pg_sleep(0.3)')))
    expect(together.map(({ status }) => status)).toEqual(Array(5).fill(200))
  }, 60_000)

  test('503 for a RST in the middle of a reply, and 200 within 5 s', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    proxy.cutAfterBytes(20_000)
    const { status, body } = await run(id, "select repeat('x', 1000) from generate_series(1, 1000)")
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'DB_CONNECTION_FAILED', true])
    await recovers(id, 5_000)
  })

  test('503 that may be repeated for a write lost before its commit, and it is not there', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    await sql`truncate t`
    const asking = run(id, 'insert into t select 1 from pg_sleep(0.5)', { readOnly: false })
    await eventually(
      async () =>
        (
          await sql`select 1 from pg_stat_activity where query like '%pg_sleep(0.5)%' and state = 'active' and pid <> pg_backend_pid()`
        ).length > 0,
    )
    proxy.resetAll()
    const { status, body } = await asking
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'DB_CONNECTION_FAILED', true])
    expect((await sql`select * from t`).length).toBe(0)
  })

  test('503 that may not be repeated for a connection lost while committing', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    await sql`create table slow_commit (a int)`
    await sql.unsafe(`create function linger() returns trigger language plpgsql as 'begin perform pg_sleep(1); return null; end';
      create constraint trigger lingering after insert on slow_commit deferrable initially deferred for each row execute function linger()`)
    const asking = run(id, 'insert into slow_commit values (1)', { readOnly: false })
    await eventually(
      async () => (await sql`select 1 from pg_stat_activity where query = 'commit' and state = 'active'`).length > 0,
    )
    proxy.resetAll()
    const { status, body } = await asking
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'DB_CONNECTION_FAILED', false])
    expect(body.message).toContain('unknown')
  })

  test('503 while the server is down, within 1 s and with few dials, and 200 within 5 s of its return', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await registerBehind(proxy)
    await Promise.all(Array.from({ length: 5 }, () => run(id, 'select pg_sleep(0.1)')))
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    const before = proxy.connections
    const until = performance.now() + 10_000
    while (performance.now() < until) {
      const answers = await Promise.all(Array.from({ length: 5 }, () => timed(run(id, 'select 1'))))
      for (const [{ status, body }, ms] of answers) {
        expect(status).toBe(503)
        // After five failures its breaker says so.
        expect(['DB_CONNECTION_FAILED', 'DB_UNAVAILABLE']).toContain(body.error.code)
        expect(ms).toBeLessThan(1_250)
      }
      await Bun.sleep(50)
    }
    expect(proxy.connections - before).toBeLessThanOrEqual(5)
    proxy.mode = 'pass'
    await recovers(id, 5_000)
  }, 30_000)

  test('503 DB_CONNECTION_FAILED when the server has no connection left, and sessions in being go on', async () => {
    const role = `few_${names++}`
    await sql.unsafe(`create role ${role} login password '${canary}' connection limit 1; grant all on t to ${role}`)
    const url = new URL(scratchUrl)
    url.username = role
    url.password = canary
    const { id } = await app.register({ name: 'few', type: 'postgres', connectionString: url.href })
    await eventually(async () => (await run(id, 'select 1')).status === 200)
    const idle = () =>
      sql`select 1 from pg_stat_activity where usename = ${role} and state = 'idle' and query = 'discard all'`
    await eventually(async () => (await idle()).length === 1)
    // The one connection may be on its way back into the pool still.
    let holding = run(id, 'select pg_sleep(1)')
    await eventually(async () => {
      if ((await sql`select 1 from pg_stat_activity where usename = ${role} and state = 'active'`).length > 0)
        return true
      if ((await Promise.race([holding, Bun.sleep(20)]))?.status === 503) holding = run(id, 'select pg_sleep(1)')
      return false
    })
    const { status, body, headers } = await run(id, 'select 1')
    expect([status, body.error.code, headers.has('retry-after')]).toEqual([503, 'DB_CONNECTION_FAILED', true])
    expect((await holding).status).toBe(200)
    await app.request('DELETE', `/api/platform/databases/${id}`)
    await eventually(async () => (await sql`select 1 from pg_stat_activity where usename = ${role}`).length === 0)
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`)
  })

  test('504 at the deadline though a byte comes now and then', async () => {
    await using server = await startFakeServer((socket) => {
      let chunks = 0
      socket.on('data', () => {
        if (chunks++ === 0) return void socket.write(sessionBegins)
        socket.write(message('N', 'x'.repeat(50_000)).subarray(0, 100))
        const timer = setInterval(() => socket.write('x'), 20)
        socket.on('close', () => clearInterval(timer))
      })
    })
    const connectionString = `postgres://u:${canary}@127.0.0.1:${server.port}/d`
    const body = { projectRef: 'default', name: 'trickles', type: 'postgres', connectionString }
    const { id } = (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
    const [{ status }, ms] = await timed(run(id, 'select 1', { timeoutMs: 1_000 }))
    expect(status).toBe(504)
    expect(Math.abs(ms - 1_000)).toBeLessThan(250)
  })

  test('424 when the password is no longer the right one, and few dials', async () => {
    const role = `revoked_${names++}`
    await sql.unsafe(`create role ${role} login password '${canary}'`)
    await using proxy = await startFaultProxy(store.host, store.port)
    const url = new URL(scratchUrl)
    url.username = role
    url.password = canary
    url.port = String(proxy.port)
    const { id } = await app.register({ name: 'revoked', type: 'postgres', connectionString: url.href })
    expect((await run(id, 'select 1')).status).toBe(200)
    await sql.unsafe(
      `alter role ${role} password 'another'; select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`,
    )
    await eventually(async () => (await run(id, 'select 1')).status === 424)
    const dialled = proxy.connections
    const answers = await Promise.all(Array.from({ length: 20 }, () => run(id, 'select 1')))
    expect(answers.map(({ status, body }) => [status, body.error.code, body.error.retryable])).toEqual(
      Array(20).fill([424, 'DB_INVALID_CREDENTIALS', false]),
    )
    expect(proxy.connections - dialled).toBeLessThanOrEqual(2)
    await sql.unsafe(`drop role ${role}`)
  })

  test('a database that is deleted has no connection left', async () => {
    const rows = (await app.request('GET', '/api/platform/databases?types=postgres')).body as {
      id: string
      name: string
    }[]
    for (const row of rows.filter(({ name }) => name !== 'other'))
      await app.request('DELETE', `/api/platform/databases/${row.id}`)
    await eventually(async () => (await open()) === 0)
  })
})
