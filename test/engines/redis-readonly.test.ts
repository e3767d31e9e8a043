import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { callWithin } from '#src/engines/engine.ts'
import { assertMayRun, type Caller, classify } from '#src/engines/redis/command-policy.ts'
import { type CommandTable, readCommandTable } from '#src/engines/redis/command-table.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { ApiError } from '#src/errors.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

const admin: Caller = { role: 'admin', readOnly: false, allowScripts: false }
const writer: Caller = { role: 'write', readOnly: false, allowScripts: false }
const scripter: Caller = { role: 'write', readOnly: false, allowScripts: true }
const reader: Caller = { role: 'read', readOnly: false, allowScripts: false }
const frozen: Caller = { role: 'admin', readOnly: true, allowScripts: true }

/** What becomes of a command for an admin, a writer, a writer where scripts are allowed, a reader, and an admin of a read-only database. */
const outcomes: readonly (readonly [command: string, ...outcomes: readonly string[]])[] = [
  ['GET a', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['get a', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['SCAN 0', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['OBJECT ENCODING a', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['MEMORY USAGE a', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['XREAD COUNT 1 STREAMS s 0', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['PING', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['COMMAND', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['COMMAND COUNT', 'runs', 'runs', 'runs', 'runs', 'runs'],
  ['SET a b', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['sEt a b', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['GETDEL a', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['GETEX a', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['BITFIELD a GET u8 0', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['XREADGROUP GROUP g c STREAMS s >', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['XGROUP CREATE s g 0', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['PUBLISH c m', 'runs', 'runs', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['KEYS *', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'runs'],
  ['INFO', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'runs'],
  ['FLUSHDB', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['SLOWLOG GET', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['CLIENT LIST', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['EVAL return_1 0', 'runs', 'FORBIDDEN', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['EVALSHA x 0', 'runs', 'FORBIDDEN', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['FCALL f 0', 'runs', 'FORBIDDEN', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['SCRIPT LOAD x', 'runs', 'FORBIDDEN', 'runs', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['EVAL_RO return_1 0', 'runs', 'FORBIDDEN', 'runs', 'FORBIDDEN', 'runs'],
]

/** What runs for nobody: it owns the shared connection, blocks it, or leads out of the database. */
const forNobody = [
  'CONFIG SET dir /tmp',
  'CONFIG SET dbfilename x.so',
  'config get requirepass',
  'CoNfIg ReWrItE',
  'MODULE LOAD /tmp/x.so',
  'MODULE LOADEX /tmp/x.so',
  'MODULE LIST',
  'SLAVEOF host 6379',
  'REPLICAOF host 6379',
  'replicaof NO ONE',
  'DEBUG SLEEP 1',
  'DEBUG SEGFAULT',
  'MIGRATE host 6379 key 0 1000',
  'ACL SETUSER x',
  'ACL WHOAMI',
  'MONITOR',
  'CLIENT KILL ID 1',
  'CLIENT PAUSE 1000',
  'CLIENT REPLY OFF',
  'CLIENT NO-TOUCH on',
  'CLIENT TRACKING on',
  'SHUTDOWN NOSAVE',
  'FLUSHALL',
  'SWAPDB 0 1',
  'SAVE',
  'BGSAVE',
  'BGREWRITEAOF',
  'SUBSCRIBE c',
  'PSUBSCRIBE c*',
  'SELECT 5',
  'MULTI',
  'EXEC',
  'WATCH a',
  'BLPOP a 0',
  'BRPOPLPUSH a b 0',
  'BLMOVE a b LEFT LEFT 0',
  'BZPOPMIN a 0',
  'XREAD BLOCK 0 STREAMS s $',
  'xread count 1 block 0 streams s $',
  'XREADGROUP GROUP streams c BLOCK 0 STREAMS s >',
  'WAIT 1 0',
  'AUTH x',
  'HELLO 3',
  'RESET',
  'QUIT',
  'FAILOVER',
  'SYNC',
  'PSYNC ? -1',
  'SCRIPT KILL',
  'SCRIPT FLUSH',
  'FUNCTION LOAD x',
  'FUNCTION FLUSH',
  'CLUSTER RESET',
  'READONLY',
  'UNKNOWN',
  'OBJECT UNKNOWN a',
  'OBJECT|ENCODING a',
  '__proto__',
  'constructor',
  '',
]
// With what stands around the name it is another name, which no server has.
const unclean = [' GET', 'GET ', 'GET\t', 'GET\r\nFLUSHALL', 'GET\0', '\u00a0GET', 'ＧＥＴ', 'config\u017fet']

describeWith('redis', 'the policy of commands over the metadata of a real server', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 7, lazyConnect: true })
  let table: CommandTable
  beforeAll(async () => {
    table = readCommandTable(await raw.call('COMMAND'))
  })
  afterAll(() => raw.disconnect())

  const become = (words: readonly (string | Uint8Array)[], caller: Caller): string => {
    try {
      assertMayRun(table, words, caller)
      return 'runs'
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return error.code
    }
  }

  test.each(outcomes.map((row) => [...row]))(
    '%s for admin, writer, scripter, reader, read-only: %s %s %s %s %s',
    (command, ...expected) => {
      const words = command.split(' ')
      expect([admin, writer, scripter, reader, frozen].map((caller) => become(words, caller))).toEqual(expected)
      const bytes = words.map((word) => Buffer.from(word))
      expect([admin, writer, scripter, reader, frozen].map((caller) => become(bytes, caller))).toEqual(expected)
    },
  )

  test.each(forNobody)('%s runs for nobody', (command) => {
    const words = command.split(' ')
    expect([admin, scripter, frozen].map((caller) => become(words, caller))).toEqual(Array(3).fill('DB_UNSUPPORTED'))
  })

  test.each(unclean)('%j is no command', (name) => {
    expect(become([name, 'SET', 'dir'], admin)).toBe('DB_UNSUPPORTED')
  })

  test('no command that the server itself calls a write, blocking or an admin’s runs for a reader', () => {
    const passed: string[] = []
    for (const [name, { subcommands }] of table)
      for (const words of subcommands.size === 0 ? [[name]] : [...subcommands.keys()].map((part) => [name, part]))
        if (become([...words, 'a'], reader) === 'runs') passed.push(words.join(' '))
    const flagged = passed.filter((name) => {
      const [first = '', second] = name.split(' ')
      const info = second === undefined ? table.get(first) : table.get(first)?.subcommands.get(second)
      return ['write', 'admin'].some((flag) => info?.flags.has(flag)) || info?.categories.has('@dangerous')
    })
    expect([flagged, passed.length > 60]).toEqual([[], true])
    // Those without readonly of their own are few, and known.
    expect(passed.filter((name) => !name.includes(' ') && !table.get(name)?.flags.has('readonly')).toSorted()).toEqual([
      'echo',
      'ping',
      'time',
    ])
  })

  test('a reader’s commands change nothing when they are run', async () => {
    await raw.flushdb()
    await raw.set('string', '1')
    await raw.rpush('list', '1')
    await raw.hset('hash', 'a', '1')
    const before = await Promise.all(['string', 'list', 'hash'].map((key) => raw.dump(key)))
    for (const [name, { subcommands, flags }] of table) {
      if (subcommands.size > 0 || flags.has('blocking') || become([name, 'string'], reader) !== 'runs') continue
      for (const key of ['string', 'list', 'hash'])
        for (const more of [[], ['1'], ['0', '-1']]) await raw.call(name, key, ...more).catch(() => undefined)
    }
    const after = await Promise.all(['string', 'list', 'hash'].map((key) => raw.dump(key)))
    expect([after, await raw.dbsize()]).toEqual([before, 3])
    await raw.flushdb()
  })

  test('metadata as before Redis 7, without sub-commands, and what is no metadata at all', () => {
    const old = readCommandTable([
      ['get', 2, ['readonly', 'fast'], 1, 1, 1, ['@read']],
      ['config', -2, ['admin'], 0, 0, 0, ['@admin', '@dangerous']],
      ['client', -2, ['admin'], 0, 0, 0, ['@admin', '@dangerous']],
      ['object', -2, ['readonly'], 2, 2, 1, ['@keyspace', '@read', '@slow']],
      null,
      'get',
      [],
      [['write']],
    ])
    const of = (...words: readonly string[]) => {
      try {
        return classify(old, words).class
      } catch (error) {
        return (error as ApiError).code
      }
    }
    expect([
      of('get', 'a'),
      of('config', 'get', 'x'),
      of('client', 'list'),
      of('client', 'kill'),
      of('object', 'freq', 'a'),
    ]).toEqual(['read', 'DB_UNSUPPORTED', 'admin', 'DB_UNSUPPORTED', 'read'])
    expect([readCommandTable(null).size, readCommandTable('x').size, old.size]).toEqual([0, 0, 4])
  })
})

describeWith('redis', 'a write by a call that may only read', (store) => {
  let app: TestApp
  const ids: string[] = []
  beforeAll(async () => {
    app = await createTestApp()
    const { username, password } = store.limited
    const limited = `redis://${username}:${encodeURIComponent(password)}@${store.host}:${store.port}/7`
    for (const [index, connectionString] of [store.url.replace(/\/0$/, '/7'), limited].entries())
      ids.push((await app.register({ name: `only-${index}`, type: 'redis', connectionString })).id)
  })
  afterAll(() => app?.[Symbol.asyncDispose]())

  test('is refused by the session itself, also for an ACL user who may not ask for the metadata', async () => {
    for (const id of ids) {
      using call = callWithin(5_000, undefined, true)
      using session = await app.deps.open(redis, id, call)
      const refused = await session.set({ key: 'never', value: 'x' }, call).catch((error: unknown) => error)
      expect([refused instanceof ApiError && refused.code, (refused as ApiError).details]).toEqual([
        'DB_READ_ONLY',
        { reason: 'role' },
      ])
      expect(await session.get('never', 'utf8', call).catch((error: ApiError) => error.code)).toBe('NOT_FOUND')
    }
  })

  test('403 for a database that is registered read-only', async () => {
    const path = `/api/platform/redis/${ids[0]}/set`
    await app.request('PATCH', `/api/platform/databases/${ids[0]}`, { body: { config: { readOnly: true } } })
    const { status, body } = await app.request('POST', path, { body: { key: 'never', value: 'x' } })
    expect([status, body.error.code]).toEqual([403, 'DB_READ_ONLY'])
    await app.request('PATCH', `/api/platform/databases/${ids[0]}`, { body: { config: {} } })
    expect((await app.request('POST', path, { body: { key: 'only', value: 'x' } })).status).toBe(200)
  })
})

describe('the table of commands', () => {
  test('is made of bytes as of text', () => {
    const entry = (text: (value: string) => unknown) => [[text('GET'), 2, [text('readonly')], 1, 1, 1, [text('@read')]]]
    const of = (text: (value: string) => unknown) =>
      [...readCommandTable(entry(text))].map(([name, { flags }]) => [name, [...flags]])
    expect([of(String), of((value) => Buffer.from(value))]).toEqual(Array(2).fill([['get', ['readonly']]]))
  })
})
