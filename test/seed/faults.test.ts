import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { ConfigError, loadConfig } from '#src/config.ts'
import { eventually, inRegistry, newName, path } from '#test/registry/registries.ts'
import { createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { stores } from '#test/support/stores.ts'

// What the document promises, and faults of its code that need stores or settings of their own; the others are in test/regression.
let app: TestApp
beforeAll(async () => {
  // Two sessions of Redis at the most: a session counts as its pool and its shared connection.
  app = await createTestApp({ env: { MAX_REDIS_CONNECTIONS: '4', REDIS_MAX_CONNECTIONS: '1' } })
})
afterAll(() => app?.[Symbol.asyncDispose]())

describeWith('redis', 'when no more sessions may live', ({ url }) => {
  test('another database gets its session all the same, and each is closed in its turn', async () => {
    const client = new Redis(url)
    const connections = async () => ((await client.client('LIST')) as string).trim().split('\n').length
    try {
      const before = await connections()
      const rows = await Promise.all(
        Array.from({ length: 8 }, () => app.register({ name: newName(), type: 'redis', connectionString: url })),
      )
      for (let turn = 0; turn < 3; turn++) {
        for (const { id } of rows) {
          const { status } = await app.request('GET', `/api/platform/redis/${id}/keys`)
          expect([status, app.deps.connections.metrics().live <= 2]).toEqual([200, true])
        }
      }
      const { opened, closed, live } = app.deps.connections.metrics()
      expect([opened >= 24, opened - closed]).toEqual([true, live])
      for (const { id } of rows) await app.request('DELETE', `${path}/${id}`)
      await eventually(async () => (await connections()) <= before)
    } finally {
      client.disconnect()
    }
  })
})

describeWith('mongoAuth', 'commands to MongoDB', ({ url }) => {
  test('are not monitored: no log line tells of one, at any level', async () => {
    const connectionString = url.replace('/?', '/app?')
    const { id } = await app.register({ name: newName(), type: 'mongodb', connectionString })
    expect((await app.request('GET', `/api/platform/mongodb/${id}/collections`)).status).toBe(200)
    expect(app.deps.config.LOG_LEVEL).toBe('debug')
    expect(app.logLines.filter((line) => /sasl|listCollections|SCRAM|commandStarted/i.test(line))).toEqual([])
  })
})

test('no key stands in for a missing one', () => {
  const { MULTI_DB_CRYPTO_KEY: key, BUN_API_KEY } = testKeys()
  const others = { PG_META_CRYPTO_KEY: key, REDIS_CRYPTO_KEY: key, MONGODB_CRYPTO_KEY: key, SUPABASE_SERVICE_KEY: key }
  const load = () => loadConfig({ DATABASE_URL: 'postgres://u:p@h/d', BUN_API_KEY, ...others })
  expect(load).toThrow(ConfigError)
  expect(load).toThrow('MULTI_DB_CRYPTO_KEY: is required with DATABASE_URL')
})

test('a name is a-z, 0-9 and -, once a project; 400 and 409 otherwise', async () => {
  const connectionString = 'redis://h'
  const create = async (name: string) =>
    (
      await app.request('POST', `${path}?skipTest=true`, {
        body: { projectRef: 'default', name, type: 'redis', connectionString },
      })
    ).status
  const good = newName('a-0-')
  expect([await create(good), await create(good)]).toEqual([201, 409])
  for (const name of ['', 'Upper', 'under_score', 'a b', 'ä', 'a.b', 'a\n', "a'--", '𝟙'])
    expect([name, await create(name)]).toEqual([name, 400])
})

test('a status is active, inactive or error, in the API and in the table', async () => {
  const row = await app.register({
    name: newName(),
    type: 'postgres',
    connectionString: stores().postgres18.reader.url,
  })
  const list = async (status: string) => (await app.request('GET', `${path}?status=${status}`)).status
  expect([await list('active'), await list('inactive'), await list('error'), await list('unknown')]).toEqual([
    200, 200, 200, 400,
  ])
  const refused = await inRegistry(app, (sql) =>
    sql`update platform.databases set status = 'unknown' where id = ${row.id}`.then(
      () => undefined,
      (error: { code?: string }) => error.code,
    ),
  )
  expect(refused).toBe('23514')
})

test('Studio takes this server for a healthy bun_api database: /health is 2xx, /info is JSON', async () => {
  const health = await app.request('GET', '/health', { key: null })
  const info = await app.request('GET', '/info')
  expect([health.status, info.status, typeof info.body.version]).toEqual([200, 200, 'string'])
})
