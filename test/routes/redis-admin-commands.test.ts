import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { eventually } from '#test/engines/peers.ts'
import { type OwnRedis, startOwnRedis } from '#test/faults/own-redis.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describeWith('redis', 'commands for admins', () => {
  let server: OwnRedis
  let app: TestApp
  let id: string
  let readOnlyId: string
  let writer: string

  beforeAll(async () => {
    server = await startOwnRedis()
    app = await createTestApp()
    const database = { type: 'redis', connectionString: server.url }
    id = (await app.register({ name: 'own', ...database, config: { allowScripts: true } })).id
    readOnlyId = (await app.register({ name: 'frozen', ...database, config: { readOnly: true } })).id
    const made = await app.request('POST', '/api/platform/api-keys', {
      body: { name: 'writer', projectRef: 'default', role: 'write' },
    })
    writer = made.body.secret
  }, 60_000)
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  const command = (words: readonly (string | number)[], { of = id, key = app.key } = {}) =>
    app.request('POST', `/api/platform/redis/${of}/command`, { body: { command: words }, key })
  const setting = (name: string) =>
    server.use(async (redis) => ((await redis.config('GET', name)) as readonly string[])[1])

  const changes: readonly (readonly [command: string, result: unknown])[] = [
    ['CONFIG SET slowlog-log-slower-than 5000', 'OK'],
    ['config set SLOWLOG-MAX-LEN 64 latency-monitor-threshold 100', 'OK'],
    ['CONFIG SET notify-keyspace-events KEA', 'OK'],
    ['LATENCY RESET', 0],
    ['LATENCY RESET command', 0],
  ]
  test.each(changes.map((row) => [...row] as [string, unknown]))(
    '200 %s for an admin, 403 for others and a read-only database',
    async (given, result) => {
      const words = given.split(' ')
      const answers = [await command(words), await command(words, { key: writer })]
      const frozen = await command(words, { of: readOnlyId })
      expect([
        answers.map(({ status, body }) => body.error?.code ?? [status, body.result]),
        frozen.body.error.code,
      ]).toEqual([[[200, result], 'FORBIDDEN'], 'DB_READ_ONLY'])
    },
  )

  test('200 MODULE LIST, of a read-only database too', async () => {
    const answers = [await command(['MODULE', 'LIST']), await command(['MODULE', 'LIST'], { of: readOnlyId })]
    expect(answers.map(({ body }) => body)).toEqual([{ result: [] }, { result: [] }])
    expect((await command(['MODULE', 'LIST'], { key: writer })).body.error.code).toBe('FORBIDDEN')
  })

  const never = [
    'CONFIG SET dir /tmp',
    'CONFIG SET dbfilename x.so',
    'CONFIG SET slowlog-max-len 10 dir /tmp',
    'CONFIG SET requirepass x',
    'CONFIG SET maxmemory 1',
    'CONFIG SET slowlog-max-len 10 20 dir',
    'CONFIG SET slowlog* 1',
    'CONFIG GET requirepass',
    'CONFIG RESETSTAT',
    'CONFIG REWRITE',
    'MODULE LOAD /tmp/x.so',
    'MODULE UNLOAD x',
    'SCRIPT FLUSH',
    'SCRIPT DEBUG YES',
    'FUNCTION FLUSH',
    'FUNCTION LOAD x',
    'ACL WHOAMI',
    'ACL LIST',
    'CLIENT KILL ID 1',
    'CLIENT KILL ADDR 127.0.0.1:1',
    'CLIENT PAUSE 1',
  ]
  test.each(never)('400 %s', async (given) => {
    const { status, body } = await command(given.split(' '))
    expect([status, body.error.code]).toEqual([400, 'DB_UNSUPPORTED'])
    expect([await setting('dir'), await setting('maxmemory')]).toEqual(['/tmp', '0'])
  })

  test('400 what ends a script where none runs, with Redis’ words', async () => {
    const answers = [await command(['SCRIPT', 'KILL']), await command(['FUNCTION', 'KILL'])]
    expect(answers.map(({ status, body }) => [status, body.error.details])).toEqual(
      answers.map(() => [400, { code: 'NOTBUSY', message: 'No scripts in execution right now.' }]),
    )
    expect((await command(['SCRIPT', 'KILL'], { key: writer })).body.error.code).toBe('FORBIDDEN')
  })

  describe('while a script runs without an end', () => {
    beforeAll(() => server.use(async (redis) => void (await redis.config('SET', 'busy-reply-threshold', '100'))))

    const isBusy = async () => (await command(['GET', 'a'])).body.error?.details?.code === 'BUSY'

    test('503 others are told so, and SCRIPT KILL ends it', async () => {
      const looping = command(['EVAL', 'while true do end', 0])
      await eventually(isBusy)
      const { body } = await command(['GET', 'a'])
      expect([body.error.code, body.error.details]).toEqual([
        'DB_UNAVAILABLE',
        { code: 'BUSY', message: expect.stringContaining('SCRIPT KILL') },
      ])
      expect((await command(['SCRIPT', 'KILL'], { key: writer })).body.error.code).toBe('FORBIDDEN')
      expect((await command(['SCRIPT', 'KILL'])).body).toEqual({ result: 'OK' })
      const ended = await looping
      expect([ended.status, ended.body.error.details.message]).toEqual([
        400,
        expect.stringContaining('Script killed by user with SCRIPT KILL'),
      ])
      expect((await command(['GET', 'a'])).body).toEqual({ result: null })
    })

    test('FUNCTION KILL ends a function, which SCRIPT KILL does not', async () => {
      const library = "#!lua name=loops\nredis.register_function('loop', function() while true do end end)"
      await server.use(async (redis) => void (await redis.call('FUNCTION', 'LOAD', library)))
      const looping = command(['FCALL', 'loop', 0])
      await eventually(isBusy)
      const answers = [await command(['SCRIPT', 'KILL']), await command(['FUNCTION', 'KILL'])]
      expect(answers.map(({ body }) => body.error?.details.code ?? body.result)).toEqual(['BUSY', 'OK'])
      expect((await looping).status).toBe(400)
    })

    test('SCRIPT KILL ends it over a connection made meanwhile, to a server that tells nothing of its commands', async () => {
      const late = await app.register({ name: 'late', type: 'redis', connectionString: server.url })
      await server.use(async (redis) => void (await redis.call('CLIENT', 'KILL', 'TYPE', 'normal')))
      // On both kinds of connections.
      for (const words of [
        ['GET', 'a'],
        ['ECHO', 'a'],
      ])
        await eventually(async () => (await command(words)).status === 200)
      const looping = command(['EVAL', 'while true do end', 0])
      await eventually(isBusy)
      const asked = await command(['GET', 'a'], { of: late.id })
      expect([asked.status, asked.body.error.details.code]).toEqual([503, 'BUSY'])
      expect((await command(['script', 'kill'], { of: late.id })).body).toEqual({ result: 'OK' })
      expect((await looping).status).toBe(400)
    })
  })
})
