import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { createScratchDatabase } from '#test/support/app.ts'
import { postgresRecordsPassword, startFakeServer } from '#test/support/fake-servers.ts'
import { canary, stores } from '#test/support/stores.ts'
import { type Client, clientOf, productionEnvironment, type ServerProcess, startServer } from './server.ts'

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))

describe('the server as a process', () => {
  let registry: Awaited<ReturnType<typeof createScratchDatabase>>
  let server: ServerProcess
  let client: Client
  let databaseId: string
  const libpq = { PGPASSWORD: `${canary}-env`, PGUSER: 'env-user', PGHOST: '127.0.0.2', PGSSLMODE: 'require' }
  beforeAll(async () => {
    registry = await createScratchDatabase(stores().postgres18)
    const env = { ...productionEnvironment(registry.url), ...libpq }
    const began = performance.now()
    server = startServer({ env, flags: ['--preload', join(import.meta.dir, 'faulty-preload.ts')] })
    client = clientOf(await server.url, env.BUN_API_KEY)
    await client.request('GET', '/health')
    const status = await Bun.file(`/proc/${server.pid}/status`)
      .text()
      .catch(() => '')
    const rss = Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
    console.log(
      `first answer after ${Math.round(performance.now() - began)} ms with an empty external registry, ${rss} MB`,
    )
    const created = await client.request('POST', '/api/platform/databases', {
      projectRef: 'default',
      name: 'main',
      type: 'postgres',
      connectionString: stores().postgres18.url,
    })
    databaseId = ((await created.json()) as { id: string }).id
  }, 60_000)
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await registry[Symbol.asyncDispose]()
  })

  const query = (body: unknown, init?: RequestInit) =>
    client.request('POST', `/api/platform/postgres/${databaseId}/query`, body, init)

  test("a stranger never gets this process's own PG* credentials", async () => {
    const passwords: string[] = []
    await using fake = await startFakeServer(postgresRecordsPassword(passwords))
    const given = [
      { connectionString: `postgres://visitor@127.0.0.1:${fake.port}/db` },
      { host: '127.0.0.1', port: fake.port, username: 'visitor', databaseName: 'db' },
    ]
    for (const target of given) {
      const answer = await client.request('POST', '/api/platform/databases/test', { type: 'postgres', ...target })
      expect({ status: answer.status, body: await answer.json() }).toEqual({
        status: 200,
        body: expect.objectContaining({ ok: false }),
      })
    }
    expect(fake.dials).toBeGreaterThan(0)
    expect(passwords.filter((password) => password !== '')).toEqual([])
  })

  test('an unhandled rejection and an uncaught exception are a log line each, without the message, and end nothing', async () => {
    server.kill('SIGUSR2')
    const rejection = await server.logged('unhandled rejection')
    server.kill('SIGHUP')
    const exception = await server.logged('uncaught exception')
    const expected = { level: 'error', error: 'Error', cause: 'string', stack: expect.any(Array) }
    expect([rejection, exception]).toEqual([expect.objectContaining(expected), expect.objectContaining(expected)])
    expect((await client.request('GET', '/health')).status).toBe(200)
    expect(server.lines.filter((line) => line.includes('unhandled rejection'))).toHaveLength(1)
  })

  test("200 a statement that is silent for longer than Bun's idle timeout", async () => {
    const answer = await query({ query: 'select 1 as one from pg_sleep(12)', timeoutMs: 20_000 })
    expect({ status: answer.status, body: await answer.json() }).toMatchObject({
      status: 200,
      body: { rows: [{ one: 1 }] },
    })
  }, 30_000)

  test('504 at the deadline, which the server keeps itself', async () => {
    const began = performance.now()
    const answer = await query({ query: 'select pg_sleep(30)', timeoutMs: 1_000 })
    expect({ status: answer.status, body: await answer.json() }).toMatchObject({
      status: 504,
      body: { error: { code: 'DB_TIMEOUT' } },
    })
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  test('a statement ends when its caller leaves, and that is no fault of the server', async () => {
    const mark = crypto.randomUUID()
    const running = async () => {
      const answer = await query({
        query: `select count(*)::int as n from pg_stat_activity
          where query like '%${mark}%' and state = 'active' and pid <> pg_backend_pid()`,
      })
      return ((await answer.json()) as { rows: { n: number }[] }).rows[0]?.n
    }
    const caller = new AbortController()
    const headers = {
      authorization: `Bearer ${client.key}`,
      'content-type': 'application/json',
      'x-request-id': mark,
    }
    const answer = query(
      { query: `select pg_sleep(50) as "${mark}"`, timeoutMs: 60_000 },
      { signal: caller.signal, headers },
    )
    answer.catch(() => undefined)
    while ((await running()) !== 1) await Bun.sleep(20)
    const began = performance.now()
    caller.abort()
    while ((await running()) !== 0) await Bun.sleep(20)
    expect(performance.now() - began).toBeLessThan(2_000)
    const seen = () => server.lines.filter((line) => line.includes(mark))
    while (seen().length === 0) await Bun.sleep(20)
    expect(seen().map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({ event: 'request', level: 'info' }),
    ])
  }, 30_000)

  test('production listens on every address, IPv4 and IPv6', async () => {
    const { HOST: _, ...env } = productionEnvironment(registry.url)
    await using own = await createScratchDatabase(stores().postgres18)
    await using other = startServer({ env: { ...env, DATABASE_URL: own.url } })
    const { hostname, port } = new URL(await other.url)
    const hosts = ['127.0.0.1', ...(hasIpv6 ? ['[::1]'] : [])]
    const statuses = await Promise.all(hosts.map(async (host) => (await fetch(`http://${host}:${port}/health`)).status))
    expect({ hostname, statuses }).toEqual({ hostname: '[::]', statuses: hosts.map(() => 200) })
    expect(other.errors()).toBe('')
  }, 30_000)

  test('every log line is JSON and none holds a secret; standard error stays empty', () => {
    const events = server.lines.map((line) => (JSON.parse(line) as { event?: unknown }).event)
    expect(events.every((event) => typeof event === 'string')).toBe(true)
    expect(events.length).toBeGreaterThan(5)
    expect(server.lines.join('\n')).not.toContain(canary)
    expect(server.errors()).toBe('')
  })
})
