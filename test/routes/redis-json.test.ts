import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { bulk, type FakeCommand, redisAnswers } from '#test/support/fake-redis-answers.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { stores } from '#test/support/stores.ts'

type Body = Readonly<Record<string, unknown>>

// Neither survives being parsed to a number and written again.
const document = '{"id":9007199254740993, "rate": 1e400, "name":"grüße"}'

const requests = (app: TestApp, id: string) => {
  const path = `/api/platform/redis/${id}/json`
  return {
    get: (key: string, more = '') => app.request('GET', `${path}?key=${encodeURIComponent(key)}${more}`),
    set: (body: Body, more = '') => app.request('PUT', `${path}${more}`, { body }),
    merge: (body: Body) => app.request('PATCH', path, { body }),
    remove: (key: string, more = '') => app.request('DELETE', `${path}?key=${encodeURIComponent(key)}${more}`),
    key: (key: string) => app.request('GET', `/api/platform/redis/${id}/key?key=${encodeURIComponent(key)}`),
    put: (body: Body) => app.request('PUT', `/api/platform/redis/${id}/key`, { body }),
  }
}

/** Whether the Redis of these tests has the module, as one with `TEST_REDIS_URL` may. */
async function hasJson(): Promise<boolean> {
  const { redis } = stores()
  if (redis === null) return false
  const raw = new Redis({ host: redis.host, port: redis.port, password: redis.password, lazyConnect: true })
  const [info] = (await raw.call('COMMAND', 'INFO', 'json.get').finally(() => raw.disconnect())) as unknown[]
  return info !== null
}
const isModuleThere = await hasJson()

describeWith('redis', 'JSON documents', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 6, lazyConnect: true })
  const url = store.url.replace(/\/0$/, '/6')
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp()
    id = (await app.register({ name: 'documents', type: 'redis', connectionString: url })).id
  })
  beforeEach(async () => void (await raw.flushdb()))
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  test.skipIf(isModuleThere)('400 DB_UNSUPPORTED names the module where the server does not have it', async () => {
    const { get, set, merge, remove, put } = requests(app, id)
    await raw.set('k', 'before')
    const answers = [
      await get('k'),
      await get('k', '&path=$.a&db=5'),
      await set({ key: 'k', json: '{}' }),
      await merge({ key: 'k', json: '{}' }),
      await remove('k'),
      await put({ key: 'k', type: 'json', value: '{}' }),
    ]
    expect(answers.map(({ status, body }) => [status, body.error.code, body.error.details])).toEqual(
      ['json.get', 'json.get', 'json.set', 'json.merge', 'json.del', 'json.set'].map((command) => [
        400,
        'DB_UNSUPPORTED',
        { module: 'RedisJSON', command },
      ]),
    )
    expect(answers.every(({ body }) => body.error.message.includes('RedisJSON'))).toBe(true)
    expect(await raw.get('k')).toBe('before')
  })

  const bad: readonly (readonly [Body, string])[] = [
    [{ json: '{' }, 'json'],
    [{ json: {} }, 'json'],
    [{ json: '' }, 'json'],
    [{ path: '' }, 'path'],
    [{ nx: true, xx: true }, 'nx'],
    [{ value: '{}' }, 'value'],
  ]
  for (const [wrong, field] of bad) {
    test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
      const { status, body } = await requests(app, id).set({ key: 'k', json: '{}', ...wrong })
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    })
  }
})

