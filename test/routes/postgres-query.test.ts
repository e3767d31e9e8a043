import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { eventually } from '#test/engines/peers.ts'
import { stores } from '#test/support/stores.ts'

describe('POST /postgres/{databaseId}/query', () => {
  const cleanup = new AsyncDisposableStack()
  let app: TestApp
  let id: string
  let sql: postgres.Sql

  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(stores().postgres18))
    sql = postgres(scratch.url, { max: 2, onnotice: () => undefined })
    cleanup.defer(() => sql.end())
    app = cleanup.use(await createTestApp({ env: { MAX_RESPONSE_BYTES: '1048576' } }))
    await sql.unsafe(`
      create type mood as enum ('sad', 'ok', 'happy'); create domain positive as int check (value > 0);
      create type pair as (a int, b text);
      create table items (id int primary key, name text, parent int references items deferrable initially deferred);
      create table big (data text); insert into big values (repeat('x', 4000000))`)
    id = (await app.register({ name: 'query', type: 'postgres', connectionString: scratch.url })).id
  })
  afterAll(() => cleanup.disposeAsync())

  const run = (body: Readonly<Record<string, unknown>>, signal?: AbortSignal) =>
    app.request('POST', `/api/platform/postgres/${id}/query`, { body, ...(signal ? { signal } : {}) })
  const write = (query: string, parameters: readonly unknown[] = []) => run({ query, parameters, readOnly: false })
  const running = async (mark: string) =>
    (
      await sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and state = 'active' and query like ${`%${mark}%`} and pid <> pg_backend_pid()`
    )[0]?.['n'] as number

  describe('parameters', () => {
    const lossless: readonly (readonly [type: string, value: unknown, expected: unknown])[] = [
      ['int', 42, 42],
      ['bigint', '9007199254740993', '9007199254740993'],
      ['numeric', '12345678901234567890.123456789', '12345678901234567890.123456789'],
      ['bool', 'true', true],
      ['bool', 'f', false],
      ['bool', false, false],
      ['timestamptz', '2026-01-02 03:04:05.123456+00', '2026-01-02 03:04:05.123456+00'],
      ['timestamp', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00 BC'],
      ['timestamptz', 'infinity', 'infinity'],
      ['date', '2026-01-02', '2026-01-02'],
      ['jsonb', '{"n": 12345678901234567890, "a": [1]}', expect.anything()],
      ['jsonb', { a: [1, null, 'x'] }, { a: [1, null, 'x'] }],
      ['jsonb', [1, 'two', { three: 3 }], [1, 'two', { three: 3 }]],
      ['json', 'null', null],
      ['int[]', [1, null, 3], [1, null, 3]],
      ['int[]', '{1,2}', [1, 2]],
      [
        'int[]',
        [
          [1, 2],
          [3, 4],
        ],
        [
          [1, 2],
          [3, 4],
        ],
      ],
      ['text[]', ['a,b', '"q"', 'NULL', '', '\\', '{}'], ['a,b', '"q"', 'NULL', '', '\\', '{}']],
      ['uuid', '11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111'],
      ['bytea', '\\xdeadbeef00', '\\xdeadbeef00'],
      ['text', "it’s 'quoted' $1 -- ; \\ \n", "it’s 'quoted' $1 -- ; \\ \n"],
      ['text', '', ''],
      ['text', null, null],
      ['float8', 'NaN', 'NaN'],
      ['float8', 1.5, 1.5],
      ['interval', '1 day 02:03:04.000005', '1 day 02:03:04.000005'],
      ['inet', '10.0.0.1/8', '10.0.0.1/8'],
      ['int4range', '[1,5)', '[1,5)'],
      ['mood', 'happy', 'happy'],
      ['pair', '(1,"a b")', '(1,"a b")'],
      ['positive', 3, 3],
    ]
    for (const [type, value, expected] of lossless) {
      test(`200 ${JSON.stringify(value)} as ${type} comes back`, async () => {
        const { status, body } = await run({ query: `select $1::${type} as v`, parameters: [value] })
        expect([status, body.rows]).toEqual([200, [{ v: expected }]])
      })
    }

    test('200 a json number beyond 2^53 is in the answer digit by digit', async () => {
      const { text } = await run({ query: 'select $1::jsonb as v', parameters: ['{"n": 12345678901234567890}'] })
      expect(text).toContain('12345678901234567890')
    })

    test('400 too few, too many, and a value that does not fit', async () => {
      const answers = await Promise.all([
        run({ query: 'select $1::int, $2::int', parameters: [1] }),
        run({ query: 'select $1::int', parameters: [1, 2] }),
        run({ query: 'select $1::int', parameters: ['one'] }),
      ])
      expect(answers.map(({ status, body }) => [status, body.error.code, body.error.details.code])).toEqual([
        [400, 'DB_QUERY_ERROR', '08P01'],
        [400, 'DB_QUERY_ERROR', '42P18'],
        [400, 'DB_QUERY_ERROR', '22P02'],
      ])
    })
  })

  describe('results', () => {
    test('200 columns with names, types and oids, also of types the database made', async () => {
      const { body } = await run({
        query: `select 1 as i, 'ok'::mood as m, array['ok']::mood[] as ms, 1::positive as p, row(1,'b')::pair as c, 1.5::numeric(5,2) as n`,
      })
      expect(body.columns.map(({ name, type }: { name: string; type: string }) => [name, type])).toEqual([
        ['i', 'integer'],
        ['m', 'mood'],
        ['ms', 'mood[]'],
        ['p', 'integer'],
        ['c', 'pair'],
        ['n', 'numeric'],
      ])
      expect(body.rows).toEqual([{ i: 1, m: 'ok', ms: ['ok'], p: 1, c: '(1,b)', n: '1.50' }])
      expect(body.columns[0].type_id).toBe(23)
    })

    test('200 rows as arrays keep columns of one name', async () => {
      const { body } = await run({ query: 'select 1 as a, 2 as a, null as b', rowMode: 'array' })
      expect(body.rows).toEqual([[1, 2, null]])
    })

    test('200 a column named __proto__ is a column', async () => {
      const { text } = await run({ query: 'select 1 as "__proto__", 2 as "constructor"' })
      expect(text).toContain('"rows":[{"__proto__":1,"constructor":2}]')
    })

    for (const [rows, maxRows, answered, truncated] of [
      [5, 5, 5, false],
      [6, 5, 5, true],
      [0, 5, 0, false],
      [1, 1, 1, false],
      [2, 1, 1, true],
      [199, 1000, 199, false],
      [200, 1000, 200, false],
      [201, 1000, 201, false],
      [1000, 1000, 1000, false],
      [1001, 1000, 1000, true],
      [1_000_000_000, 1000, 1000, true],
    ] as const) {
      test(`200 ${rows} rows with maxRows ${maxRows} are ${answered}${truncated ? ' and truncated' : ''}`, async () => {
        const { status, body } = await run({
          query: 'select generate_series(1, $1::int) as n',
          parameters: [rows],
          maxRows,
        })
        expect([status, body.row_count, body.truncated, body.command]).toEqual([200, answered, truncated, 'SELECT'])
        expect(body.rows).toEqual(Array.from({ length: answered }, (_, index) => ({ n: index + 1 })))
        expect(body.columns).toEqual([{ name: 'n', type: 'integer', type_id: 23 }])
      })
    }

    test('200 the command and the rows it changed', async () => {
      const summary = async (query: string) => {
        const { body } = await write(query)
        return [body.command, body.row_count, body.rows.length]
      }
      expect(await summary('create table t (a int)')).toEqual(['CREATE TABLE', 0, 0])
      expect(await summary('insert into t select generate_series(1, 450)')).toEqual(['INSERT', 450, 0])
      expect(await summary('insert into t values (0) returning a')).toEqual(['INSERT', 1, 1])
      expect(await summary('update t set a = a + 1')).toEqual(['UPDATE', 451, 0])
      expect(await summary('update t set a = a where a < 300 returning a')).toEqual(['UPDATE', 299, 299])
      expect(await summary('delete from t where a < 0')).toEqual(['DELETE', 0, 0])
      expect(await summary('delete from t where a < 0 returning *')).toEqual(['DELETE', 0, 0])
      expect(await summary('select from t limit 3')).toEqual(['SELECT', 3, 3])
      expect(await summary('truncate t')).toEqual(['TRUNCATE TABLE', 0, 0])
      expect(await summary('show server_version')).toEqual(['SHOW', 1, 1])
      expect(await summary('explain select 1')).toEqual(['EXPLAIN', 1, 1])
      expect(await summary('drop table t')).toEqual(['DROP TABLE', 0, 0])
    })

    test('200 a RETURNING that is truncated has changed every row', async () => {
      await write('create table whole (a int)')
      await write('insert into whole select 0 from generate_series(1, 500)')
      const { body } = await run({ query: 'update whole set a = 1 returning a', readOnly: false, maxRows: 3 })
      expect([body.rows.length, body.truncated]).toEqual([3, true])
      expect((await sql`select sum(a)::int as sum from whole`)[0]?.['sum']).toBe(500)
    })

    test('413 a result above MAX_RESPONSE_BYTES, and the next request is fine', async () => {
      const before = process.memoryUsage().rss
      for (const query of [
        'select data from big',
        "select repeat('x', 100000) from generate_series(1, 900)",
        "select repeat('x', 200000000)",
      ]) {
        const { status, body } = await run({ query })
        expect([status, body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
      }
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
      expect((await run({ query: 'select 1 as one' })).body.rows).toEqual([{ one: 1 }])
    })
  })

  describe('errors', () => {
    test('400 a syntax error with the server’s fields and the position', async () => {
      const { status, body } = await run({ query: 'select 1 frm x' })
      expect([status, body.error.code, body.error.retryable]).toEqual([400, 'DB_QUERY_ERROR', false])
      expect(body.error.details).toMatchObject({ code: '42601', position: 14 })
    })

    test('400 an unknown table, more than one statement, nothing at all', async () => {
      const codes = async (query: string) => {
        const { status, body } = await run({ query })
        return [status, body.error.code, body.error.details?.code]
      }
      expect(await codes('select * from nothing_here')).toEqual([400, 'DB_QUERY_ERROR', '42P01'])
      expect(await codes('select 1; select 2')).toEqual([400, 'DB_QUERY_ERROR', '42601'])
      expect(await codes(' -- nothing')).toEqual([400, 'VALIDATION_FAILED', undefined])
      expect(await codes('copy items to stdout')).toEqual([400, 'DB_UNSUPPORTED', undefined])
    })

    test('409 a unique violation names the constraint', async () => {
      await write("insert into items values (1, 'one')")
      const { status, body } = await write("insert into items values (1, 'again')")
      expect([status, body.error.code]).toEqual([409, 'DB_CONFLICT'])
      expect(body.error.details).toMatchObject({ code: '23505', constraint: 'items_pkey', table: 'items' })
    })

    test('400 a deferred constraint that fails at commit, and nothing is kept', async () => {
      const { status, body } = await write('insert into items values (7, $1, 99)', ['orphan'])
      expect([status, body.error.code, body.error.details.code]).toEqual([400, 'DB_QUERY_ERROR', '23503'])
      expect((await run({ query: 'select * from items where id = 7' })).body.rows).toEqual([])
    })

    for (const [name, wrong, field] of [
      ['maxRows', { maxRows: 0 }, 'maxRows'],
      ['maxRows', { maxRows: 1001 }, 'maxRows'],
      ['timeoutMs', { timeoutMs: 60_001 }, 'timeoutMs'],
      ['timeoutMs', { timeoutMs: 99 }, 'timeoutMs'],
      ['rowMode', { rowMode: 'map' }, 'rowMode'],
      ['readOnly', { readOnly: 'false' }, 'readOnly'],
      ['parameters', { parameters: 'x' }, 'parameters'],
      ['an unknown field', { timeout: 1 }, 'timeout'],
    ] as const) {
      test(`400 ${name} ${JSON.stringify(wrong)}`, async () => {
        const { status, body } = await run({ query: 'select 1', ...wrong })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }
  })

  describe('time', () => {
    test('504 at timeoutMs, and nothing is left running', async () => {
      const started = performance.now()
      const { status, body } = await run({ query: 'select pg_sleep(30) as slow_mark', timeoutMs: 1_000 })
      expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', true])
      expect(performance.now() - started).toBeLessThan(1_250)
      await eventually(async () => (await running('slow_mark')) === 0, 1_000)
    })

    test('200 a quick statement with the shortest timeoutMs', async () => {
      expect((await run({ query: 'select 1', timeoutMs: 100 })).status).toBe(200)
    })

    test('504 a write says that its outcome is unknown, and is not to be retried', async () => {
      const { status, body } = await run({ query: 'select pg_sleep(30)', readOnly: false, timeoutMs: 500 })
      expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', false])
      expect(body.message).toContain('unknown')
    })

    test('504 a statement that lifts its own timeout', async () => {
      const query = "select set_config('statement_timeout', '0', false), pg_sleep(30) as lifted_mark"
      const { status } = await run({ query, timeoutMs: 1_000 })
      expect(status).toBe(504)
      await eventually(async () => (await running('lifted_mark')) === 0, 2_000)
    })

    test('a client that leaves has its backend cancelled within a second', async () => {
      const leaving = new AbortController()
      const asking = run({ query: 'select pg_sleep(30) as left_mark' }, leaving.signal)
      await eventually(async () => (await running('left_mark')) === 1)
      leaving.abort()
      await eventually(async () => (await running('left_mark')) === 0, 1_000)
      await asking.catch(() => undefined)
      expect((await run({ query: 'select 1' })).status).toBe(200)
    })

    test('503 POOL_EXHAUSTED with Retry-After beyond the pool and its waiters; others are fine afterwards', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => run({ query: 'select pg_sleep(1.5)', timeoutMs: 5_000 })),
      )
      const statuses = answers.map(({ status }) => status)
      expect(statuses.filter((status) => status === 200).length).toBe(5)
      const refused = answers.filter(({ status }) => status === 503)
      expect(refused.length).toBe(15)
      for (const { body, headers } of refused)
        expect([body.error.code, body.error.retryable, headers.get('retry-after')]).toEqual([
          'POOL_EXHAUSTED',
          true,
          '1',
        ])
      expect((await run({ query: 'select 1' })).status).toBe(200)
    })

    test('each of 200 callers, a third of whom leave, gets its own answer', async () => {
      const ask = async (n: number) => {
        const leaving = new AbortController()
        if (n % 3 === 0) setTimeout(() => leaving.abort(), n % 17)
        const nonce = crypto.randomUUID()
        const answer = await run({ query: 'select $1::text as nonce', parameters: [nonce] }, leaving.signal).catch(
          () => undefined,
        )
        return answer?.status !== 200 || answer.body.rows[0].nonce === nonce
      }
      for (let round = 0; round < 20; round++) {
        const own = await Promise.all(Array.from({ length: 10 }, (_, n) => ask(round * 10 + n)))
        expect(own).toEqual(Array(10).fill(true))
      }
    })
  })
})
