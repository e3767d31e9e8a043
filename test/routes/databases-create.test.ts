import { describe, expect, test } from 'bun:test'
import { describeRegistries, newName, path } from '#test/registry/registries.ts'
import { testPassword } from '#test/support/credentials.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { stores } from '#test/support/stores.ts'

const uuid = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
const common = {
  id: uuid,
  project_id: uuid,
  description: null,
  config: {},
  status: 'active',
  last_connected_at: timestamp,
  created_at: timestamp,
  updated_at: timestamp,
  version: 1,
  project_name: 'Default',
  project_ref: 'default',
  organization_name: 'Default',
  organization_slug: 'default',
}

describeRegistries('POST /databases', (app) => {
  const { redis, redisOpen, postgres18: pg } = stores()
  const post = (body: unknown, query = '') => app().request('POST', `${path}${query}`, { body })

  describe.skipIf(redis === null || redisOpen === null)('Redis', () => {
    test('201 a connection string: the whole row, masked, with Location and ETag', async () => {
      const name = newName()
      const input = { projectRef: 'default', name, type: 'redis', connectionString: redis?.url, description: 'a cache' }
      const answer = await post({ ...input, config: { databases: 16 } })
      expect({ status: answer.status, body: answer.body, etag: answer.headers.get('etag') }).toEqual({
        status: 201,
        body: {
          ...common,
          name,
          type: 'redis',
          description: 'a cache',
          connection_string: `redis://:****@127.0.0.1:${redis?.port}/0`,
          has_credentials: true,
          host: '127.0.0.1',
          port: redis?.port,
          database_name: '0',
          username: null,
          config: { databases: 16 },
          warnings: [],
        },
        etag: '"1"',
      })
      expect(answer.headers.get('location')).toBe(`${path}/${answer.body.id}`)
    })

    test('201 without a password: has_credentials is false', async () => {
      const { body } = await post({
        projectRef: 'default',
        name: newName(),
        type: 'redis',
        connectionString: redisOpen?.url,
      })
      expect(body).toMatchObject({
        has_credentials: false,
        connection_string: `redis://127.0.0.1:${redisOpen?.port}/0`,
      })
    })

    test('201 fields with TLS and a private CA', async () => {
      const config = { caCertificate: redis?.tlsCa }
      const { user, password } = { user: redis?.limited.username, password: redis?.limited.password }
      const { status, body } = await post({
        projectRef: 'default',
        name: newName(),
        type: 'redis',
        host: 'localhost',
        port: redis?.tlsPort,
        databaseName: '3',
        username: user,
        password,
        tls: true,
        config,
      })
      expect({ http: status, ...body }).toMatchObject({
        http: 201,
        connection_string: `rediss://${user}:****@localhost:${redis?.tlsPort}/3`,
        has_credentials: true,
        host: 'localhost',
        port: redis?.tlsPort,
        database_name: '3',
        username: user,
        config,
      })
    })
  })

  test('201 PostgreSQL by fields with tls verify-full', async () => {
    const config = { caCertificate: pg.tlsCa, readOnly: true }
    const name = newName()
    const { status, body } = await post({
      projectRef: 'default',
      name,
      type: 'postgres',
      host: 'localhost',
      port: pg.port,
      databaseName: pg.database,
      username: pg.reader.user,
      password: pg.reader.password,
      tls: 'verify-full',
      config,
    })
    expect({ status, body }).toEqual({
      status: 201,
      body: {
        ...common,
        name,
        type: 'postgres',
        connection_string: `postgresql://${pg.reader.user}:****@localhost:${pg.port}/${pg.database}?sslmode=verify-full`,
        has_credentials: true,
        host: 'localhost',
        port: pg.port,
        database_name: pg.database,
        username: pg.reader.user,
        config,
        warnings: [],
      },
    })
  })

  test('201 options without effect are ignored and listed in warnings', async () => {
    const { status, body } = await post({
      projectRef: 'default',
      name: newName(),
      type: 'postgres',
      connectionString: `${pg.reader.url}?channel_binding=prefer&pgbouncer=true`,
    })
    expect({ status, string: body.connection_string, warnings: body.warnings }).toEqual({
      status: 201,
      string: `postgres://${pg.reader.user}:****@127.0.0.1:${pg.port}/${pg.database}`,
      warnings: [
        'The option channel_binding has no effect here and was ignored.',
        'The option pgbouncer has no effect here and was ignored.',
      ],
    })
  })

  test('201 skipTest saves without connecting', async () => {
    await using store = await startFakeServer((socket) => void socket.destroy())
    const connectionString = `redis://:${testPassword()}@127.0.0.1:${store.port}`
    const { status, body } = await post(
      { projectRef: 'default', name: newName(), type: 'redis', connectionString },
      '?skipTest=true',
    )
    expect({ status, seen: body.last_connected_at, dials: store.dials }).toEqual({ status: 201, seen: null, dials: 0 })
  })

  test('400 a store that does not answer, and nothing is saved', async () => {
    const name = newName()
    await using store = await startFakeServer((socket) => void socket.destroy())
    const connectionString = `redis://:${testPassword()}@127.0.0.1:${store.port}`
    const { status, body } = await post({ projectRef: 'default', name, type: 'redis', connectionString })
    expect({ status, code: body.error.code, stage: body.error.details.stage }).toEqual({
      status: 400,
      code: 'DB_CONNECTION_FAILED',
      stage: 'auth',
    })
    expect((await app().request('GET', `${path}/by-name/default/${name}`)).status).toBe(404)
  })

  test('404 an unknown project, before anything is dialled', async () => {
    await using store = await startFakeServer((socket) => void socket.destroy())
    const connectionString = `redis://127.0.0.1:${store.port}`
    const { status, body } = await post({ projectRef: 'nobody', name: newName(), type: 'redis', connectionString })
    expect({ status, code: body.error.code, dials: store.dials }).toEqual({ status: 404, code: 'NOT_FOUND', dials: 0 })
  })

  test('409 a taken name, before anything is dialled', async () => {
    const name = newName()
    await using store = await startFakeServer((socket) => void socket.destroy())
    const input = { projectRef: 'default', name, type: 'redis', connectionString: `redis://127.0.0.1:${store.port}` }
    await post(input, '?skipTest=true')
    const { status, body } = await post(input)
    expect({ status, code: body.error.code, dials: store.dials }).toEqual({ status: 409, code: 'CONFLICT', dials: 0 })
  })

  test('201 the same name in another project', async () => {
    const ref = newName('project')
    await app().request('POST', '/api/platform/projects', { body: { name: 'Other', ref, organizationSlug: 'default' } })
    const input = { name: newName(), type: 'redis', connectionString: 'redis://store.test' }
    const answers = [
      await post({ ...input, projectRef: 'default' }, '?skipTest=true'),
      await post({ ...input, projectRef: ref }, '?skipTest=true'),
    ]
    expect(answers.map(({ status, body }) => [status, body.project_ref])).toEqual([
      [201, 'default'],
      [201, ref],
    ])
  })
})
