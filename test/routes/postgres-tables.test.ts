import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'

describe('GET /postgres/{databaseId}/tables', () => {
  const cleanup = new AsyncDisposableStack()
  const store = stores().postgres18
  let app: TestApp
  let id: string
  let readerId: string

  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(store))
    const sql = postgres(scratch.url, { max: 1, onnotice: () => undefined })
    app = cleanup.use(await createTestApp())
    await sql.unsafe(`
      create type mood as enum ('sad', 'ok');
      create table "a.b" ("the id" int primary key, feeling mood not null default 'ok');
      create table child (id bigint generated always as identity primary key, parent int references "a.b");
      create schema "other, schema"; create table "other, schema".hidden (a int);
      create schema third; create table third.t (a int);
      grant select on child to "${store.reader.user}"`)
    await sql.end()
    id = (await app.register({ name: 'tables', type: 'postgres', connectionString: scratch.url })).id
    const reading = new URL(store.reader.url)
    reading.pathname = `/${scratch.name}`
    readerId = (await app.register({ name: 'reader', type: 'postgres', connectionString: reading.href })).id
  })
  afterAll(() => cleanup.disposeAsync())

  const list = (query: string, of = id) => app.request('GET', `/api/platform/postgres/${of}/tables?${query}`)
  const names = async (query: string, of = id) => {
    const { status, body } = await list(query, of)
    expect(status).toBe(200)
    return body.map(({ schema, name }: { schema: string; name: string }) => `${schema}.${name}`)
  }

  test('200 the tables of every schema but the system’s, in order', async () => {
    expect(await names('')).toEqual(['other, schema.hidden', 'public.a.b', 'public.child', 'third.t'])
  })

  test('200 a table with columns, keys and relationships', async () => {
    const { body } = await list('included_schemas=public')
    expect(body[0]).toMatchObject({
      schema: 'public',
      name: 'a.b',
      rls_enabled: false,
      replica_identity: 'DEFAULT',
      primary_keys: [{ schema: 'public', table_name: 'a.b', name: 'the id' }],
      relationships: [{ source_table_name: 'child', source_column_name: 'parent', target_table_name: 'a.b' }],
    })
    expect(body[0].columns.map(({ name, enums }: { name: string; enums: string[] }) => [name, enums])).toEqual([
      ['the id', []],
      ['feeling', ['sad', 'ok']],
    ])
    expect(body[1].columns[0]).toMatchObject({ is_identity: true, identity_generation: 'ALWAYS', is_nullable: false })
  })

  test('200 schemas left in and out, the system’s on request', async () => {
    expect(await names('included_schemas=third,public')).toEqual(['public.a.b', 'public.child', 'third.t'])
    expect(await names('excluded_schemas=public')).toEqual(['other, schema.hidden', 'third.t'])
    expect(await names('included_schemas=no_such')).toEqual([])
    expect(await names('included_schemas=pg_catalog&limit=1')).toEqual(['pg_catalog.pg_aggregate'])
    expect(await names('include_system_schemas=true&limit=1')).toEqual(['information_schema.sql_features'])
  })

  test('200 a page of them, without columns on request', async () => {
    expect(await names('limit=2')).toEqual(['other, schema.hidden', 'public.a.b'])
    expect(await names('limit=2&offset=2')).toEqual(['public.child', 'third.t'])
    expect(await names('offset=4')).toEqual([])
    const { body } = await list('include_columns=false&limit=1')
    expect(body[0]).not.toHaveProperty('columns')
  })

  test('200 a role sees only tables it may use', async () => {
    expect(await names('', readerId)).toEqual(['public.child'])
  })

  for (const [query, field] of [
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['offset=-1', 'offset'],
    ['offset=x', 'offset'],
    ['include_columns=maybe', 'include_columns'],
    [`included_schemas=${'s'.repeat(64)}`, 'included_schemas.0'],
  ] as const) {
    test(`400 ${query.slice(0, 24)}`, async () => {
      const { status, body } = await list(query)
      expect([status, body.error.details[0].field]).toEqual([400, field])
    })
  }

  test('404 a database of another engine', async () => {
    const redis = stores().redis
    if (redis === null) return
    const other = await app.register({ name: 'cache', type: 'redis', connectionString: redis.url })
    expect((await list('', other.id)).status).toBe(404)
  })
})
