import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { openRegistryDatabase } from '#src/registry/registry-database.ts'
import { eventually, newName, path } from './registries.ts'
import { createScratchDatabase, createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { postgresClosesAfterPassword, postgresClosesAfterStartup, startFakeServer } from '#test/support/fake-servers.ts'
import { type FaultProxy, startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary, stores } from '#test/support/stores.ts'

// Of one statement. A registry that says nothing at all is found out within a second.
const timeoutMs = 5_000
const silentMs = 1_000
const unknown = '00000000-0000-4000-8000-000000000000'

describe('a registry behind a broken network', () => {
  const { postgres18: pg } = stores()
  const keys = testKeys()
  const cleanup = new AsyncDisposableStack()
  let proxy: FaultProxy
  let app: TestApp
  let id: string

  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(pg))
    proxy = cleanup.use(await startFaultProxy(pg.host, pg.port))
    const url = new URL(scratch.url)
    url.port = String(proxy.port)
    // What is kept in memory would be answered all the same.
    const env = { ...keys, DATABASE_URL: url.href, REGISTRY_TIMEOUT_MS: String(timeoutMs), CACHE_TTL: '0' }
    app = cleanup.use(await createTestApp({ registry: 'postgres18', env }))
    const body = { projectRef: 'default', name: newName(), type: 'postgres', connectionString: pg.reader.url }
    id = (await ask('POST', path, body)).body.id
  })
  afterAll(() => cleanup.disposeAsync())

  const ask = (method: string, url: string, body?: unknown) => app.request(method, url, { body, key: keys.BUN_API_KEY })
  const routes = (): readonly (readonly [method: string, url: string, body?: unknown])[] => {
    const connectionString = `redis://:${canary}@store.test`
    const target = { type: 'redis', connectionString }
    return [
      ['GET', path],
      ['POST', `${path}?skipTest=true`, { projectRef: 'default', name: newName(), ...target }],
      ['GET', `${path}/${id}`],
      ['PATCH', `${path}/${id}`, { description: 'x' }],
      ['DELETE', `${path}/${unknown}`],
      ['POST', `${path}/${id}/test`],
      ['GET', `${path}/${id}/info`],
      ['GET', `${path}/by-name/default/name`],
      ['GET', `${path}/stats`],
      ['POST', `/api/platform/postgres/${id}/query`, { query: 'select 1' }],
      ['GET', '/api/platform/organizations'],
      ['POST', '/api/platform/organizations', { name: 'a', slug: newName() }],
      ['GET', '/api/platform/projects'],
      ['POST', '/api/platform/projects', { name: 'a', ref: newName(), organizationSlug: 'default' }],
      ['GET', '/api/platform/projects/default'],
      ['PATCH', '/api/platform/projects/default', { name: 'Default' }],
      ['DELETE', '/api/platform/projects/nobody'],
    ]
  }
  const expectUnavailable = async () => {
    for (const [method, url, body] of routes()) {
      const answer = await ask(method, url, body)
      expect([method, url, answer.status, answer.body.error?.code, answer.body.error?.retryable]).toEqual([
        method,
        url,
        503,
        'REGISTRY_UNAVAILABLE',
        true,
      ])
      expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
    }
    const [live, ready] = [await ask('GET', '/health'), await ask('GET', '/health/ready')]
    expect([live.status, live.body, ready.status, ready.body]).toEqual([
      200,
      { status: 'ok' },
      503,
      { status: 'unavailable' },
    ])
  }
  const works = async () => (await ask('GET', path)).status === 200

  test('503 on every route while it refuses, few dials, and works within 5 s of its return', async () => {
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    const dials = proxy.connections
    await expectUnavailable()
    expect(proxy.connections - dials).toBeLessThanOrEqual(5)
    proxy.mode = 'pass'
    await eventually(works, 5_000)
    expect((await ask('GET', '/health/ready')).body).toEqual({ status: 'ok' })
  })

  test('503 within a second or so while it says nothing, on every route at once, transactions included', async () => {
    await Promise.all(Array.from({ length: 10 }, () => ask('GET', path)))
    proxy.mode = 'blackhole'
    const started = performance.now()
    const answers = await Promise.all(
      [...routes(), ...routes()].map(async ([method, url, body]) => {
        const answer = await ask(method, url, body)
        return [method, url, answer.status, answer.body.error.code, performance.now() - started < silentMs + 500]
      }),
    )
    const expected = [...routes(), ...routes()].map(([method, url]) => [method, url, 503, 'REGISTRY_UNAVAILABLE', true])
    expect(answers).toEqual(expected)
    const asked = performance.now()
    const [live, ready] = [await ask('GET', '/health'), await ask('GET', '/health/ready')]
    expect([live.status, ready.status, performance.now() - asked < silentMs + 500]).toEqual([200, 503, true])
    proxy.mode = 'pass'
    await eventually(works, 5_000)
    expect((await ask('GET', '/health/ready')).body).toEqual({ status: 'ok' })
  })

  test('a steady stream of requests costs a silent registry few dials', async () => {
    proxy.mode = 'blackhole'
    proxy.resetAll()
    const dials = proxy.connections
    const until = performance.now() + 5_000
    const stream: Promise<unknown>[] = []
    while (performance.now() < until) {
      stream.push(ask('GET', path))
      await Bun.sleep(20)
    }
    const seen = proxy.connections - dials
    proxy.mode = 'pass'
    expect((await Promise.all(stream)).length).toBeGreaterThan(100)
    expect(seen).toBeLessThanOrEqual(5)
    await eventually(works, 5_000)
  })

  test('a restart between requests costs no request', async () => {
    await Promise.all(Array.from({ length: 10 }, () => ask('GET', path)))
    proxy.resetAll()
    await Bun.sleep(50)
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask('GET', path)))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
  })
})

describe('a registry that closes during start-up', () => {
  for (const [when, behaviour] of [
    ['the start-up packet', postgresClosesAfterStartup],
    ['the password', postgresClosesAfterPassword],
  ] as const) {
    test(`at most 5 dials in 10 s after ${when}, whoever asks`, async () => {
      await using server = await startFakeServer(behaviour)
      const url = `postgres://u:${canary}@127.0.0.1:${server.port}/registry`
      const options = { timeoutMs: 5_000, connectTimeoutMs: 1_000, maxConnections: 10 }
      await using database = openRegistryDatabase(url, options)
      const codes = new Set<unknown>()
      const ask = () =>
        database
          .use((sql) => sql`select 1`)
          .then(
            () => codes.add('answered'),
            (error: { code?: unknown }) => codes.add(error.code),
          )
      const until = performance.now() + 10_000
      while (performance.now() < until) {
        await Promise.all(Array.from({ length: 20 }, ask))
        await Bun.sleep(50)
      }
      expect([[...codes], server.dials <= 5]).toEqual([['REGISTRY_UNAVAILABLE'], true])
    })
  }
})
