import { afterAll, beforeAll, expect, test } from 'bun:test'
import { rm } from 'node:fs/promises'
import postgres from 'postgres'
import { callWithin } from '#src/engines/engine.ts'
import { postgres as engine } from '#src/engines/postgres/engine.ts'
import type { ApiError } from '#src/errors.ts'
import { eventually } from '#test/engines/peers.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { canary } from '#test/support/stores.ts'

const marker = `/tmp/bun-api-never-${process.pid}`
const role = `plain_${process.pid}`

/** What each attempt answers: our refusal, or PostgreSQL's for a superuser, and for a role with the rights of one who only reads. */
const attempts: readonly (readonly [query: string, superuser: string, plain?: string])[] = [
  ['commit; delete from kept', 'DB_QUERY_ERROR'],
  ['select 1; commit; delete from kept', 'DB_QUERY_ERROR 42601'],
  ['COMMIT', 'DB_QUERY_ERROR'],
  ['/*/**/*/ commit and chain', 'DB_QUERY_ERROR'],
  ['set transaction read write', 'DB_QUERY_ERROR'],
  ['set session characteristics as transaction read write', 'DB_QUERY_ERROR'],
  ['SET SESSION transaction_read_only = off', 'DB_QUERY_ERROR'],
  ['set U&"transaction\\005fread_only" = off', 'DB_READ_ONLY'],
  ['reset all', 'DB_READ_ONLY'],
  ["set statement_timeout = '0'", 'DB_READ_ONLY'],
  ['set role postgres', 'DB_READ_ONLY'],
  ["select set_config('transaction_read_only', 'off', false)", 'DB_QUERY_ERROR 25001'],
  ["select set_config('transaction_read_only', 'off', true), gone()", 'DB_QUERY_ERROR 25001'],
  ['delete from kept', 'DB_READ_ONLY'],
  ['with gone as (delete from kept returning a) select * from gone', 'DB_READ_ONLY 25006'],
  ['with a as (select 1) delete from kept', 'DB_READ_ONLY 25006'],
  ['select * into other from kept', 'DB_READ_ONLY 25006'],
  ['select gone()', 'DB_READ_ONLY 25006'],
  ['explain analyze delete from kept', 'DB_READ_ONLY 25006'],
  ["do 'begin delete from kept; commit; end'", 'DB_READ_ONLY'],
  ['call gone_and_commit()', 'DB_READ_ONLY'],
  ['execute anything', 'DB_READ_ONLY'],
  [`copy (select 1) to program 'touch ${marker}'`, 'DB_UNSUPPORTED'],
  [`copy kept from program 'touch ${marker}; echo 1'`, 'DB_UNSUPPORTED'],
  [`copy (select 1) to '${marker}'`, 'DB_UNSUPPORTED'],
  [`explain analyze copy (select 1) to '${marker}'`, 'DB_QUERY_ERROR 42601'],
  ["load '/tmp/x.so'", 'DB_READ_ONLY'],
  ["alter system set work_mem = '1MB'", 'DB_READ_ONLY'],
  ['create extension if not exists dblink', 'DB_READ_ONLY'],
  ["create function f() returns int language c as '/tmp/x.so'", 'DB_READ_ONLY'],
  ['checkpoint', 'DB_READ_ONLY'],
  ['listen a', 'DB_UNSUPPORTED'],
  ["select nextval('counter')", 'DB_READ_ONLY 25006'],
  ["select setval('counter', 1)", 'DB_READ_ONLY 25006'],
  // From here on what PostgreSQL itself lets through: only the rights of the role stop it.
  ["select pg_catalog.length(pg_read_file('PG_VERSION')) > 0 as yes", 'yes', 'DB_QUERY_ERROR 42501'],
  ["select count(*) > 0 as yes from pg_ls_dir('.') as name", 'yes', 'DB_QUERY_ERROR 42501'],
  ['select pg_reload_conf() as yes', 'yes', 'DB_QUERY_ERROR 42501'],
]

