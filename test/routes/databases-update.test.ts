import { describe, expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newName, path } from '#test/registry/registries.ts'
import { canary, testPassword } from '#test/support/credentials.ts'
import { postgresRecordsPassword, redisRecordsAuth, startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

describeRegistries('PATCH /databases/{id}', (app) => {
  const { redis, postgres18: pg } = stores()
  const patch = (id: string, body: unknown) => app().request('PATCH', `${path}/${id}`, { body })
  const get = async (id: string) => (await app().request('GET', `${path}/${id}`)).body
  const sealed = async (id: string) =>
    (await inRegistry(app(), (sql) => sql`select connection_string from platform.databases where id = ${id}`))[0]?.[
      'connection_string'
    ]
  const addPostgres = (more: object = {}) =>
    app().register({ name: newName(), type: 'postgres', connectionString: pg.reader.url, description: 'old', ...more })

  test('200 each field that has no target: nothing is dialled and the sealed value stays', async () => {
    await using proxy = await startFaultProxy(pg.host, pg.port)
    const { user, password } = pg.reader
    const connectionString = `postgres://${user}:${password}@127.0.0.1:${proxy.port}/postgres`
    const row = await addPostgres({ connectionString })
    const [before, dials, name] = [await sealed(row.id), proxy.connections, newName()]
    const changes = [
      { name },
      { description: 'new' },
      { description: null },
      { config: { readOnly: true } },
      { config: {} },
    ]
    for (const change of changes) {
      const answer = await patch(row.id, change)
      expect([answer.status, answer.body]).toMatchObject([200, change])
    }
    const { created_at, ...after } = await get(row.id)
    const { warnings: _, ...unchanged } = row
    expect({ ...after, created_at }).toEqual({
      ...unchanged,
      name,
      description: null,
      config: {},
      version: 6,
      updated_at: expect.any(String),
    })
    expect(after.updated_at > row.updated_at).toBe(true)
    expect([await sealed(row.id), proxy.connections]).toEqual([before, dials])
  })

  test('200 the same target in other words is not dialled', async () => {
    await using proxy = await startFaultProxy(pg.host, pg.port)
    const { user, password } = pg.reader
    const row = await addPostgres({
      connectionString: `postgres://${user}:${password}@127.0.0.1:${proxy.port}/postgres`,
    })
    const dials = proxy.connections
    const changes = [
      { host: '127.0.0.1' },
      { port: proxy.port },
      { tls: false },
      { username: user, password },
      { connectionString: `postgres://${user}:${password}@127.0.0.1:${proxy.port}/postgres` },
    ]
    for (const change of changes) expect((await patch(row.id, change)).status).toBe(200)
    expect([proxy.connections, (await get(row.id)).version]).toEqual([dials, 1])
  })

  test('200 a new target is probed, sealed anew and masked', async () => {
    const row = await addPostgres()
    const before = await sealed(row.id)
    const { status, body, headers } = await patch(row.id, { username: pg.user, password: pg.password })
    expect([status, headers.get('etag')]).toEqual([200, '"2"'])
    expect(body).toEqual({
      ...row,
      username: pg.user,
      connection_string: `postgres://${pg.user}:****@127.0.0.1:${pg.port}/${pg.database}`,
      version: 2,
      updated_at: expect.any(String),
      last_connected_at: expect.any(String),
      warnings: [expect.stringContaining('superuser')],
    })
    const after = await sealed(row.id)
    expect([after === before, after.startsWith('enc:v1:')]).toEqual([false, true])
    expect((await app().request('POST', `${path}/${row.id}/test`)).body.ok).toBe(true)
  })

  test('200 a new database keeps the stored password', async () => {
    const row = await addPostgres()
    const { status, body } = await patch(row.id, { databaseName: 'template1' })
    expect([status, body.database_name, body.has_credentials]).toEqual([200, 'template1', true])
  })

  test('200 TLS turned on with the whole credential', async () => {
    const row = await addPostgres()
    const { user, password } = pg.reader
    const body = {
      host: 'localhost',
      username: user,
      password,
      tls: 'verify-full',
      config: { caCertificate: pg.tlsCa },
    }
    expect((await patch(row.id, body)).body).toMatchObject({
      connection_string: `postgres://${user}:****@localhost:${pg.port}/${pg.database}?sslmode=verify-full`,
      config: { caCertificate: pg.tlsCa },
    })
  })

  describe('the stored password stays where it is', () => {
    test('400 a new host, port, TLS mode or CA without the credential; a stranger hears nothing', async () => {
      const row = await addPostgres()
      const heard: string[] = []
      await using stranger = await startFakeServer(postgresRecordsPassword(heard))
      const certificates = { caCertificate: pg.tlsCa }
      for (const change of [
        { host: 'localhost' },
        { port: stranger.port },
        { host: '127.0.0.1', port: stranger.port },
        { host: '127.0.0.1', port: stranger.port, username: pg.reader.user },
        { tls: 'require' },
        { tls: true },
        { config: certificates },
        { port: stranger.port, config: certificates },
      ]) {
        const { status, body } = await patch(row.id, change)
        expect([change, status, body.error.details]).toEqual([
          change,
          400,
          [{ field: 'password', rule: 'is required again when host, port, TLS mode or CA change' }],
        ])
      }
      expect({ heard, dials: stranger.dials, version: (await get(row.id)).version }).toEqual({
        heard: [],
        dials: 0,
        version: 1,
      })
    })

    test('400 a stranger with another password gets that one alone', async () => {
      const row = await addPostgres()
      const heard: string[] = []
      await using stranger = await startFakeServer(postgresRecordsPassword(heard))
      const password = testPassword()
      const refused = [
        await patch(row.id, { port: stranger.port, password }),
        await patch(row.id, { port: stranger.port, password: '' }),
        await patch(row.id, { connectionString: `postgres://u@127.0.0.1:${stranger.port}/db` }),
      ]
      expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(
        Array(3).fill([400, 'DB_INVALID_CREDENTIALS']),
      )
      expect(heard.map((text) => text.replaceAll('\0', ''))).toEqual([password, '', ''])
      expect((await get(row.id)).version).toBe(1)
    })

    test.skipIf(redis === null)('400 the same for Redis', async () => {
      const row = await app().register({ name: newName(), type: 'redis', connectionString: redis?.url })
      const heard: string[] = []
      await using stranger = await startFakeServer(redisRecordsAuth(heard))
      for (const change of [{ port: stranger.port }, { tls: true }, { config: { caCertificate: redis?.tlsCa } }])
        expect((await patch(row.id, change)).body.error.details[0].field).toBe('password')
      expect((await patch(row.id, { port: stranger.port, password: testPassword() })).status).toBe(400)
      expect((await patch(row.id, { connectionString: `redis://127.0.0.1:${stranger.port}` })).status).toBe(400)
      expect(heard.join('')).not.toContain(redis?.password ?? canary)
      expect((await get(row.id)).version).toBe(1)
    })
  })

  test('400 a wrong new password is not saved, and the old one goes on', async () => {
    const row = await addPostgres()
    const before = await sealed(row.id)
    const { status, body } = await patch(row.id, { password: testPassword(), name: newName() })
    expect([status, body.error.code]).toEqual([400, 'DB_INVALID_CREDENTIALS'])
    const { warnings: _, ...unchanged } = row
    expect([await get(row.id), await sealed(row.id)]).toEqual([unchanged, before])
    expect((await app().request('GET', `${path}/${row.id}/info`)).status).toBe(200)
  })

  test('200 config alone is checked against the stored target', async () => {
    const body = { projectRef: 'default', name: newName(), type: 'redis', connectionString: 'redis://store.test/9' }
    const { id } = (await app().request('POST', `${path}?skipTest=true`, { body })).body
    const answers = [await patch(id, { config: { databases: 4 } }), await patch(id, { config: { databases: 10 } })]
    expect(answers.map(({ status }) => status)).toEqual([400, 200])
  })

  test('409 a name that is taken', async () => {
    const [one, other] = [await addPostgres(), await addPostgres()]
    const { status, body } = await patch(one.id, { name: other.name })
    expect([status, body.error.code, (await get(one.id)).name]).toEqual([409, 'CONFLICT', one.name])
  })
})
