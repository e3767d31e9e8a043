import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'

const cleanup = new AsyncDisposableStack()
let app: TestApp
let sql: postgres.Sql
let id: string

beforeAll(async () => {
  const scratch = cleanup.use(await createScratchDatabase(stores().postgres18))
  sql = postgres(scratch.url, { max: 1, onnotice: () => undefined })
  cleanup.defer(() => sql.end())
  // One connection, so that every request gets the one its predecessor used.
  app = cleanup.use(await createTestApp({ env: { POSTGRES_MAX_POOL_SIZE: '1', POOL_WAIT_TIMEOUT_MS: '5000' } }))
  await sql.unsafe(`
    create table kept (a int); insert into kept values (1), (2);
    create sequence counter;
    create function remove_all() returns int language plpgsql as 'begin delete from kept; return 1; end';
    create function remove_and_commit() returns int language plpgsql as 'begin delete from kept; commit; return 1; end';
    create procedure remove_by_call() language plpgsql as 'begin delete from kept; commit; end'`)
  id = (await app.register({ name: 'isolation', type: 'postgres', connectionString: scratch.url })).id
})
afterAll(() => cleanup.disposeAsync())

const run = (query: string, more: Readonly<Record<string, unknown>> = {}) =>
  app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query, ...more } })
const value = async (query: string) => Object.values((await run(query)).body.rows[0])[0]
const rowsKept = async () => (await sql`select count(*)::int as n from kept`)[0]?.['n']

describe('a read-only query', () => {
  const writing = [
    'delete from kept',
    'commit',
    'commit; delete from kept',
    '; commit',
    '/* a */ COMMIT',
    'end',
    'rollback',
    'abort',
    'begin',
    'savepoint a',
    'start transaction read write',
    'set transaction read write',
    'SET LOCAL transaction_read_only = off',
    'set "transaction_read_only" = off',
    'set session characteristics as transaction read write',
    'reset transaction_read_only',
    "select set_config('transaction_read_only', 'off', false)",
    "select set_config('transaction_read_only', 'off', true), remove_all()",
    'with gone as (delete from kept returning a) select * from gone',
    'with x as (select 1) insert into kept select 3',
    'explain analyze delete from kept',
    'select remove_all()',
    'select remove_and_commit()',
    'call remove_by_call()',
    "do 'begin delete from kept; end'",
    "do 'begin delete from kept; commit; end'",
    'create table other (a int)',
    'create temporary table kept (a int)',
    'select * into other from kept',
    'truncate kept',
    'select * from kept for update',
    'lock table kept in exclusive mode',
    'copy kept to stdout',
    'copy kept from stdin',
    "copy kept to program 'true'",
    "copy (select 1) to '/tmp/never'",
    'vacuum kept',
    'refresh materialized view kept',
    "prepare transaction 'x'",
    'listen kept',
    'discard all',
    "select nextval('counter')",
    "select setval('counter', 5)",
    "notify kept, 'x'",
    'declare c cursor with hold for select 1',
    'grant select on kept to public',
    "alter system set work_mem = '1MB'",
    'set default_transaction_read_only = off',
  ]
  for (const query of writing) {
    test(`leaves the data as it was: ${query}`, async () => {
      const { status } = await run(query)
      expect([200, 400, 403]).toContain(status)
      expect(await rowsKept()).toBe(2)
      expect(await value('select count(*)::int from kept')).toBe(2)
      expect(await value('show transaction_read_only')).toBe('on')
    })
  }

  test('403 DB_READ_ONLY says how to allow the write', async () => {
    const { status, body } = await run('delete from kept')
    expect([status, body.error.code, body.error.retryable]).toEqual([403, 'DB_READ_ONLY', false])
    expect(body.message).toContain('"readOnly": false')
  })

  test('400 transaction control is the caller’s error, in a write as well', async () => {
    for (const readOnly of [true, false]) {
      const { status, body } = await run('commit', { readOnly })
      expect([status, body.error.code]).toEqual([400, 'DB_QUERY_ERROR'])
    }
  })

  test('403 a write to a database that is registered read-only, whatever the request says', async () => {
    const row = (await app.request('GET', `/api/platform/databases/${id}`)).body
    const patch = (config: object) => app.request('PATCH', `/api/platform/databases/${row.id}`, { body: { config } })
    await patch({ readOnly: true })
    const { status, body } = await run('delete from kept', { readOnly: false })
    expect([status, body.error.code]).toEqual([403, 'DB_READ_ONLY'])
    await patch({})
    expect(await rowsKept()).toBe(2)
  })
})

