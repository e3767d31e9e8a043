import { expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newName, path } from '#test/registry/registries.ts'
import { http, startFakeServer } from '#test/support/fake-servers.ts'
import { canary, stores } from '#test/support/stores.ts'

// Faults of the document this server was specified by; each test is one of them.
describeRegistries('the faults of the seed', (app) => {
  const { redis, postgres18: pg } = stores()
  const add = (more: object = {}) =>
    app().register({ name: newName(), type: 'postgres', connectionString: pg.reader.url, ...more })
  const raw = (id: string) =>
    inRegistry(app(), async (sql) => ({ ...(await sql`select * from platform.databases where id = ${id}`)[0] }))

  test('PATCH takes no column names from the body: neither SQL nor another project', async () => {
    const { id, project_id } = await add()
    const before = await raw(id)
    const keys = [
      'name = name, status',
      'status',
      'project_id',
      'projectId',
      'id',
      'connection_string',
      "description = (select 'x'), host",
      'name"; drop table platform.databases; --',
    ]
    for (const key of keys) {
      const { status, body } = await app().request('PATCH', `${path}/${id}`, { body: { [key]: project_id } })
      expect([key, status, body.error.code]).toEqual([key, 400, 'VALIDATION_FAILED'])
    }
    expect(await raw(id)).toEqual(before)
  })

  test('POST never stores a connection string in the clear: no table of the registry holds a secret', async () => {
    const rows = [
      await add(),
      await add({ connectionString: undefined, ...fields(), tls: true, config: { caCertificate: pg.tlsCa } }),
      ...(redis === null ? [] : [await add({ type: 'redis', connectionString: redis.url })]),
    ]
    for (const { id } of rows) {
      await app().request('PATCH', `${path}/${id}`, { body: { description: 'changed' } })
      expect((await raw(id))['connection_string']).toMatch(/^enc:v1:[0-9a-f]{8}:[\w-]{16}:[\w-]+$/)
    }
    const dump = await inRegistry(app(), async (sql) => {
      const tables = await sql`
        select c.oid::regclass::text as name from pg_catalog.pg_class c
        where c.relnamespace = 'platform'::regnamespace and c.relkind in ('r', 'v', 'm')`
      const texts: string[] = []
      for (const { name } of tables)
        texts.push(...(await sql.unsafe(`select t::text as row from ${name} t`)).map((row) => `${name} ${row['row']}`))
      return texts
    })
    expect(dump.filter((row) => row.startsWith('platform.databases '))).not.toEqual([])
    expect(dump.filter((row) => row.includes(canary))).toEqual([])
  })

  test('no answer about a database holds its credentials', async () => {
    const { id, name } = await add()
    const answers = [
      await app().request('GET', path),
      await app().request('GET', `${path}?projectRef=default`),
      await app().request('GET', `${path}/${id}`),
      await app().request('GET', `${path}/by-name/default/${name}`),
      await app().request('PATCH', `${path}/${id}`, { body: { description: 'x' } }),
      await app().request('POST', `${path}/${id}/test`),
      await app().request('GET', `${path}/${id}/info`),
    ]
    for (const { status, text } of answers) {
      expect(status).toBe(200)
      expect(text).not.toMatch(/enc:v1:|masked_connection_string|"password"/)
      expect(text).not.toContain(canary)
      expect(text).not.toContain(pg.reader.password)
    }
  })

  test('a test of PostgreSQL tests the string it is given', async () => {
    const probe = async (connectionString: string) =>
      (await app().request('POST', `${path}/test`, { body: { type: 'postgres', connectionString } })).body.ok
    expect([await probe(pg.reader.url), await probe(pg.reader.url.replace(pg.reader.password, canary))]).toEqual([
      true,
      false,
    ])
  })

  test('nothing is fetched from a connection string of a store', async () => {
    const heard: string[] = []
    await using web = await startFakeServer((socket, index) => {
      socket.once('data', (chunk) => heard.push(chunk.toString('latin1')))
      http(socket, index)
    })
    for (const scheme of ['http', 'https', 'redis', 'postgres', 'mongodb']) {
      const connectionString = `${scheme}://user@127.0.0.1:${web.port}`
      // Asking a web server is what a bun_api is for.
      const types = scheme.startsWith('http') ? [] : ['bun_api']
      for (const type of ['redis', 'postgres', 'mongodb', ...types])
        await app().request('POST', `${path}/test`, { body: { type, connectionString } })
    }
    expect(heard.filter((text) => /^(GET|HEAD|POST) /.test(text))).toEqual([])
  })

  test('a failing registry is an error, never 200 with defaults', async () => {
    await inRegistry(app(), (sql) => sql`alter view platform.databases_with_projects rename to hidden`)
    try {
      const answers = [await app().request('GET', path), await app().request('GET', `${path}/by-name/default/any`)]
      expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(Array(2).fill([500, 'INTERNAL']))
    } finally {
      await inRegistry(app(), (sql) => sql`alter view platform.hidden rename to databases_with_projects`)
    }
    expect((await app().request('GET', path)).status).toBe(200)
  })

  function fields() {
    const { user, password } = pg.reader
    return { host: 'localhost', port: pg.port, databaseName: pg.database, username: user, password }
  }
})
