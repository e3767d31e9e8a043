import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { SignJWT } from 'jose'
import { callWithin } from '#src/engines/engine.ts'
import { assertMayRun, type Caller, classify } from '#src/engines/redis/run/command-policy.ts'
import { type CommandTable, readCommandTable } from '#src/engines/redis/run/command-table.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { ApiError } from '#src/errors.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary } from '#test/support/stores.ts'
import { eventually } from './peers.ts'

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
  ['MODULE LIST', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'runs'],
  ['SCRIPT KILL', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['FUNCTION KILL', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['LATENCY RESET', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['CONFIG SET slowlog-max-len 1', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'DB_READ_ONLY', 'DB_READ_ONLY'],
  ['LCS a b', 'runs', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'runs'],
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
  'MOVE a 8',
  'COPY a a DB 8',
  'copy a b replace db 8',
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
      const refused = await session.strings.set({ key: 'never', value: 'x' }, call).catch((error: unknown) => error)
      expect([refused instanceof ApiError && refused.code, (refused as ApiError).details]).toEqual([
        'DB_READ_ONLY',
        { reason: 'role' },
      ])
      expect(await session.strings.get('never', 'utf8', call).catch((error: ApiError) => error.code)).toBe('NOT_FOUND')
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

/** Writes, and ways to write that do not look like one. */
const writes: readonly (readonly unknown[])[] = [
  ['SET', 'a', 'x'],
  ['sEt', 'a', 'x'],
  [{ base64: 'U0VU' }, 'a', 'x'],
  ['DEL', 'a'],
  ['GETDEL', 'a'],
  ['GETEX', 'a', 'PERSIST'],
  ['GETSET', 'a', 'x'],
  ['BITFIELD', 'a', 'SET', 'u8', 0, 1],
  ['SORT', 'list', 'STORE', 'never'],
  ['GEORADIUS', 'geo', 0, 0, 1, 'km', 'STORE', 'never'],
  ['COPY', 'a', 'never'],
  ['RESTORE', 'never', 0, 'x', 'REPLACE'],
  ['XGROUP', 'CREATE', 's', 'g', 0, 'MKSTREAM'],
  ['XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', 's', '>'],
  ['PFADD', 'never', 'x'],
  ['PFMERGE', 'never', 'a'],
  ['SUNIONSTORE', 'never', 'set'],
  ['PUBLISH', 'channel', 'x'],
  ['FLUSHDB'],
  ['FLUSHDB', 'ASYNC'],
  ['EVAL', "return redis.call('set', 'a', 'x')", 0],
  ['eval', "return redis.call('flushall')", 0],
  ['EVALSHA', 'e0e1f9fabfc9d4800c877a703b823ac0578ff8db', 0],
  ['FCALL', 'f', 0],
  ['SCRIPT', 'LOAD', 'return 1'],
  ['script', 'load', 'return 1'],
  ['SCRIPT', 'KILL'],
  ['FUNCTION', 'KILL'],
  ['LATENCY', 'RESET'],
  ['CONFIG', 'SET', 'slowlog-max-len', 1],
]
/** As SECURITY names them: each tried with what it would need to work. */
const attacks = [...writes, ...forNobody.map((command) => command.split(' '))]

describeWith('redis', 'one who may only read', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 7, lazyConnect: true })
  const issuer = 'https://project.supabase.test/auth/v1'
  const jwtSecret = `${canary}-${crypto.randomUUID()}`
  let app: TestApp
  const callers: { readonly name: string; readonly id: string; readonly key?: string }[] = []
  beforeAll(async () => {
    app = await createTestApp({ env: { SUPABASE_JWT_SECRET: jwtSecret, JWT_ISSUER: issuer } })
    const connectionString = store.url.replace(/\/0$/, '/7')
    const config = { allowScripts: true }
    const open = (await app.register({ name: 'open', type: 'redis', connectionString, config })).id
    const frozen = { name: 'frozen', type: 'redis', connectionString, config: { ...config, readOnly: true } }
    callers.push({ name: 'the service key on a read-only database', id: (await app.register(frozen)).id })
    const made = await app.request('POST', '/api/platform/api-keys', {
      body: { name: 'reader', projectRef: 'default', role: 'read' },
    })
    callers.push({ name: 'a key that reads', id: open, key: made.body.secret })
    const sub = crypto.randomUUID()
    await app.request('PUT', `/api/platform/databases/${open}/permissions/${sub}`, { body: { role: 'read' } })
    const token = await new SignJWT({
      sub,
      iss: issuer,
      aud: 'authenticated',
      exp: Math.floor(Date.now() / 1000) + 600,
    })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from(jwtSecret))
    callers.push({ name: 'a user with the grant to read', id: open, key: token })
    await raw.flushdb()
    await raw.call('SCRIPT', 'FLUSH')
    await raw.call('SCRIPT', 'LOAD', 'return 1')
    await raw.set('a', '1')
    await raw.rpush('list', '1')
    await raw.sadd('set', '1')
    await raw.geoadd('geo', 0, 0, 'here')
    await raw.xadd('s', '*', 'field', 'value')
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const state = async () => {
    const keys = (await raw.keys('*')).toSorted()
    return JSON.stringify([
      keys,
      await Promise.all(keys.map((key) => raw.dumpBuffer(key))),
      await Promise.all(keys.map((key) => raw.pttl(key))),
      await raw.call('CONFIG', 'GET', '*'),
      await raw.call('ACL', 'LIST'),
      ((await raw.call('ROLE')) as unknown[])[0],
      await raw.call('SCRIPT', 'EXISTS', 'e0e1f9fabfc9d4800c877a703b823ac0578ff8db'),
      await raw.call('FUNCTION', 'LIST'),
    ])
  }
  const bodies = {
    command: (words: readonly unknown[]) => ({ command: words }),
    pipeline: (words: readonly unknown[]) => ({ commands: [['GET', 'a'], words] }),
    transaction: (words: readonly unknown[]) => ({
      commands: [['GET', 'a'], words],
      watch: [{ key: 'a', ifEqual: '1' }],
    }),
  }

  for (const route of ['command', 'pipeline', 'transaction'] as const) {
    test(`changes nothing by ${route}, whatever it tries`, async () => {
      const before = await state()
      const heard: string[] = []
      const listener = raw.duplicate({ lazyConnect: true })
      listener.on('message', (_, message: string) => heard.push(message))
      await listener.subscribe('channel')
      const wrong: unknown[] = []
      for (const { name, id, key } of callers) {
        for (const [index, words] of attacks.entries()) {
          const { status, body } = await app.request('POST', `/api/platform/redis/${id}/${route}`, {
            body: bodies[route](words),
            ...(key === undefined ? {} : { key }),
          })
          const code = body?.error?.code
          const fits = index < writes.length ? status === 403 : ['DB_UNSUPPORTED', 'VALIDATION_FAILED'].includes(code)
          if (!fits) wrong.push([name, words, status, code])
        }
      }
      await raw.publish('channel', 'last')
      await eventually(async () => heard.includes('last'), 5_000)
      listener.disconnect()
      expect([wrong, heard, await state()]).toEqual([[], ['last'], before])
    })
  }

  test('reads by all of them', async () => {
    for (const { id, key } of callers)
      for (const route of ['command', 'pipeline', 'transaction'] as const) {
        const words = ['LLEN', 'list']
        const asked = { body: bodies[route](words), ...(key === undefined ? {} : { key }) }
        const { status, body } = await app.request('POST', `/api/platform/redis/${id}/${route}`, asked)
        expect([status, body.result ?? body.results]).toEqual([
          200,
          route === 'command' ? 1 : [{ result: '1' }, { result: 1 }],
        ])
      }
  })
})

describeWith('redis', 'one who writes', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 7, lazyConnect: true })
  let app: TestApp
  let key: string
  const ids: string[] = []
  beforeAll(async () => {
    app = await createTestApp({ env: { RATE_WRITE_RPS: '4' } })
    const connectionString = store.url.replace(/\/0$/, '/7')
    for (const allowScripts of [false, true])
      ids.push(
        (await app.register({ name: `s-${allowScripts}`, type: 'redis', connectionString, config: { allowScripts } }))
          .id,
      )
    const made = await app.request('POST', '/api/platform/api-keys', {
      body: { name: 'writer', projectRef: 'default', role: 'write' },
    })
    key = made.body.secret
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  test('runs scripts only where the database allows them, and nothing that is costly or tells of others', async () => {
    const asked = [['EVAL', 'return 1', 0], ['KEYS', '*'], ['SLOWLOG', 'GET'], ['CLIENT', 'LIST'], ['FLUSHDB']]
    const seen: unknown[] = []
    for (const id of ids)
      for (const command of asked) {
        const { body } = await app.request('POST', `/api/platform/redis/${id}/command`, { key, body: { command } })
        seen.push(body.error?.code ?? body.result)
      }
    expect(seen).toEqual([...Array(5).fill('FORBIDDEN'), 1, ...Array(4).fill('FORBIDDEN')])
  })

  test('is charged for writes as for writes: 429 while reads go on', async () => {
    const send = (command: readonly string[]) =>
      app.request('POST', `/api/platform/redis/${ids[0]}/command`, { key, body: { command } })
    const writing = await Promise.all(Array.from({ length: 20 }, () => send(['SET', 'charged', 'x'])))
    const reading = await Promise.all(Array.from({ length: 20 }, () => send(['GET', 'charged'])))
    const count = (answers: readonly { readonly status: number }[], status: number) =>
      answers.filter((answer) => answer.status === status).length
    expect([count(writing, 429) >= 8, count(writing, 200) + count(writing, 429), count(reading, 200)]).toEqual([
      true,
      20,
      20,
    ])
  })

  test('503 and unknown where the answer to a write was lost, 200 where the answer to a read was', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const connectionString = store.url.replace(/:\d+\/0$/, `:${proxy.port}/7`)
    const { id } = await app.register({ name: 'loses', type: 'redis', connectionString })
    const send = (command: readonly string[]) =>
      app.request('POST', `/api/platform/redis/${id}/command`, { body: { command } })
    const seen: unknown[] = []
    for (const command of [
      ['INCR', 'lost'],
      ['TTL', 'lost'],
    ]) {
      // The connection stands before, so that its own answers are not what is lost.
      expect((await send(['PING'])).status).toBe(200)
      expect((await send(command)).status).toBe(200)
      proxy.cutAfterBytes(0)
      const { status, body } = await send(command)
      seen.push([status, body.error?.retryable ?? body.result, /unknown/.test(body.error?.message ?? '')])
    }
    expect([seen, await raw.get('lost')]).toEqual([
      [
        [503, false, true],
        [200, -1, false],
      ],
      '2',
    ])
  })
})

describe('the table of commands', () => {
  test('is the same object for what is the same on every server', () => {
    const read = () => readCommandTable([['get', 2, ['readonly', 'fast'], 1, 1, 1, ['@read']]])
    expect(read().get('get')).toBe(read().get('get') as never)
  })

  test('is made of bytes as of text', () => {
    const entry = (text: (value: string) => unknown) => [[text('GET'), 2, [text('readonly')], 1, 1, 1, [text('@read')]]]
    const of = (text: (value: string) => unknown) =>
      [...readCommandTable(entry(text))].map(([name, { flags }]) => [name, [...flags]])
    expect([of(String), of((value) => Buffer.from(value))]).toEqual(Array(2).fill([['get', ['readonly']]]))
  })
})
