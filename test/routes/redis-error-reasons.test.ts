import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { redisAnswers } from '#test/support/fake-redis-answers.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { redisApp } from '#test/support/redis-app.ts'
import { canary } from '#test/support/stores.ts'

describeWith('redis', 'what Redis says of a command it refuses', (store) => {
  const { app, raw, id } = redisApp(store, 6)
  const command = (words: unknown) =>
    app.request('POST', `/api/platform/redis/${id()}/command`, { body: { command: words } })

  beforeAll(async () => {
    await raw.set('text', 'x')
    await raw.set('most', '9223372036854775807')
    await raw.xadd('stream', '1-1', 'a', 'b')
    await raw.xgroup('CREATE', 'stream', 'group', '0')
  })

  const refused: readonly (readonly [command: string, code: string, message: string])[] = [
    ['GET', 'ERR', "wrong number of arguments for 'get' command"],
    ['INCR text', 'ERR', 'value is not an integer or out of range'],
    ['INCR most', 'ERR', 'increment or decrement would overflow'],
    ['SET a b FOREVER', 'ERR', 'syntax error'],
    ['COPY text text', 'ERR', 'source and destination objects are the same'],
    ['XADD stream 0-0 a b', 'ERR', 'The ID specified in XADD must be greater than 0-0'],
    ['ZADD z high member', 'ERR', 'value is not a valid float'],
    ['LPUSH text a', 'WRONGTYPE', 'Operation against a key holding the wrong kind of value'],
    ['XGROUP CREATE stream group 0', 'BUSYGROUP', 'Consumer Group name already exists'],
    ['XREADGROUP GROUP none c STREAMS stream >', 'NOGROUP', expect.stringContaining("consumer group 'none'")],
    ['EVALSHA 0000 0', 'NOSCRIPT', 'No matching script. Please use EVAL.'],
    ['EVAL return{ 0', 'ERR', expect.stringContaining('user_script:1')],
  ]
  test.each(refused.map((row) => [...row] as [string, string, string]))(
    '400 %s: %s %s',
    async (words, code, message) => {
      const { status, body } = await command(words.split(' '))
      expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code, message }])
    },
  )

  test('400 its words are one line of at most 256 characters, in any script', async () => {
    const said = async (text: string) => {
      const { body } = await command(['EVAL', 'return redis.error_reply(ARGV[1])', 0, text])
      return body.error.details.message
    }
    expect(await said(`ERR größer 🙂 ${'x'.repeat(300)}`)).toBe(`größer 🙂 ${'x'.repeat(246)}`)
    expect(await said('ERR a\u001b[31m\tb\u202ec')).toBe('a[31mbc')
  })

  test('400 each of a transaction, with what its own command was refused for', async () => {
    const send = (commands: unknown) =>
      app.request('POST', `/api/platform/redis/${id()}/transaction`, { body: { commands } })
    const ran = await send([
      ['SET', 'a', '1'],
      ['INCR', 'text'],
    ])
    expect(ran.body.results[1].error.details).toEqual({
      code: 'ERR',
      message: 'value is not an integer or out of range',
    })
    const never = await send([['SET', 'a', '1'], ['INCR']])
    expect([never.status, never.body.error.details]).toEqual([
      400,
      { code: 'ERR', index: 1, message: "wrong number of arguments for 'incr' command" },
    ])
  })

  test('400 POST increment says whether it is no number or too large', async () => {
    const increment = async (key: string) =>
      (await app.request('POST', `/api/platform/redis/${id()}/increment`, { body: { key } })).body.error.details
    expect([await increment('text'), await increment('most')]).toEqual([
      { code: 'ERR', message: 'value is not an integer or out of range' },
      { code: 'ERR', message: 'increment or decrement would overflow' },
    ])
  })

  test('503 a server without memory says so', async () => {
    await raw.config('SET', 'maxmemory', '1')
    const { status, body } = await command(['SET', 'a', 'b']).finally(() => raw.config('SET', 'maxmemory', '0'))
    expect([status, body.error.code, body.error.details]).toEqual([
      503,
      'DB_UNAVAILABLE',
      { code: 'OOM', message: "command not allowed when used memory > 'maxmemory'." },
    ])
  })
})

describe('a hostile server that has the credentials', () => {
  const password = `${canary}+/ü`
  const user = 'someone'
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp()
  })
  afterAll(async () => await app?.[Symbol.asyncDispose]())

  const table = ['get', 'set'].map(
    (name) => `*7\r\n$3\r\n${name}\r\n:-2\r\n*1\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@read`,
  )
  const bytes = Buffer.from(password)
  const latin1 = (text: string) => Buffer.from(text).toString('latin1')
  const echoes: Readonly<Record<string, string>> = {
    plain: latin1(password),
    'within a word': latin1(`x${password}x`),
    'in upper case': latin1(password.toUpperCase()),
    'with control characters in it': latin1([...password].join('\u0001')),
    'with spaces in it': latin1([...password].join(' ')),
    'as base64': bytes.toString('base64'),
    'as hex': bytes.toString('hex'),
    'percent-encoded': encodeURIComponent(password),
    'at the end of much': `${'x '.repeat(120)}${latin1(password)}`,
    'the user': latin1(user),
  }
  test.each(Object.entries(echoes))('%s: nothing of them is answered', async (_, echo) => {
    await using server = await startFakeServer(
      redisAnswers(({ name, args }) => {
        if (name === 'auth') return '+OK'
        if (name === 'command') return `*${table.length}\r\n${table.join('\r\n')}`
        if (name === 'exec') return `*1\r\n-ERR ${echo}`
        if (name === 'get') return `-${args[0]} ${echo}`
        if (name === 'set') return '+QUEUED'
        return undefined
      }),
    )
    const connectionString = `redis://${user}:${encodeURIComponent(password)}@127.0.0.1:${server.port}/0`
    const { id } = await app.register({ name: `fake-${server.port}`, type: 'redis', connectionString })
    const post = (route: string, body: unknown) => app.request('POST', `/api/platform/redis/${id}/${route}`, { body })
    const asked = await post('pipeline', {
      commands: [
        ['GET', 'ERR'],
        ['GET', 'WRONGTYPE'],
        ['GET', 'OOM'],
        ['GET', 'NOPERM'],
      ],
    })
    const transacted = await post('transaction', { commands: [['SET', 'a', 'b']] })
    const answered = [...asked.body.results, ...transacted.body.results]
    expect(answered.map(({ error }) => error.details)).toEqual([
      { code: 'ERR' },
      { code: 'WRONGTYPE' },
      { code: 'OOM' },
      { code: 'NOPERM', command: 'GET' },
      { code: 'ERR' },
    ])
  })

  test('what holds nothing of them is', async () => {
    await using server = await startFakeServer(
      redisAnswers(({ name }) => {
        if (name === 'auth') return '+OK'
        if (name === 'command') return `*${table.length}\r\n${table.join('\r\n')}`
        return name === 'get' ? '-NOPERM this user may not' : undefined
      }),
    )
    const connectionString = `redis://${user}:${encodeURIComponent(password)}@127.0.0.1:${server.port}/0`
    const { id } = await app.register({ name: 'honest', type: 'redis', connectionString })
    const { body } = await app.request('POST', `/api/platform/redis/${id}/command`, { body: { command: ['GET', 'a'] } })
    expect(body.error.details).toEqual({ code: 'NOPERM', command: 'GET', message: 'this user may not' })
  })
})
