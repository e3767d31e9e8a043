import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { codeOf } from '#src/errors.ts'
import { leadingKeyword, refusal } from '#src/engines/postgres/statement.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type FreshDatabase, freshDatabase } from './postgres-database.ts'

const control = 'DB_QUERY_ERROR'

/** What becomes of each statement: our code, or the server's inside a read-only transaction. */
const outcomes: readonly [sql: string, outcome: string][] = [
  ['commit', control],
  ['CoMMiT and chain', control],
  [';commit', control],
  [' \t\n\r\f;; ; commit', control],
  ['\vcommit', control],
  ['/* /* */ */commit', control],
  ['/*/*/*/ */ */ */commit', control],
  ['/***/commit', control],
  ['/* -- */commit', control],
  ['--x\ncommit', control],
  ['--x\rcommit', control],
  ['-- /*\n/* x */ ; /**/ -- y\r\n commit', control],
  ['commit/**/', control],
  ['commit;', control],
  ['commit--', control],
  ['(commit)', control],
  ['begin', control],
  ['start transaction read write', control],
  ['end', control],
  ['rollback', control],
  ['abort', control],
  ['savepoint a', control],
  ['release savepoint a', control],
  ['rollback to savepoint a', control],
  ["prepare transaction 'x'", control],
  ["prepare/**/transaction 'x'", control],
  ["commit prepared 'x'", control],
  ["rollback prepared 'x'", control],
  ['set transaction read write', control],
  ['set local transaction read write', control],
  ['set session transaction read write', control],
  ['set session characteristics as transaction read write', control],
  ['set transaction_read_only = off', control],
  ['set session "Transaction_Read_Only" to off', control],
  ['set/**/local--\ntransaction_read_only to off', control],
  ['reset transaction_read_only', control],
  ['copy (select 1) to stdout', 'DB_UNSUPPORTED'],
  ["copy (select 1) to program 'true'", 'DB_UNSUPPORTED'],
  ['listen a', 'DB_UNSUPPORTED'],
  ['unlisten *', 'DB_UNSUPPORTED'],
  ['discard all', 'DB_UNSUPPORTED'],
  ['discard temp', 'DB_UNSUPPORTED'],
  ['', 'VALIDATION_FAILED'],
  [' ;; /* x */ -- y', 'VALIDATION_FAILED'],
  ['select 1\0; commit', 'VALIDATION_FAILED'],
  ["select '\ud800'", 'VALIDATION_FAILED'],
  ['\ufeffcommit', '42601'],
  ['\u00a0commit', '42601'],
  ['commit\u00a0', '42601'],
  ['\u0085commit', '42601'],
  ['\u2003commit', '42601'],
  ['\u2028commit', '42601'],
  ['--x\u2028\u0085commit\n', 'VALIDATION_FAILED'],
  ['--x\u0085\ncommit', control],
  ['"commit"', '42601'],
  ['U&"commit"', '42601'],
  ['com/**/mit', '42601'],
  ['\\commit', '42601'],
  ['commit$', '42601'],
  ['/* commit', '42601'],
  ['*/commit', '42601'],
  ['(;commit)', control],
  ['select 1; commit', '42601'],
  ['select 1;;commit', '42601'],
  ["select $$'$$; commit; --'", '42601'],
  ['explain commit', '42601'],
  ['explain analyze commit', '42601'],
  ['prepare x as commit', '42601'],
  ['do $$ begin commit; end $$', '2D000'],
  ["do $$ begin execute 'commit'; end $$", '0A000'],
  ['call ends()', '2D000'],
  ['set U&"transaction\\005fread_only" = off', '25001'],
  ["select set_config('transaction_read_only', 'off', false)", '25001'],
  ['create table written ()', '25006'],
  ['with w as (insert into t values (2) returning 1) select * from w', '25006'],
  ['select 1', 'runs'],
  ['(select 1)', 'runs'],
  ['select 1 -- ; commit', 'runs'],
  ['table t', 'runs'],
  ['prepare x as select 1', 'runs'],
  ['set statement_timeout = 1000', 'runs'],
  ['reset all', 'runs'],
  ["set default_transaction_read_only = 'off'", 'runs'],
]

for (const name of ['postgres18', 'postgres15'] as const) {
  describeWith(name, `statements in a read-only transaction of ${name}`, (store) => {
    let database: FreshDatabase
    beforeAll(async () => {
      database = await freshDatabase(store)
      await database.sql.unsafe(
        'create table t (a int); create procedure ends() language plpgsql as $$ begin commit; end $$',
      )
    })
    afterAll(() => database[Symbol.asyncDispose]())

    test.each(outcomes)('%j ends as %s and never ends the transaction', async (sql, outcome) => {
      const refused = refusal(sql)
      if (refused) return expect<string>(refused.code).toBe(outcome)
      // A statement that takes a snapshot comes first, as in every session: after it read-only can't be lifted.
      await database.sql.unsafe(`begin read only; select set_config('lock_timeout', '1000', true)`)
      try {
        const before = await transaction()
        const code = await run(sql)
        expect(code ?? 'runs').toBe(outcome)
        if (code === undefined) expect(await transaction()).toEqual(before)
        else expect(await run('select 1')).toBe('25P02')
      } finally {
        await database.sql.unsafe('rollback')
        await database.sql.unsafe('discard all')
      }
    })

    /** The number of the running transaction, and whether it may write. */
    const transaction = async () => [
      ...(await database.sql.unsafe(
        `select virtualtransaction, current_setting('transaction_read_only') as read_only
         from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'`,
      )),
    ]

    /** The SQLSTATE of one statement on the extended protocol, `undefined` when it ran. */
    async function run(sql: string): Promise<string | undefined> {
      try {
        await database.sql.unsafe(sql, [], { simple: false } as never)
        return undefined
      } catch (error) {
        return codeOf(error) ?? 'none'
      }
    }
  })
}

describe('leadingKeyword', () => {
  test.each([
    ['select 1', 'SELECT'],
    [' ; ((/* x */ -- y\n With a as (select 1) select', 'WITH'],
    ['"select"', undefined],
    ['\u00a0select', undefined],
    ['1', undefined],
    ['', undefined],
    ['/* unfinished select', undefined],
  ])('of %j is %s', (sql, keyword) => {
    expect<string | undefined>(leadingKeyword(sql)).toBe(keyword)
  })
})
