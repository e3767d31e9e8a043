import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { linesOf } from '#test/support/event-stream.ts'

describeWith('redisModules', 'JSON documents on a server with RedisJSON', (store) => {
  const connect = (db: number) =>
    new Redis({ host: store.host, port: store.port, password: store.password, db, lazyConnect: true })
  const [raw, other] = [connect(6), connect(7)]
  const url = store.url.replace(/\/0$/, '/6')
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp()
    id = (await app.register({ name: 'documents', type: 'redis', connectionString: url })).id
  })
  beforeEach(async () => {
    await raw.flushdb()
    await other.flushdb()
  })
  afterAll(async () => {
    await raw.flushdb()
    await other.flushdb()
    raw.disconnect()
    other.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  type Body = Readonly<Record<string, unknown>>
  const path = (route: string, of = id) => `/api/platform/redis/${of}/${route}`
  const get = (key: string, more = '') => app.request('GET', path(`json?key=${encodeURIComponent(key)}${more}`))
  const set = (body: Body, of = id) => app.request('PUT', path('json', of), { body })
  const merge = (body: Body, of = id) => app.request('PATCH', path('json', of), { body })
  const remove = (key: string, more = '', of = id) => app.request('DELETE', path(`json?key=${key}${more}`, of))
  const key = (name: string) => app.request('GET', path(`key?key=${name}`))
  const put = (body: Body) => app.request('PUT', path('key'), { body })

  test('200 a document is stored, read, merged and deleted; its numbers stay as they are', async () => {
    const document = '{"id":9007199254740993,"least":-9223372036854775808,"name":"grüße","a":{"b":1}}'
    expect((await set({ key: 'k', json: document })).body).toEqual({ key: 'k', written: true })
    expect((await get('k')).body).toEqual({ key: 'k', json: document, ttl_ms: null })
    expect((await get('k', '&path=$.a.b')).body.json).toBe('[1]')
    expect((await get('k', '&path=$.absent')).body.json).toBe('[]')
    const shown = (await key('k')).body
    expect(shown).toMatchObject({ key: 'k', type: 'ReJSON-RL', value: document, note: null })
    expect((await merge({ key: 'k', json: '{"a":null,"least":null,"name":"x"}' })).body.written).toBe(true)
    expect((await get('k')).body.json).toBe('{"id":9007199254740993,"name":"x"}')
    expect((await remove('k', '&path=$.name')).body).toEqual({ key: 'k', deleted: 1 })
    expect((await remove('k', '&path=$.name')).status).toBe(404)
    expect((await remove('k')).body.deleted).toBe(1)
    expect([(await get('k')).status, (await remove('k')).status]).toEqual([404, 404])
  })

  test('200 nx writes only what is new and xx only what is there, by key and by path', async () => {
    const written = async (body: Body) => (await set({ key: 'k', ...body })).body.written
    expect(await written({ json: '{"a":1}', xx: true })).toBe(false)
    expect(await written({ json: '{"a":1}', nx: true })).toBe(true)
    expect(await written({ json: '{"a":2}', nx: true })).toBe(false)
    expect(await written({ path: '$.b', json: '2', xx: true })).toBe(false)
    expect(await written({ path: '$.b', json: '2', nx: true })).toBe(true)
    expect(await written({ path: '$.a', json: '"x"', xx: true })).toBe(true)
    expect((await get('k')).body.json).toBe('{"a":"x","b":2}')
  })

  test('200 in the logical database that a request names, under a key of any bytes', async () => {
    const name = Buffer.from([0xff, 0x00]).toString('base64')
    const body = { key: { base64: name }, json: '[1]' }
    expect((await app.request('PUT', path('json?db=7'), { body })).status).toBe(200)
    expect((await get(name, '&encoding=base64')).status).toBe(404)
    const found = await get(name, '&encoding=base64&db=7')
    expect(found.body).toEqual({ key: { base64: name }, json: '[1]', ttl_ms: null })
    expect((await raw.keysBuffer('*')).length).toBe(0)
  })

  test('200 tells the TTL, which a change of a part keeps', async () => {
    await set({ key: 'k', json: '{}' })
    await raw.pexpire('k', 60_000)
    await set({ key: 'k', path: '$.a', json: '1' })
    await merge({ key: 'k', json: '{"b":2}' })
    const { json, ttl_ms } = (await get('k')).body
    expect([json, ttl_ms > 50_000 && ttl_ms <= 60_000]).toEqual(['{"a":1,"b":2}', true])
  })

  test('200 PUT key replaces a document, and 409 no other type', async () => {
    expect((await put({ key: 'k', type: 'json', value: '{"a":1}', ttlMs: 60_000 })).body.written).toBe(true)
    expect((await put({ key: 'k', type: 'json', value: '{"a":2}', keepTtl: true })).body.written).toBe(true)
    expect(await raw.pttl('k')).toBeGreaterThan(50_000)
    expect((await put({ key: 'k', type: 'json', value: '{"a":3}' })).body.written).toBe(true)
    expect(await raw.pttl('k')).toBe(-1)
    await raw.set('text', 'before')
    expect((await put({ key: 'text', type: 'json', value: '{}' })).status).toBe(409)
    expect(await raw.get('text')).toBe('before')
  })

  test('400 a part of a document that is not there', async () => {
    for (const answer of [
      await set({ key: 'k', path: '$.a', json: '1' }),
      await merge({ key: 'k', path: '$.a', json: '1' }),
    ])
      expect([answer.status, answer.body.error.code, answer.body.error.details]).toEqual([
        400,
        'DB_QUERY_ERROR',
        { code: 'ERR' },
      ])
  })

  test('400 what the module refuses without a code of its own, and the outcome is known', async () => {
    await raw.set('text', 'before')
    await set({ key: 'k', json: '{"a":1}' })
    const deep = `${'['.repeat(200)}${']'.repeat(200)}`
    const answers = [
      await get('text'),
      await set({ key: 'text', json: '{}' }),
      await merge({ key: 'text', json: '{}' }),
      await remove('text'),
      await get('k', '&path=$['),
      await remove('k', '&path=$['),
      await set({ key: 'k', json: deep }),
      await app.request('POST', path('command'), { body: { command: ['JSON.GET', 'text'] } }),
    ]
    expect(answers.map(({ status, body }) => [status, body.error.code, body.error.details])).toEqual(
      answers.map((_, at) => [
        400,
        'DB_QUERY_ERROR',
        { code: 'ERR', ...(at === answers.length - 1 ? { message: 'Existing key has wrong Redis type' } : {}) },
      ]),
    )
    expect([await raw.get('text'), await raw.call('JSON.GET', 'k')]).toEqual(['before', '{"a":1}'])
  })

  test('403 every write to a database that is registered read-only, by a command too', async () => {
    const config = { readOnly: true }
    const { id: of } = await app.register({ name: 'read-only', type: 'redis', connectionString: url, config })
    await set({ key: 'k', json: '{"a":1}' })
    const command = (...words: readonly string[]) =>
      app.request('POST', path('command', of), { body: { command: words } })
    const answers = [
      await set({ key: 'k', json: '1' }, of),
      await merge({ key: 'k', json: '1' }, of),
      await remove('k', '', of),
      await command('JSON.NUMINCRBY', 'k', '$.a', '1'),
      await command('BF.ADD', 'b', '1'),
    ]
    expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(
      answers.map(() => [403, 'DB_READ_ONLY']),
    )
    expect((await command('JSON.GET', 'k', '$.a')).body.result).toBe('[1]')
    expect(await raw.call('JSON.GET', 'k')).toBe('{"a":1}')
  })

  describe('keys of modules', () => {
    test('200 type, size and whose it is for those of RedisBloom', async () => {
      await raw.call('BF.ADD', 'MBbloom--', '1')
      await raw.call('CF.ADD', 'MBbloomCF', '1')
      await raw.call('CMS.INITBYDIM', 'CMSk-TYPE', '10', '5')
      await raw.call('TOPK.RESERVE', 'TopK-TYPE', '3')
      await raw.call('TDIGEST.CREATE', 'TDIS-TYPE')
      const types = (await raw.keys('*')).toSorted()
      expect(types.length).toBe(5)
      for (const type of types) {
        const { status, body } = await key(type)
        expect([status, body.type, body.value, body.size_bytes > 0]).toEqual([200, type, null, true])
        expect(body.note).toContain('RedisBloom')
      }
      const page = await app.request('GET', path('keys?type=MBbloom--'))
      expect(page.body.data).toMatchObject([{ key: 'MBbloom--', type: 'MBbloom--' }])
    })

    test('an export has them as dumps, which an import brings back, and as lines with an error where it is typed', async () => {
      await set({ key: 'k', json: '{"id":9007199254740993}' })
      await raw.call('BF.ADD', 'b', 'member')
      const read = async (form: string) =>
        Array.fromAsync(linesOf(await app.stream('GET', path(`export?form=${form}`))))
      const typed = await read('typed')
      expect(typed.at(-1)).toEqual({ end: { keys: 0, failed: 2 } })
      const body = (await read('dump')).map((line) => JSON.stringify(line)).join('\n')
      const headers = { 'content-type': 'application/x-ndjson' }
      const imported = await app.stream('POST', path('import?db=7'), { body, headers })
      expect((await Array.fromAsync(linesOf(imported))).at(-1)).toMatchObject({ written: 2, failed: 0 })
      expect(await other.call('JSON.GET', 'k')).toBe('{"id":9007199254740993}')
      expect(await other.call('BF.EXISTS', 'b', 'member')).toBe(1)
    })
  })
})