describe('JSON documents over a server that says it has RedisJSON', () => {
  const entry = (name: string, flag: string) => `*3\r\n${bulk(name)}\r\n:-2\r\n*1\r\n+${flag}`
  const table = (...names: readonly string[]) =>
    [`*${names.length}`, ...names.map((name) => entry(name, name.endsWith('get') ? 'readonly' : 'write'))].join('\r\n')
  const replies: Readonly<Record<string, string>> = {
    command: table('json.get', 'json.set', 'json.del'),
    pttl: ':-1',
    object: '$-1',
    memory: ':64',
    type: '+ReJSON-RL',
    'json.get': bulk(document),
    'json.set': '+QUEUED',
    persist: '+QUEUED',
    'json.del': ':2',
  }

  /** The answers of an app over such a server, and what that server was sent. */
  async function withFake(
    more: Readonly<Record<string, string>>,
    work: (to: ReturnType<typeof requests>, sent: readonly FakeCommand[]) => Promise<void>,
  ): Promise<void> {
    const sent: FakeCommand[] = []
    await using server = await startFakeServer(
      redisAnswers((command) => {
        sent.push(command)
        return { ...replies, ...more }[command.name]
      }),
    )
    await using app = await createTestApp()
    const connectionString = `redis://127.0.0.1:${server.port}/0`
    const { id } = await app.register({ name: 'modules', type: 'redis', connectionString })
    await work(requests(app, id), sent)
  }

  test('the text comes and goes letter for letter, numbers beyond a double included', async () => {
    await withFake({ 'json.set': '+OK' }, async ({ get, set, key }, sent) => {
      const found = await get('k', '&path=$')
      expect([found.status, found.body]).toEqual([200, { key: 'k', json: document, ttl_ms: null }])
      expect((await key('k')).body).toMatchObject({
        type: 'ReJSON-RL',
        value: document,
        length: null,
        encoding: null,
        size_bytes: 64,
        note: null,
      })
      expect((await set({ key: 'k', path: '$.a', json: document, xx: true })).body).toEqual({ key: 'k', written: true })
      const arrived = sent.filter(({ name }) => name === 'json.set').map(({ args }) => args.map(decoded))
      expect(arrived).toEqual([['k', '$.a', document, 'XX']])
    })
  })

  test('PUT key replaces a document in one step, and tells when nx forbids a set', async () => {
    await withFake({ exec: '*2\r\n+OK\r\n:0' }, async ({ put }, sent) => {
      expect((await put({ key: 'k', type: 'json', value: document })).body).toEqual({
        key: 'k',
        type: 'json',
        written: true,
      })
      const names = sent.map(({ name }) => name)
      expect(names.slice(names.lastIndexOf('watch'), names.indexOf('exec') + 1)).toEqual([
        'watch',
        'type',
        'pttl',
        'multi',
        'discard',
        'multi',
        'json.set',
        'persist',
        'exec',
      ])
    })
    await withFake({ 'json.set': '$-1' }, async ({ set }) => {
      expect((await set({ key: 'k', json: '1', nx: true })).body.written).toBe(false)
    })
  })

  test('400 what the module refuses inside the step, by its code', async () => {
    await withFake({ exec: '*2\r\n-ERR too deep\r\n:0' }, async ({ put }) => {
      const { status, body } = await put({ key: 'k', type: 'json', value: '{}' })
      expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'ERR' }])
    })
  })

  test('409 a key of another type, of which nothing is sent', async () => {
    await withFake({ type: '+string' }, async ({ put }, sent) => {
      const { status, body } = await put({ key: 'k', type: 'json', value: '{}' })
      expect([status, body.error.code]).toEqual([409, 'DB_CONFLICT'])
      expect(sent.filter(({ name }) => name === 'exec' || name === 'json.set')).toEqual([])
    })
  })

  test('200 how many places were deleted; 404 where there is nothing', async () => {
    await withFake({}, async ({ remove }) => {
      expect((await remove('k', '&path=$..a')).body).toEqual({ key: 'k', deleted: 2 })
    })
    await withFake({ 'json.del': ':0', 'json.get': '$-1' }, async ({ get, remove }) => {
      expect([(await remove('k')).status, (await get('k')).status]).toEqual([404, 404])
    })
  })

  test('400 a module too old for a merge is told from none', async () => {
    await withFake({}, async ({ merge }) => {
      const { status, body } = await merge({ key: 'k', json: '{}' })
      expect([status, body.error.code, body.error.details]).toEqual([
        400,
        'DB_UNSUPPORTED',
        { module: 'RedisJSON', command: 'json.merge' },
      ])
    })
  })

  test('200 a key of another module: what it is without its value, and whose it is', async () => {
    for (const [type, owner] of [
      ['MBbloom--', 'RedisBloom'],
      ['TSDB-TYPE', 'RedisTimeSeries'],
      ['vectorset', 'vectorset'],
    ] as const) {
      await withFake({ type: `+${type}` }, async ({ key }) => {
        const { status, body } = await key('k')
        expect([status, body]).toEqual([
          200,
          {
            key: 'k',
            type,
            ttl_ms: null,
            encoding: null,
            size_bytes: 64,
            length: null,
            value: null,
            truncated: false,
            note: expect.stringContaining(owner),
            pagination: { next_cursor: null, has_more: false },
          },
        ])
      })
    }
  })
})

function decoded(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8')
}
