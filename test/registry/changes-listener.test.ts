import { describe, expect, test } from 'bun:test'
import { eventually, newName, path } from './registries.ts'
import { withClient } from './scratch.ts'
import { createLog } from '#src/log.ts'
import { type Change, type Changes, channel } from '#src/registry/changes.ts'
import { openRegistryDatabase } from '#src/registry/registry-database.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { type FaultProxy, startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

const { redis, postgres18 } = stores()
const options = { timeoutMs: 2_000, connectTimeoutMs: 2_000, maxConnections: 1 }
const listening = `listen ${channel}`

const sinceMs = (started: number) => Math.round(performance.now() - started)

/** A database whose connections all pass a proxy; `direct` passes by. */
async function proxied() {
  await using cleanup = new AsyncDisposableStack()
  const database = cleanup.use(await createScratchDatabase(postgres18))
  const proxy = cleanup.use(await startFaultProxy(postgres18.host, postgres18.port))
  const url = new URL(database.url)
  url.host = `127.0.0.1:${proxy.port}`
  const owned = cleanup.move()
  return { direct: database.url, url: url.href, proxy, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function hear(url: string) {
  const seen = { changes: [] as Change[], lost: 0, lines: [] as string[] }
  const log = createLog('info', { write: (line) => void seen.lines.push(String(JSON.parse(line).event)) })
  const changes = openRegistryDatabase(url, options).hear(
    { changed: (change) => void seen.changes.push(change), lost: () => void (seen.lost += 1) },
    log,
  )
  return { changes, seen }
}

const untilLive = (changes: Changes, ms = 2_000) => eventually(() => changes.live, ms)
const notify = (url: string, id: string) =>
  withClient(url, (sql) => sql`select pg_notify(${channel}, ${JSON.stringify({ table: 'databases', id, version: 2 })})`)
const listeners = (url: string) =>
  withClient(url, async (sql) => {
    const rows = await sql`select pid from pg_stat_activity where query = ${listening} and datname = current_database()`
    return rows.map((row) => Number(row['pid']))
  })

describe('the listening connection', () => {
  test('hears changes, and says that all before may have been missed', async () => {
    await using database = await proxied()
    const { changes, seen } = hear(database.url)
    expect(changes.live).toBe(false)
    await untilLive(changes)
    expect(seen).toEqual({ changes: [], lost: 1, lines: [] })
    await notify(database.direct, 'one')
    await eventually(() => seen.changes.length === 1)
    await withClient(database.direct, (sql) => sql`select pg_notify(${channel}, 'of somebody else')`)
    await eventually(() => seen.lost === 2)
    expect(seen.changes).toEqual([{ table: 'databases', id: 'one', version: 2 }])
    await changes.close()
    expect(changes.live).toBe(false)
    await eventually(async () => (await listeners(database.direct)).length === 0)
  })

  test('cut off, it is not live at once, and back within two seconds', async () => {
    await using database = await proxied()
    const { changes, seen } = hear(database.url)
    await untilLive(changes)
    await using _ = changes
    for (let round = 0; round < 3; round++) {
      await withClient(
        database.direct,
        (sql) =>
          sql`select pg_terminate_backend(pid) from pg_stat_activity where query = ${listening} and datname = current_database()`,
      )
      const started = performance.now()
      await eventually(() => !changes.live, 200)
      await untilLive(changes)
      console.log(`listens again after ${sinceMs(started)} ms`)
    }
    await notify(database.direct, 'after')
    await eventually(() => seen.changes.length === 1)
    // Once for each beginning and each end.
    expect(seen).toMatchObject({ lost: 7, lines: [] })
  })

  test('half open, it is not trusted after a second, and given up after three', async () => {
    await using database = await proxied()
    const { changes, seen } = hear(database.url)
    await untilLive(changes)
    await using _ = changes
    database.proxy.mode = 'blackhole'
    const started = performance.now()
    await eventually(() => !changes.live, 1_000)
    console.log(`half open for ${sinceMs(started)} ms`)
    await eventually(() => seen.lost === 2, 3_500)
    database.proxy.mode = 'pass'
    await untilLive(changes, 3_000)
    expect(seen.lost).toBe(3)
    await notify(database.direct, 'after')
    await eventually(() => seen.changes.some(({ id }) => id === 'after'))
  }, 15_000)

  test('a registry that is down at the start is listened to when it is there, with one line of log each way', async () => {
    await using database = await proxied()
    database.proxy.mode = 'refuse-after-accept'
    const { changes, seen } = hear(database.url)
    await using _ = changes
    await eventually(() => database.proxy.connections >= 3)
    expect([changes.live, seen.lost]).toEqual([false, 0])
    database.proxy.mode = 'pass'
    await untilLive(changes)
    expect(seen).toEqual({
      changes: [],
      lost: 1,
      lines: ['registry changes are not heard', 'registry changes are heard again'],
    })
  })

  test('closing ends a connection in the making, and a second close is the first', async () => {
    await using database = await proxied()
    database.proxy.mode = 'blackhole'
    const { changes } = hear(database.url)
    await eventually(() => database.proxy.connections === 1)
    const started = performance.now()
    await Promise.all([changes.close(), changes.close()])
    expect([sinceMs(started) < 500, changes.live]).toEqual([true, false])
    database.proxy.mode = 'pass'
    const after = hear(database.url)
    await untilLive(after.changes)
    // Two of this test, and none of what was closed.
    expect(database.proxy.connections).toBe(2)
    await after.changes.close()
  })
})

describe.skipIf(redis === null)('a server whose registry has a fault', () => {
  interface Place {
    readonly app: TestApp
    readonly proxy: FaultProxy
    readonly direct: string
    readonly id: string
    readonly keys: () => Promise<string>
  }
  const serving = async (work: (place: Place) => Promise<void>) => {
    await using database = await proxied()
    await using app = await createTestApp({
      registry: 'postgres18',
      env: { DATABASE_URL: database.url, REGISTRY_TIMEOUT_MS: '1000' },
    })
    const { id } = await app.register({ name: newName(), type: 'redis', connectionString: redis?.url })
    const keys = async () => {
      const { status, body } = await app.request('GET', `/api/platform/redis/${id}/keys?count=1`)
      return status === 200 ? '200' : `${status} ${body.error.code}`
    }
    expect(await keys()).toBe('200')
    await eventually(async () => (await listeners(database.direct)).length === 1)
    expect(await keys()).toBe('200')
    await work({ app, proxy: database.proxy, direct: database.direct, id, keys })
  }

  test('a cached row is read from the registry no more', () =>
    serving(async ({ direct, keys, id, app }) => {
      await withClient(direct, (sql) =>
        sql.begin(async (tx) => {
          await tx`lock table platform.databases in access exclusive mode`
          const started = performance.now()
          const answers = await Promise.all(Array.from({ length: 50 }, keys))
          expect([new Set(answers), sinceMs(started) < 1_000]).toEqual([new Set(['200']), true])
          expect((await app.request('GET', `${path}/${id}`)).status).toBe(200)
          const unread = await app.request('GET', `${path}?search=unread`)
          expect(unread.body.error?.code).toBe('REGISTRY_UNAVAILABLE')
        }),
      )
    }))

  test('changes made while the listening connection is gone are seen', () =>
    serving(async ({ direct, keys, id }) => {
      await withClient(direct, (sql) =>
        sql.begin(async (tx) => {
          await tx`
            select pg_terminate_backend(pid) from pg_stat_activity where query = ${listening} and datname = current_database()`
          await tx`delete from platform.databases where id = ${id}`
        }),
      )
      const started = performance.now()
      await eventually(async () => (await keys()) === '404 DB_NOT_FOUND', 1_000)
      console.log(`deletion during the loss was noticed after ${sinceMs(started)} ms`)
      await eventually(async () => (await listeners(direct)).length === 1, 2_000)
    }))

  test('a cached row is served with its age while the registry is down, and fresh again within five seconds', () =>
    serving(async ({ app, proxy, keys, id }) => {
      const age = async () => {
        expect(await keys()).toBe('200')
        return (await app.request('GET', `/api/platform/redis/${id}/keys?count=1`)).headers.get('x-registry-stale')
      }
      proxy.mode = 'refuse-after-accept'
      proxy.resetAll()
      await eventually(async () => (await age()) !== null)
      expect((await app.request('GET', '/health')).status).toBe(200)
      proxy.mode = 'pass'
      await eventually(async () => (await age()) === null, 5_000)
    }))
})