describe('what one request leaves behind', () => {
  const states: readonly (readonly [name: string, doing: string, asking: string, clean: unknown])[] = [
    ['a setting', "set work_mem = '64kB'", 'show work_mem', '4MB'],
    ['search_path', 'set search_path = nowhere', 'show search_path', '"$user", public'],
    [
      'a session setting by function',
      "select set_config('app.user', 'eve', false)",
      "select coalesce(current_setting('app.user', true), '')",
      '',
    ],
    ['a role', 'set role pg_read_all_data', 'select current_user::text', 'postgres'],
    ['a session authorization', 'set session authorization pg_read_all_data', 'select session_user::text', 'postgres'],
    ['the time zone', "set time zone 'Asia/Tokyo'", 'show timezone', expect.not.stringContaining('Tokyo')],
    ['the encoding', "set client_encoding = 'LATIN1'", 'show client_encoding', 'UTF8'],
    ['a read-only default', 'set default_transaction_read_only = on', 'show default_transaction_read_only', 'off'],
    ['a statement timeout', 'set statement_timeout = 1', "select current_setting('statement_timeout') <> '1ms'", true],
    ['a temporary table', 'create temporary table mine (a int)', "select to_regclass('mine')::text", null],
    [
      'a prepared statement',
      'prepare mine as select 1',
      "select count(*)::int from pg_prepared_statements where name = 'mine'",
      0,
    ],
    [
      'an advisory lock',
      'select pg_advisory_lock(42)',
      "select count(*)::int from pg_locks where locktype = 'advisory' and objid = 42",
      0,
    ],
    [
      'a held cursor',
      'declare mine cursor with hold for select 1',
      "select count(*)::int from pg_cursors where name = 'mine'",
      0,
    ],
    [
      'a sequence’s value',
      "select nextval('counter')",
      "select count(*)::int from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'",
      0,
    ],
  ]
  for (const [name, doing, asking, clean] of states) {
    test(`is gone for the next: ${name}`, async () => {
      expect((await run(doing, { readOnly: false })).status).toBe(200)
      expect(await value(asking)).toEqual(clean as never)
    })
  }

  test('is gone after a failure too', async () => {
    expect((await run('select pg_advisory_lock(43), 1 / (random() * 0)::int', { readOnly: false })).status).toBe(400)
    expect(await value("select count(*)::int from pg_locks where locktype = 'advisory'")).toBe(0)
    expect(await value('select 1')).toBe(1)
  })

  test('is gone after a timeout too, and the place in the pool is free again', async () => {
    expect((await run('select pg_advisory_lock(44), pg_sleep(30)', { timeoutMs: 500 })).status).toBe(504)
    expect(await value("select count(*)::int from pg_locks where locktype = 'advisory'")).toBe(0)
  })

  test('is no open transaction: a session in one holds back nobody', async () => {
    await Promise.all(Array.from({ length: 3 }, () => run('select 1')))
    const [row] = await sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and state like 'idle in transaction%'`
    expect(row?.['n']).toBe(0)
  })

  test('is not even a connection when somebody ends its backend', async () => {
    await run('select 1')
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'bun-api'`
    const answers = [await run('select 1'), await run('select 1')]
    expect(answers.at(-1)?.status).toBe(200)
    expect([200, 503]).toContain(answers[0]?.status as number)
  })
})
