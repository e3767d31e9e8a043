import { describe, expect, test } from 'bun:test'
import { describeRegistries, eventually, inRegistry, newName, path } from '#test/registry/registries.ts'
import { testPassword } from '#test/support/credentials.ts'
import { closesAtOnce, startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

const names = ['policy', 'tcp', 'auth', 'database', 'rights']
const passed = names.map((name) => ({ name, ok: true, ms: expect.any(Number) }))

describeRegistries('looking at databases', (app) => {
  const { redis, redisOpen, postgres18: pg } = stores()
  const count = async () => (await inRegistry(app(), (sql) => sql`select id from platform.databases`)).length
  const row = async (id: string) => (await app().request('GET', `${path}/${id}`)).body

  describe('GET /databases/{id}/info', () => {
    test('200 PostgreSQL', async () => {
      const { id } = await app().register({ name: newName(), type: 'postgres', connectionString: pg.reader.url })
      expect((await app().request('GET', `${path}/${id}/info`)).body).toEqual({
        product: 'PostgreSQL',
        version: expect.stringContaining(pg.version),
        uptime_seconds: expect.any(Number),
        size_bytes: expect.any(Number),
        role: 'primary',
        engine: expect.objectContaining({ user: pg.reader.user, is_superuser: false, server_encoding: 'UTF8' }),
        warnings: [],
      })
    })

    test.skipIf(redis === null)('200 Redis', async () => {
      const { id } = await app().register({ name: newName(), type: 'redis', connectionString: redis?.url })
      expect((await app().request('GET', `${path}/${id}/info`)).body).toEqual({
        product: expect.stringMatching(/^(Redis|Valkey)$/),
        version: expect.stringMatching(/^\d+\.\d+/),
        uptime_seconds: expect.any(Number),
        size_bytes: expect.any(Number),
        role: 'master',
        engine: expect.objectContaining({ mode: 'standalone' }),
        warnings: [],
      })
    })
  })

  describe('POST /databases/{id}/test', () => {
    test.skipIf(redisOpen === null)(
      '200 the row notes error when the store is gone and active when it is back',
      async () => {
        const proxy = await startFaultProxy(redisOpen?.host ?? '', redisOpen?.port ?? 0)
        await using _ = proxy
        const connectionString = `redis://127.0.0.1:${proxy.port}`
        const { id, version, updated_at } = await app().register({ name: newName(), type: 'redis', connectionString })
        const test = async () => (await app().request('POST', `${path}/${id}/test`)).body
        proxy.mode = 'refuse-after-accept'
        const gone = await test()
        const during = await row(id)
        proxy.mode = 'pass'
        const back = await test()
        expect([gone.ok, gone.error.code, during.status, back.ok, (await row(id)).status]).toEqual([
          false,
          'DB_CONNECTION_FAILED',
          'error',
          true,
          'active',
        ])
        // Health is no change of the database: neither its ETag nor its date moves.
        expect(await row(id)).toMatchObject({ version, updated_at })
        expect((await row(id)).last_connected_at > during.last_connected_at).toBe(true)
      },
    )

    test('200 over a connection of its own', async () => {
      await using proxy = await startFaultProxy(pg.host, pg.port)
      const { user, password } = pg.reader
      const connectionString = `postgres://${user}:${password}@127.0.0.1:${proxy.port}/postgres`
      const { id } = await app().register({ name: newName(), type: 'postgres', connectionString })
      await app().request('GET', `${path}/${id}/info`)
      const [dials, sessions] = [proxy.connections, app().deps.connections.size]
      expect((await app().request('POST', `${path}/${id}/test`)).body).toEqual({
        ok: true,
        latency_ms: expect.any(Number),
        server: { product: 'PostgreSQL', version: expect.stringContaining(pg.version) },
        stages: passed,
        warnings: [],
      })
      expect([proxy.connections, app().deps.connections.size]).toEqual([dials + 1, sessions])
    })

    test('a caller who leaves does not mark the database', async () => {
      await using proxy = await startFaultProxy(pg.host, pg.port)
      const { user, password } = pg.reader
      const connectionString = `postgres://${user}:${password}@127.0.0.1:${proxy.port}/postgres`
      const { id } = await app().register({ name: newName(), type: 'postgres', connectionString })
      proxy.mode = 'blackhole'
      const [leaving, dials] = [new AbortController(), proxy.connections]
      const answer = app().request('POST', `${path}/${id}/test`, { signal: leaving.signal })
      await eventually(() => proxy.connections > dials)
      leaving.abort()
      await answer.catch(() => undefined)
      expect((await row(id)).status).toBe('active')
    })
  })

  describe('POST /databases/test', () => {
    const probe = (body: unknown) => app().request('POST', `${path}/test`, { body })

    test('200 for what works and for what does not, and saves nothing', async () => {
      await using closing = await startFakeServer(closesAtOnce)
      const before = await count()
      const { user, password, host, port, database } = pg.reader.url === '' ? pg : { ...pg, ...pg.reader }
      const fields = { type: 'postgres', host, port, databaseName: database, username: user }
      const works = await probe({ ...fields, password })
      const wrongPassword = await probe({ ...fields, password: testPassword() })
      const noDatabase = await probe({ ...fields, password, databaseName: 'nothing-here' })
      const closes = await probe({ type: 'redis', connectionString: `redis://127.0.0.1:${closing.port}` })
      const refused = await probe({ type: 'redis', connectionString: 'redis://169.254.169.254' })
      const failed = [wrongPassword, noDatabase, closes, refused].map(({ status, body }) => [
        status,
        body.ok,
        body.error.code,
        body.error.details.stage,
        body.stages.at(-1).ok,
      ])
      expect(works.body).toMatchObject({ ok: true, stages: passed })
      expect(failed).toEqual([
        [200, false, 'DB_INVALID_CREDENTIALS', 'auth', false],
        [200, false, 'DB_CONNECTION_FAILED', 'database', false],
        [200, false, 'DB_CONNECTION_FAILED', 'auth', false],
        [200, false, 'TARGET_NOT_ALLOWED', 'policy', false],
      ])
      expect(await count()).toBe(before)
    })

    test.skipIf(redis === null)('200 Redis over TLS by its private CA', async () => {
      const connectionString = redis?.tlsUrl.replace('127.0.0.1', 'localhost')
      const config = { caCertificate: redis?.tlsCa }
      const [trusted, unknown] = [
        await probe({ type: 'redis', connectionString, config }),
        await probe({ type: 'redis', connectionString }),
      ]
      expect([trusted.body.ok, unknown.body.ok, unknown.body.error.details.stage]).toEqual([true, false, 'tls'])
    })
  })

  describe('GET /databases/stats', () => {
    test('200 counts by type, refreshed when older than a minute', async () => {
      await using fresh = await startFakeServer(closesAtOnce)
      const read = async () => (await app().request('GET', `${path}/stats`)).body
      const first: { type: string; total: number }[] = await read()
      const body = {
        projectRef: 'default',
        name: newName(),
        type: 'redis',
        connectionString: `redis://h:${fresh.port}`,
      }
      const { id } = (await app().request('POST', `${path}?skipTest=true`, { body })).body
      await inRegistry(app(), (sql) => sql`update platform.databases set status = 'error' where id = ${id}`)
      expect(await read()).toEqual(first)
      await app().deps.databases.refreshStats()
      const rows = await inRegistry(
        app(),
        (sql) => sql`
          select type::text, count(*)::int as total, count(*) filter (where status = 'active')::int as active,
            count(*) filter (where last_connected_at > now() - interval '1 hour')::int as recently_connected
          from platform.databases group by type order by type`,
      )
      expect(await read()).toEqual([...rows])
    })

    test('200 for many at once', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => app().request('GET', `${path}/stats`)))
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    })
  })
})
