import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { ConfigError } from '#src/config.ts'
import { inRegistry, newName, path } from './registries.ts'
import { withClient } from './scratch.ts'
import { createScratchDatabase, createTestApp, testKeys } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'

const newKey = () => randomBytes(32).toString('base64url')
const kidOf = (sealed: unknown) => String(sealed).split(':')[2]

// Each test starts several servers one after the other on one registry, which is a database of its own.
describe('keys and the registry they fit', () => {
  const { redis, postgres18: pg } = stores()
  let scratch: Awaited<ReturnType<typeof createScratchDatabase>>
  beforeAll(async () => void (scratch = await createScratchDatabase(pg)))
  afterAll(() => scratch[Symbol.asyncDispose]())

  const emptied = () => withClient(scratch.url, (sql) => sql`drop schema if exists platform cascade`)
  const { BUN_API_KEY } = testKeys()
  const start = async (env: Readonly<Record<string, string>>) => {
    const app = await createTestApp({ registry: 'postgres18', env: { DATABASE_URL: scratch.url, BUN_API_KEY, ...env } })
    const request = (method: string, url: string, body?: unknown) =>
      app.request(method, url, { body, key: BUN_API_KEY })
    return Object.assign(app, { ask: request })
  }
  const canaries = () =>
    withClient(scratch.url, async (sql) => {
      const rows =
        await sql`select kid, sealed, seals::int as seals from platform.key_canaries order by created_at, kid`
      return rows.map(({ kid, sealed, seals }) => ({ kid, sealedBy: kidOf(sealed), seals }))
    })

  test('an empty registry gets its canaries, and a second start changes nothing', async () => {
    await emptied()
    const keys = { MULTI_DB_CRYPTO_KEY: newKey(), REDIS_CRYPTO_KEY: newKey() }
    await (await start(keys))[Symbol.asyncDispose]()
    const first = await canaries()
    expect(first.map(({ kid, sealedBy, seals }) => [kid === sealedBy, seals])).toEqual([
      [true, 0],
      [true, 0],
    ])
    await (await start(keys))[Symbol.asyncDispose]()
    expect(await canaries()).toEqual(first)
  })

  test('a key ring that opens no canary does not start, and leaves no row', async () => {
    await emptied()
    await (await start({ MULTI_DB_CRYPTO_KEY: newKey() }))[Symbol.asyncDispose]()
    const before = await canaries()
    const other = await start({ MULTI_DB_CRYPTO_KEY: newKey() }).catch((error: unknown) => error)
    expect(other).toBeInstanceOf(ConfigError)
    expect(String(other)).toContain('MULTI_DB_CRYPTO_KEY')
    expect(await canaries()).toEqual(before)
  })

  test('a canary that was tampered with counts for nothing', async () => {
    await emptied()
    const key = newKey()
    await (await start({ MULTI_DB_CRYPTO_KEY: key }))[Symbol.asyncDispose]()
    await withClient(scratch.url, (sql) => sql`update platform.key_canaries set sealed = sealed || 'AA'`)
    expect(await start({ MULTI_DB_CRYPTO_KEY: key }).catch((error: unknown) => error)).toBeInstanceOf(ConfigError)
  })

  test('two servers with different keys do not both take an empty registry', async () => {
    await emptied()
    const starts = await Promise.allSettled([
      start({ MULTI_DB_CRYPTO_KEY: newKey() }),
      start({ MULTI_DB_CRYPTO_KEY: newKey() }),
    ])
    for (const started of starts) if (started.status === 'fulfilled') await started.value[Symbol.asyncDispose]()
    expect(starts.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await canaries()).toHaveLength(1)
  })

  test.skipIf(redis === null)('rows survive the rotation of the common key, and Redis has its own', async () => {
    await emptied()
    const [common, engine, next] = [newKey(), newKey(), newKey()]
    const before = await start({ MULTI_DB_CRYPTO_KEY: common, REDIS_CRYPTO_KEY: engine })
    const create = async (app: typeof before, type: string, connectionString: string | undefined) =>
      (await app.ask('POST', path, { projectRef: 'default', name: newName(), type, connectionString })).body.id
    const ids = [await create(before, 'redis', redis?.url), await create(before, 'postgres', pg.reader.url)]
    const kids = [before.deps.keyring.current('redis').kid, before.deps.keyring.current('postgres').kid]
    const stored = async (app: typeof before) => {
      const rows = await inRegistry(app, (sql) => sql`select id, connection_string from platform.databases`)
      return ids.map((id) => kidOf(rows.find((row) => row['id'] === id)?.['connection_string']))
    }
    expect(await stored(before)).toEqual(kids)
    expect(new Set(kids).size).toBe(2)
    await before[Symbol.asyncDispose]()

    await using after = await start({
      MULTI_DB_CRYPTO_KEY: next,
      MULTI_DB_CRYPTO_KEY_PREVIOUS: common,
      REDIS_CRYPTO_KEY: engine,
    })
    for (const id of ids) expect((await after.ask('GET', `${path}/${id}/info`)).status).toBe(200)
    const { id } = (await after.ask('PATCH', `${path}/${ids[1]}`, { username: pg.user, password: pg.password })).body
    expect(await stored(after)).toEqual([kids[0], after.deps.keyring.current('postgres').kid])
    expect((await after.ask('GET', `${path}/${id}/info`)).status).toBe(200)
    expect((await after.ask('GET', '/health/ready')).body).toEqual({ status: 'ok' })
  })

  test('424 and degraded once the previous key is taken away', async () => {
    await emptied()
    const [common, next] = [newKey(), newKey()]
    const before = await start({ MULTI_DB_CRYPTO_KEY: common })
    const row = { projectRef: 'default', name: newName(), type: 'postgres', connectionString: pg.reader.url }
    const { id } = (await before.ask('POST', path, row)).body
    await before[Symbol.asyncDispose]()
    await (await start({ MULTI_DB_CRYPTO_KEY: next, MULTI_DB_CRYPTO_KEY_PREVIOUS: common }))[Symbol.asyncDispose]()
    await using after = await start({ MULTI_DB_CRYPTO_KEY: next })
    const info = await after.ask('GET', `${path}/${id}/info`)
    expect([info.status, info.body.error.code]).toEqual([424, 'DB_CREDENTIALS_UNREADABLE'])
    const ready = await after.ask('GET', '/health/ready')
    expect([ready.status, ready.body]).toEqual([200, { status: 'degraded' }])
  })

  test('403 a sealing beyond MAX_SEALS_PER_KEY, which saves nothing; what is there goes on', async () => {
    await emptied()
    await using app = await start({ MULTI_DB_CRYPTO_KEY: newKey(), MAX_SEALS_PER_KEY: '2' })
    const create = () =>
      app.ask('POST', path, {
        projectRef: 'default',
        name: newName(),
        type: 'postgres',
        connectionString: pg.reader.url,
      })
    const [first] = [await create(), await create()]
    const { id } = first.body
    const refused = [
      await create(),
      await app.ask('PATCH', `${path}/${id}`, { username: pg.user, password: pg.password }),
    ]
    expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(
      Array(2).fill([403, 'FEATURE_DISABLED']),
    )
    expect((await app.ask('GET', path)).body).toHaveLength(2)
    expect((await app.ask('GET', `${path}/${id}`)).body.version).toBe(1)
    expect((await app.ask('PATCH', `${path}/${id}`, { description: 'not sealed' })).status).toBe(200)
    expect((await app.ask('GET', `${path}/${id}/info`)).status).toBe(200)
    expect((await canaries()).map(({ seals }) => seals)).toEqual([2])
  })
})
