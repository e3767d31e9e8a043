import { describe, expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newName, path } from '#test/registry/registries.ts'
import { eventually } from '#test/engines/peers.ts'
import { canary, stores } from '#test/support/stores.ts'

describeRegistries('credentials that do not open', (app) => {
  const { postgres18: pg } = stores()
  const add = () => app().register({ name: newName(), type: 'postgres', connectionString: pg.reader.url })
  const store = (id: string, value: string) =>
    inRegistry(app(), (sql) => sql`update platform.databases set connection_string = ${value} where id = ${id}`)
  const stored = async (id: string): Promise<string> =>
    (await inRegistry(app(), (sql) => sql`select connection_string from platform.databases where id = ${id}`))[0]?.[
      'connection_string'
    ]
  const used = async (id: string) => {
    const answers = await Promise.all([
      app().request('GET', `${path}/${id}/info`),
      app().request('POST', `${path}/${id}/test`),
      app().request('POST', `/api/platform/postgres/${id}/query`, { body: { query: 'select 1' } }),
    ])
    return answers.map(({ status, body }) => [status, body.error?.code])
  }
  const unreadable = Array(3).fill([424, 'DB_CREDENTIALS_UNREADABLE'])
  const ready = async () => (await app().request('GET', '/health/ready', { key: null })).body

  const foreign = 'enc:v1:deadbeef:AAECAwQFBgcICQoL:UJwG5Tjxq1bhdXclY9XwvvBiZk3k2YeKhhwq-bH6YG20kSftpbbd-ndP'
  const values = {
    'plain text': `postgres://${pg.reader.user}:${canary}@127.0.0.1:${pg.port}/postgres`,
    'a crypto-js value': 'U2FsdGVkX18BAgMEBQYHCBm0xw1u9+Mx+ufbmxHS3bxY1V4c6DbfHpcWKPcfUwnJ',
    'an unknown key id': foreign,
    'a newer version': 'enc:v2:deadbeef:AAECAwQFBgcICQoL:UJwG5Tjxq1bhdXclY9XwvvBiZk3k2YeK',
    'nothing at all': '',
  }

  for (const [what, value] of Object.entries(values)) {
    test(`424 ${what}; the row is listed, its neighbours work, and a whole new string mends it`, async () => {
      const [row, neighbour] = [await add(), await add()]
      await store(row.id, value)
      expect(await used(row.id)).toEqual(unreadable)
      expect((await used(neighbour.id)).map(([status]) => status)).toEqual([200, 200, 200])
      expect((await app().request('GET', `${path}/${row.id}`)).status).toBe(200)
      expect(await ready()).toEqual({ status: 'degraded' })

      const mend = (body: unknown) => app().request('PATCH', `${path}/${row.id}`, { body })
      for (const part of [{ password: canary }, { port: pg.port }, { config: { readOnly: true } }]) {
        const { status, body } = await mend(part)
        expect([part, status, body.error.code]).toEqual([part, 400, 'DB_CREDENTIALS_UNREADABLE'])
      }
      expect((await mend({ description: 'known to be broken' })).status).toBe(200)
      expect(await stored(row.id)).toBe(value)
      expect((await mend({ connectionString: pg.reader.url })).status).toBe(200)
      expect((await used(row.id)).map(([status]) => status)).toEqual([200, 200, 200])
      expect(await ready()).toEqual({ status: 'ok' })
    })
  }

  test('200 the fields form mends it too', async () => {
    const row = await add()
    await store(row.id, foreign)
    const { user, password } = pg.reader
    const body = { host: pg.host, port: pg.port, databaseName: 'postgres', username: user, password }
    expect((await app().request('PATCH', `${path}/${row.id}`, { body })).status).toBe(200)
    expect((await app().request('GET', `${path}/${row.id}/info`)).status).toBe(200)
  })

  test('424 values swapped between two rows', async () => {
    const [one, other] = [await add(), await add()]
    const [first, second] = [await stored(one.id), await stored(other.id)]
    await store(one.id, second)
    await store(other.id, first)
    expect([await used(one.id), await used(other.id)]).toEqual([unreadable, unreadable])
    await store(one.id, first)
    await eventually(async () => (await app().request('GET', `${path}/${one.id}/info`)).status === 200)
  })

  test('424 a value whose row was moved to another project', async () => {
    const ref = newName('project')
    await app().request('POST', '/api/platform/projects', { body: { name: ref, ref, organizationSlug: 'default' } })
    const row = await add()
    await inRegistry(
      app(),
      (sql) => sql`
        update platform.databases set project_id = (select id from platform.projects where ref = ${ref}) where id = ${row.id}`,
    )
    expect(await used(row.id)).toEqual(unreadable)
  })

  describe('a row of a type without an engine', () => {
    test('400 DB_UNSUPPORTED, and it is listed', async () => {
      const row = await add()
      await inRegistry(app(), (sql) => sql`alter type platform.database_type add value if not exists 'later'`)
      await inRegistry(app(), (sql) => sql`update platform.databases set type = 'later' where id = ${row.id}`)
      const answers = [
        await app().request('GET', `${path}/${row.id}/info`),
        await app().request('POST', `${path}/${row.id}/test`),
      ]
      expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(
        Array(2).fill([400, 'DB_UNSUPPORTED']),
      )
      expect((await app().request('GET', `${path}/${row.id}`)).body.type).toBe('later')
    })
  })
})
