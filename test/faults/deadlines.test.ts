import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { eventually } from '#test/engines/peers.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'
import { startOwnRedis } from './own-redis.ts'

const deadlineMs = 1_000
const cleanup = new AsyncDisposableStack()
let app: TestApp
beforeAll(async () => {
  app = cleanup.use(await createTestApp({ env: { REQUEST_TIMEOUT_MS: String(deadlineMs) } }))
})
afterAll(() => cleanup.disposeAsync())

const timed = async <T>(work: Promise<T>): Promise<readonly [T, number]> => {
  const started = performance.now()
  return [await work, performance.now() - started]
}

describe('a deadline reaches PostgreSQL', () => {
  let sql: postgres.Sql
  let id: string
  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(stores().postgres18))
    sql = postgres(scratch.url, { max: 2, onnotice: () => undefined })
    cleanup.defer(() => sql.end())
    await sql`create table t (a int)`
    id = (await app.register({ name: 'deadline', type: 'postgres', connectionString: scratch.url })).id
  })
  const run = (body: Readonly<Record<string, unknown>>) =>
    app.request('POST', `/api/platform/postgres/${id}/query`, { body })

  test('as its statement timeout, shorter than the caller’s', async () => {
    const query = `select extract(epoch from current_setting('statement_timeout')::interval) * 1000 as ms,
      current_setting('lock_timeout') as lock, current_setting('idle_in_transaction_session_timeout') as idle`
    for (const timeoutMs of [2_000, 10_000]) {
      const [row] = (await run({ query, timeoutMs })).body.rows
      expect(Number(row.ms)).toBeWithin(timeoutMs - 700, timeoutMs - 499)
      expect([row.lock, row.idle]).toEqual(['2s', '10s'])
    }
  })

  test('504 in the server’s own words, before the caller’s time is over, for REQUEST_TIMEOUT_MS too', async () => {
    const [{ status, body }, ms] = await timed(run({ query: 'select pg_sleep(30)' }))
    expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', true])
    expect(ms).toBeWithin(500, deadlineMs)
  })

  test('504 a write that waits for another’s lock: nothing was changed, and it may be repeated', async () => {
    await using holder = await sql
      .reserve()
      .then((held) => ({ held, [Symbol.asyncDispose]: async () => held.release() }))
    await holder.held`begin`
    await holder.held`lock table t in access exclusive mode`
    const { status, body } = await run({ query: 'insert into t values (1)', readOnly: false, timeoutMs: 5_000 })
    await holder.held`rollback`
    expect([status, body.error.code, body.error.retryable, body.error.details.code]).toEqual([
      504,
      'DB_TIMEOUT',
      true,
      '55P03',
    ])
    expect(await sql`select * from t`).toHaveLength(0)
  })

  test('504 a write that takes too long is not to be repeated, and is not sent a second time', async () => {
    const { status, body } = await run({ query: 'insert into t select 1 from pg_sleep(30)', readOnly: false })
    expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', false])
    expect(body.message).toContain('unknown')
    await eventually(
      async () =>
        (await sql`select 1 from pg_stat_activity where state = 'active' and query like 'insert into t select 1%'`)
          .length === 0,
      1_000,
    )
    expect(await sql`select * from t`).toHaveLength(0)
  })
})

describeWith('redis', 'a deadline reaches Redis', () => {
  test('504 a scan of many rounds ends at it, and no further round is asked for', async () => {
    await using own = await startOwnRedis()
    await own.use((redis) => redis.mset(...Array.from({ length: 5_000 }, (_, n) => [`key:${n}`, '1']).flat()))
    await using proxy = await startFaultProxy('127.0.0.1', own.port)
    const connectionString = own.url.replace(`:${own.port}/`, `:${proxy.port}/`)
    const { id } = await app.register({ name: 'scans', type: 'redis', connectionString })
    proxy.setDelay(100)
    const path = `/api/platform/redis/${id}/keys?pattern=absent:*&count=1`
    const [{ status, body }, ms] = await timed(app.request('GET', path))
    expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', true])
    expect(Math.abs(ms - deadlineMs)).toBeLessThan(250)
    await Bun.sleep(500)
    const calls = await own.use(async (redis) => /cmdstat_scan:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
    expect(Number(calls)).toBeLessThanOrEqual(6)
  })

  test('504 a write that hangs has an unknown outcome, is not to be repeated, and is sent once', async () => {
    await using own = await startOwnRedis()
    const { id } = await app.register({ name: 'hangs', type: 'redis', connectionString: own.url })
    const set = (key: string) => app.request('POST', `/api/platform/redis/${id}/set`, { body: { key, value: '1' } })
    await set('before')
    own.freeze()
    const [{ status, body }, ms] = await timed(set('during'))
    own.thaw()
    expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', false])
    expect(body.message).toContain('unknown')
    expect(Math.abs(ms - deadlineMs)).toBeLessThan(250)
    // It happens after all, which is why nobody may call it failed.
    await eventually(() => own.use(async (redis) => (await redis.get('during')) === '1'))
    const calls = await own.use(async (redis) => /cmdstat_set:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
    expect(calls).toBe('2')
  })
})

test('504 a Bun API peer that does not answer, at the deadline, and its socket is closed', async () => {
  const closed = Promise.withResolvers<void>()
  await using peer = await startFakeServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      if (chunk.includes('GET /info'))
        return socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}')
      socket.on('close', closed.resolve)
    })
  })
  const connectionString = `http://127.0.0.1:${peer.port}`
  const body = { projectRef: 'default', name: 'peer', type: 'bun_api', connectionString }
  const { id } = (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
  const [answer, ms] = await timed(app.request('GET', `/api/platform/bun-api/${id}/health`))
  expect([answer.status, answer.body.error.code]).toEqual([504, 'DB_TIMEOUT'])
  expect(Math.abs(ms - deadlineMs)).toBeLessThan(250)
  await closed.promise
})
