import { beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { loadModule, parseSync } from 'libpg-query'
import { isReadingKind, refusal } from '#src/engines/postgres/statement.ts'

/** Statements of every family of PostgreSQL's grammar, those that read first. */
const reading = [
  'select 1',
  'values (1)',
  'table t',
  'with a as (select 1) select * from a',
  'explain analyze select 1',
  'show work_mem',
]
// What these may not do, the server's read-only transaction refuses.
const writingLikeReading = [
  'with a as (select 1) delete from t',
  'with a as (select 1) insert into t select 1',
  'with a as (select 1) update t set b = 1',
  'with a as (select 1) merge into t using u on true when matched then delete',
  'select * into x from t',
  'explain analyze delete from t',
]
const controlling = [
  'commit',
  'commit and chain',
  'end',
  'end work',
  'begin',
  'begin read write',
  'start transaction',
  'rollback',
  'abort',
  'savepoint a',
  'release a',
  'release savepoint a',
  'rollback to a',
  "prepare transaction 'x'",
  "commit prepared 'x'",
  "rollback prepared 'x'",
  'set transaction read write',
  'set local transaction read write',
  'set session transaction read write',
  "set transaction snapshot '1'",
  'set session characteristics as transaction read write',
  'set transaction_read_only = off',
  'set transaction_isolation to serializable',
  'set local "transaction_read_only" to off',
  'set session transaction_deferrable = on',
  'reset transaction_read_only',
  "copy t to program 'true'",
  "copy t from '/etc/passwd'",
  'copy (select 1) to stdout',
  'discard all',
  'discard temp',
  'listen a',
  'unlisten *',
]
const others = [
  'delete from t',
  'insert into t values (1)',
  'update t set a = 1',
  'merge into t using u on true when matched then delete',
  'truncate t',
  "do 'begin end'",
  'call p()',
  'execute x',
  'prepare x as select 1',
  'prepare transaction as select 1',
  'deallocate all',
  'declare c cursor for select 1',
  'fetch all from c',
  'move c',
  'close c',
  'lock table t',
  "notify a, 'x'",
  "load 'x'",
  'checkpoint',
  'vacuum t',
  'analyze t',
  'cluster t using i',
  'reindex table t',
  'refresh materialized view v',
  'set work_mem = 1',
  'set local search_path = a',
  'set role x',
  'set session authorization x',
  'set constraints all deferred',
  "set time zone 'UTC'",
  'reset all',
  'reset work_mem',
  "alter system set work_mem = '1MB'",
  'alter table t add b int',
  'alter role x superuser',
  "alter database d set work_mem = '1MB'",
  'create table t ()',
  'create temporary table t ()',
  'create table t as select 1',
  'create extension dblink',
  "create function f() returns int language c as 'x'",
  "create server s foreign data wrapper w options (host 'h')",
  "create subscription s connection 'host=h' publication p",
  'create view v as select 1',
  'create database d',
  'create role r',
  'drop table t',
  'drop owned by r',
  'reassign owned by a to b',
  'grant select on t to public',
  'revoke select on t from public',
  "comment on table t is 'x'",
  "security label on table t is 'x'",
  'import foreign schema a from server s into b',
]
const corpus = [...reading, ...writingLikeReading, ...controlling, ...others]

/** The one statement's node in the tree that PostgreSQL's own parser makes; `undefined` for a syntax error and for any other number of them. */
function treeOf(sql: string): { readonly kind: string; readonly node: Readonly<Record<string, unknown>> } | undefined {
  try {
    const { stmts = [] } = parseSync(sql)
    const [kind = '', node] = Object.entries(stmts[0]?.stmt ?? {})[0] ?? []
    return stmts.length === 1 ? { kind, node: node as Readonly<Record<string, unknown>> } : undefined
  } catch {
    return undefined
  }
}

const transactional = new Set(['TransactionStmt', 'DiscardStmt', 'ListenStmt', 'UnlistenStmt', 'CopyStmt'])
const transactionSettings = /^(transaction(_isolation|_read_only|_deferrable| snapshot)?|session characteristics)$/i
const readingKinds = new Set(['SelectStmt', 'ExplainStmt', 'VariableShowStmt'])

function mustBeRefused({ kind, node }: NonNullable<ReturnType<typeof treeOf>>): boolean {
  return transactional.has(kind) || (kind === 'VariableSetStmt' && transactionSettings.test(String(node['name'])))
}

function mayRead({ kind, node }: NonNullable<ReturnType<typeof treeOf>>): boolean {
  return readingKinds.has(kind) || 'withClause' in node
}

describe('what the first keyword says of a statement, and what its parse tree says', () => {
  beforeAll(() => loadModule())

  test.each(corpus)('%s', (sql) => {
    const tree = treeOf(sql)
    expect(tree).toBeDefined()
    if (tree === undefined) return
    expect([mustBeRefused(tree), mayRead(tree)]).toEqual([
      controlling.includes(sql),
      reading.includes(sql) || writingLikeReading.includes(sql),
    ])
    expect([refusal(sql) !== undefined, isReadingKind(sql)]).toEqual([mustBeRefused(tree), mayRead(tree)])
  })

  const blank = fc.constantFrom(' ', '\t', '\n', '\r', '\f', '\v', '--x\n', '--\r', '/**/', '/*/**/-- */', '/* ; */')
  const odd = fc.constantFrom(
    ';',
    '(',
    ')',
    '\u00a0',
    '\ufeff',
    '\u2028',
    '/*',
    '*/',
    '--',
    '"',
    "'",
    'U&"',
    '$$',
    'E',
    '\\',
    '_',
    '1',
  )
  const glue = fc.array(fc.oneof({ weight: 4, arbitrary: blank }, { weight: 1, arbitrary: odd }), { maxLength: 4 })
  const ending = fc.constantFrom('', ';', ' ;; ', '--', ' /* x */', '; commit', ')')
  const cased = (sql: string) =>
    fc.constantFrom(
      sql,
      sql.toUpperCase(),
      sql.replace(/\w/g, (letter, at) => (at % 2 ? letter.toUpperCase() : letter)),
    )
  // A blank before each word, so that what must not be split stays whole.
  const disguised = fc
    .constantFrom(...corpus)
    .chain(cased)
    .chain((sql) => {
      const words = sql.split(' ')
      return fc.tuple(
        fc
          .tuple(...words.map(() => glue))
          .map((glues) => words.map((word, at) => (at === 0 ? '' : ' ') + glues[at]?.join('') + word).join('')),
        ending,
      )
    })
    .map((parts) => parts.join(''))
  const fragments = fc
    .array(fc.oneof(blank, odd, fc.constantFrom(...corpus.flatMap((sql) => sql.split(' ')))), {
      minLength: 1,
      maxLength: 8,
    })
    .map((parts) => parts.join(''))

  test('agree on every statement that the parser takes, however it is disguised', () => {
    const seen = { refused: 0, reading: 0, other: 0 }
    fc.assert(
      fc.property(fc.oneof({ weight: 3, arbitrary: disguised }, { weight: 1, arbitrary: fragments }), (sql) => {
        const tree = treeOf(sql)
        if (tree === undefined) return
        const expected = [mustBeRefused(tree), mayRead(tree)]
        seen[expected[0] ? 'refused' : expected[1] ? 'reading' : 'other'] += 1
        // A setting whose quoted name only begins as one of the transaction's may be refused as well.
        const refused = refusal(sql) !== undefined && (expected[0] || tree.kind !== 'VariableSetStmt')
        expect([sql, refused, isReadingKind(sql)]).toEqual([sql, ...expected])
      }),
      { numRuns: 20_000 },
    )
    // The generator reaches all three, or it proves nothing.
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(100)
  })
})