for (const name of ['postgres18', 'postgres15'] as const) {
  describeWith(name, `what a read-only query may not do on ${name}`, (store) => {
    const cleanup = new AsyncDisposableStack()
    let app: TestApp
    let sql: postgres.Sql
    let url: string
    const ids: Record<string, string> = {}

    beforeAll(async () => {
      const scratch = cleanup.use(await createScratchDatabase(store))
      url = scratch.url
      sql = postgres(scratch.url, { max: 2, onnotice: () => undefined })
      cleanup.defer(() => sql.end({ timeout: 1 }))
      await sql.unsafe(`create role ${role} login password '${canary}'`)
      cleanup.defer(async () => {
        await sql.unsafe(`drop owned by ${role}; drop role ${role}`)
      })
      await sql.unsafe(`
        create table kept (a int); insert into kept values (1), (2); create sequence counter;
        grant all on kept, counter to ${role};
        create function gone() returns int language plpgsql as 'begin delete from kept; return 1; end';
        create procedure gone_and_commit() language plpgsql as 'begin delete from kept; commit; end'`)
      app = cleanup.use(await createTestApp({ env: { POSTGRES_MAX_POOL_SIZE: '1', POOL_WAIT_TIMEOUT_MS: '5000' } }))
      const plain = new URL(scratch.url)
      ids['superuser'] = (await app.register({ name: 'superuser', type: 'postgres', connectionString: scratch.url })).id
      plain.username = role
      plain.password = canary
      ids['plain'] = (await app.register({ name: 'plain', type: 'postgres', connectionString: plain.href })).id
    })
    afterAll(() => cleanup.disposeAsync())

    const run = (as: string, query: string, more: Readonly<Record<string, unknown>> = {}) =>
      app.request('POST', `/api/platform/postgres/${ids[as]}/query`, { body: { query, ...more } })
    const outcome = async (as: string, query: string) => {
      const { status, body } = await run(as, query)
      if (status === 200) return body.rows[0]?.yes === true ? 'yes' : 'runs'
      return [body.error.code, body.error.details?.code].filter(Boolean).join(' ')
    }

    test.each(attempts.map(([query, superuser, plain]) => [query, superuser, plain ?? superuser] as const))(
      '%s: %s for a superuser, %s for a plain role',
      async (query, superuser, plain) => {
        expect([await outcome('superuser', query), await outcome('plain', query)]).toEqual([superuser, plain])
        expect((await sql`select a from kept order by a`).map(({ a }) => a)).toEqual([1, 2])
        expect(await Bun.file(marker).exists()).toBe(false)
      },
    )

    test('ends another’s backend as a superuser, which PostgreSQL lets it; a plain role may not', async () => {
      const other = postgres(url, { max: 1, onnotice: () => undefined })
      const [victim] = await other`select pg_backend_pid() as pid`
      const query = `select pg_terminate_backend(${Number(victim?.['pid'])}) as yes`
      expect(await outcome('plain', query)).toBe('DB_QUERY_ERROR 42501')
      expect(await outcome('superuser', query)).toBe('yes')
      await other.end({ timeout: 1 })
    })

    test('keeps no large object and no notification: refused, or rolled back', async () => {
      expect(['yes', 'DB_READ_ONLY 25006']).toContain(await outcome('superuser', 'select lo_create(0) > 0 as yes'))
      expect(await sql`select oid from pg_largeobject_metadata`).toHaveLength(0)
      const heard: string[] = []
      const { unlisten } = await sql.listen('told', (payload) => void heard.push(payload))
      await outcome('plain', "select pg_notify('told', 'from a read')")
      await sql`select pg_notify('told', 'end')`
      await eventually(() => heard.includes('end'))
      expect(heard).toEqual(['end'])
      await unlisten()
    })

    test('is warned of where the role is a superuser, and not otherwise', async () => {
      const warned = async (as: string) =>
        (await app.request('POST', `/api/platform/databases/${ids[as]}/test`)).body.warnings?.length > 0
      expect([await warned('superuser'), await warned('plain')]).toEqual([true, false])
    })

    test('leaves nothing for the next caller: locks, settings, temporary tables, prepared statements', async () => {
      for (const as of ['superuser', 'plain']) {
        await run(
          as,
          "select pg_advisory_lock(7), set_config('search_path', 'nowhere', false), set_config('a.b', 'c', false)",
        )
        await run(as, 'create temporary table kept (b int)', { readOnly: false })
        await run(as, 'prepare mine as select 1', { readOnly: false })
        const { body } = await run(
          as,
          `select (select count(*)::int from pg_locks where locktype = 'advisory') as locks, current_setting('search_path') as path,
             coalesce(current_setting('a.b', true), '') as setting, (select count(*)::int from pg_prepared_statements) as prepared,
             (select count(*)::int from kept) as kept`,
        )
        expect(body.rows).toEqual([{ locks: 0, path: '"$user", public', setting: '', prepared: 0, kept: 2 }])
      }
    })

    test('403 a write by a call that may only read, and its own reads run', async () => {
      using call = callWithin(5_000, undefined, true)
      using session = await app.deps.open(engine, String(ids['plain']), call)
      const request = { parameters: [], maxRows: 10, rowMode: 'object' } as const
      const write = session.query({ ...request, query: 'delete from kept', readOnly: false }, call)
      const refused: ApiError = await write.then(() => undefined as never).catch((error: ApiError) => error)
      expect([refused.code, refused.status, refused.details]).toEqual(['DB_READ_ONLY', 403, { reason: 'role' }])
      const read = await session.query(
        { ...request, query: 'select count(*)::int as n from kept', readOnly: true },
        call,
      )
      expect(read.rows).toEqual([{ n: 2 }])
    })

    test('403 a write with a key whose role is read, and its reads run', async () => {
      const body = { projectRef: 'default', name: `reads-${name}`, role: 'read' }
      const { secret } = (await app.request('POST', '/api/platform/api-keys', { body })).body
      const asReader = (query: string, readOnly: boolean) =>
        app.request('POST', `/api/platform/postgres/${ids['plain']}/query`, { body: { query, readOnly }, key: secret })
      const answers = [
        await asReader('delete from kept', false),
        await asReader('select 1 as n', false),
        await asReader('delete from kept', true),
        await asReader('select count(*)::int as n from kept', true),
      ]
      expect(answers.map(({ status, body: { error, rows } }) => [status, error?.code ?? rows])).toEqual([
        [403, 'DB_READ_ONLY'],
        [403, 'DB_READ_ONLY'],
        [403, 'DB_READ_ONLY'],
        [200, [{ n: 2 }]],
      ])
    })

    test('400 what PostgreSQL can not parse, with its own word and the position', async () => {
      const { status, body } = await run('plain', 'slect 1')
      expect([status, body.error.code, body.error.details.code, body.error.details.position]).toEqual([
        400,
        'DB_QUERY_ERROR',
        '42601',
        1,
      ])
    })
  })
}

afterAll(() => rm(marker, { force: true }))
