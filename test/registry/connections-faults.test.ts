import { expect, test } from 'bun:test'
import { eventually, newName, path } from './registries.ts'
import { withClient } from './scratch.ts'
import { createScratchDatabase, createTestApp, testKeys } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { silent, startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { freePorts } from '#test/support/ports.ts'
import { stores } from '#test/support/stores.ts'

const { postgres18: pg } = stores()

test('a server boots while its stores are down: it is ready, and each of them answers 503 within a second', async () => {
  await using scratch = await createScratchDatabase(pg)
  const env = { ...testKeys(), DATABASE_URL: scratch.url }
  const key = env.BUN_API_KEY
  const [port] = await freePorts()
  const ids: string[] = []
  {
    await using before = await createTestApp({ registry: 'postgres18', env })
    for (const [type, connectionString] of [
      ['redis', `redis://:${testPassword()}@127.0.0.1:${port}`],
      ['postgres', `postgres://u:${testPassword()}@127.0.0.1:${port}/db`],
    ]) {
      const body = { projectRef: 'default', name: newName(), type, connectionString }
      ids.push((await before.request('POST', `${path}?skipTest=true`, { body, key })).body.id)
    }
  }
  await using app = await createTestApp({ registry: 'postgres18', env })
  const ready = await app.request('GET', '/health/ready')
  expect([ready.status, ready.body]).toEqual([200, { status: 'ok' }])
  for (const id of ids) {
    const started = performance.now()
    const { status, body } = await app.request('GET', `${path}/${id}/info`, { key })
    expect([status, body.error.code, body.error.retryable, performance.now() - started < 1_000]).toEqual([
      503,
      'DB_CONNECTION_FAILED',
      true,
      true,
    ])
  }
})

test('a store that hangs is refused within PROBE_TIMEOUT_MS, registering and testing, and nothing is saved', async () => {
  await using app = await createTestApp({ registry: 'postgres18', env: { PROBE_TIMEOUT_MS: '500' } })
  await using store = await startFakeServer(silent)
  const timed = async (url: string, body: object) => {
    const started = performance.now()
    const answer = await app.request('POST', url, { body })
    return [answer.status, answer.body.error.code, performance.now() - started < 1_000]
  }
  for (const [type, connectionString] of [
    ['redis', `redis://:${testPassword()}@127.0.0.1:${store.port}`],
    ['postgres', `postgres://u:${testPassword()}@127.0.0.1:${store.port}/db`],
    ['postgres', `postgres://u:${testPassword()}@127.0.0.1:${store.port}/db?sslmode=require`],
  ] as const) {
    const row = { projectRef: 'default', name: newName(), type, connectionString }
    expect(await timed(path, row)).toEqual([400, 'DB_TIMEOUT', true])
    expect(await timed(`${path}/test`, { type, connectionString })).toEqual([200, 'DB_TIMEOUT', true])
  }
  expect((await app.request('GET', path)).body).toEqual([])
})

test('a password revoked while it is in use is 424, not retryable, and costs few dials; the new one mends it', async () => {
  await using database = await createScratchDatabase(pg)
  await using proxy = await startFaultProxy(pg.host, pg.port)
  await using app = await createTestApp({ registry: 'postgres18' })
  const user = newName('role').replaceAll('-', '_')
  const admin = (text: string) => withClient(pg.url, (sql) => sql.unsafe(text))
  const [first, second] = [testPassword(), testPassword()]
  await admin(`create role ${user} login password '${first}'`)
  try {
    const connectionString = `postgres://${user}:${first}@127.0.0.1:${proxy.port}/${database.name}`
    const { id } = await app.register({ name: newName(), type: 'postgres', connectionString })
    const ask = () => app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: 'select 1 as one' } })
    expect((await ask()).status).toBe(200)

    await admin(`alter role ${user} password '${second}'`)
    await admin(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '${user}'`)
    await eventually(async () => (await ask()).status !== 200)
    await eventually(async () => (await ask()).status === 424)
    const dials = proxy.connections
    const until = performance.now() + 2_000
    while (performance.now() < until) {
      const { status, body } = await ask()
      expect([status, body.error.code, body.error.retryable]).toEqual([424, 'DB_INVALID_CREDENTIALS', false])
      await Bun.sleep(20)
    }
    expect(proxy.connections - dials).toBeLessThanOrEqual(2)

    expect((await app.request('PATCH', `${path}/${id}`, { body: { password: second } })).status).toBe(200)
    expect((await ask()).body.rows).toEqual([{ one: 1 }])
  } finally {
    await admin(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '${user}'`)
    await admin(`drop role ${user}`)
  }
})
