import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describeWith('redis', 'string values', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 5, lazyConnect: true })
  const url = (db: number) => store.url.replace(/\/0$/, `/${db}`)
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_VALUE_BYTES: '65536' } })
    id = (await app.register({ name: 'strings', type: 'redis', connectionString: url(5) })).id
    await raw.flushdb()
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const get = (key: string, of = id, more = '') =>
    app.request('GET', `/api/platform/redis/${of}/get?key=${encodeURIComponent(key)}${more}`)
  const set = (body: Readonly<Record<string, unknown>>, of = id) =>
    app.request('POST', `/api/platform/redis/${of}/set`, { body })

  describe('GET /redis/{databaseId}/get', () => {
    const values = [
      ['text', 'grüße\n\u0000 "quoted"'],
      ['an empty string', ''],
      ['an integer beyond 2^53', '9007199254740993'],
      ['a number that JSON would round', '1e400'],
      ['the byte order mark', '\ufefftext'],
      ['what looks like the base64 form', '{"base64":"AA=="}'],
    ] as const
    for (const [name, value] of values) {
      test(`200 ${name} unchanged`, async () => {
        await raw.set('value', value)
        const { status, body } = await get('value')
        expect([status, body]).toEqual([200, { key: 'value', type: 'string', value, ttl_ms: null }])
      })
    }

    test('200 bytes that are no UTF-8 as base64, text as base64 when asked', async () => {
      await raw.set('bytes', Buffer.from([0xff, 0xfe, 0x00]))
      expect((await get('bytes')).body.value).toEqual({ base64: '//4A' })
      await raw.set('text', 'text')
      expect((await get(Buffer.from('text').toString('base64'), id, '&encoding=base64')).body).toEqual({
        key: { base64: 'dGV4dA==' },
        type: 'string',
        value: { base64: 'dGV4dA==' },
        ttl_ms: null,
      })
    })

    test('200 the milliseconds a key has left', async () => {
      await raw.set('short', 'x', 'PX', 60_000)
      const { ttl_ms } = (await get('short')).body
      expect(ttl_ms).toBeGreaterThan(50_000)
      expect(ttl_ms).toBeLessThanOrEqual(60_000)
    })

    test('404 a key that is not there', async () => {
      const { status, body } = await get('absent')
      expect([status, body.error.code, body.error.retryable]).toEqual([404, 'NOT_FOUND', false])
    })

    test('400 a key of another type, with the engine’s code', async () => {
      await raw.hset('hash', 'a', '1')
      const { status, body } = await get('hash')
      expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'WRONGTYPE' }])
    })

    test('200 a value of exactly the cap, 413 one byte more', async () => {
      await raw.set('large', 'x'.repeat(65_536))
      expect((await get('large')).body.value.length).toBe(65_536)
      await raw.append('large', 'x')
      const { status, body } = await get('large')
      expect([status, body.error.code, body.error.details]).toEqual([413, 'RESULT_TOO_LARGE', { size_bytes: 65_537 }])
    })

    test('400 a key that is no base64 with encoding=base64, and no key', async () => {
      expect((await get('no base64!', id, '&encoding=base64')).body.error.details[0].field).toBe('key')
      expect((await app.request('GET', `/api/platform/redis/${id}/get`)).status).toBe(400)
    })

    test('200 each of 200 parallel callers gets its own value', async () => {
      await raw.mset(Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`own:${n}`, `value of ${n}`])))
      const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => get(`own:${n}`)))
      expect(answers.map(({ body }) => body.value)).toEqual(Array.from({ length: 200 }, (_, n) => `value of ${n}`))
    })

    test('one caller’s wrong type or absent key is nobody else’s in the same pipeline', async () => {
      await raw.set('fine', 'fine')
      const keys = Array.from({ length: 90 }, (_, n) => ['fine', 'hash', 'absent'][n % 3] as string)
      const answers = await Promise.all(keys.map((key) => get(key)))
      expect(answers.map(({ status }) => status)).toEqual(keys.map((_, n) => [200, 400, 404][n % 3] as number))
    })
  })

  describe('POST /redis/{databaseId}/set', () => {
    test('200 writes, and drops the TTL unless keepTtl is set', async () => {
      expect((await set({ key: 'a', value: '1', ttlMs: 60_000 })).body).toEqual({ key: 'a', written: true })
      await set({ key: 'a', value: '2', keepTtl: true })
      expect((await get('a')).body).toMatchObject({ value: '2', ttl_ms: expect.any(Number) })
      await set({ key: 'a', value: '3' })
      expect((await get('a')).body).toMatchObject({ value: '3', ttl_ms: null })
    })

    test('200 nx writes only a new key, xx only an existing one', async () => {
      await raw.del('n')
      expect((await set({ key: 'n', value: '1', xx: true })).body.written).toBe(false)
      expect((await set({ key: 'n', value: '2', nx: true })).body.written).toBe(true)
      expect((await set({ key: 'n', value: '3', nx: true })).body.written).toBe(false)
      expect((await get('n')).body.value).toBe('2')
      expect((await set({ key: 'n', value: '4', xx: true, ttlMs: 1_000 })).body.written).toBe(true)
    })

    test('200 any bytes in key and value come back as they were', async () => {
      const bytes = fc.uint8Array({ maxLength: 64 })
      const forms = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })
      await fc.assert(
        fc.asyncProperty(bytes, bytes, async (key, value) => {
          expect((await set({ key: forms(key), value: forms(value) })).body.written).toBe(true)
          const { body } = await get(forms(key).base64, id, '&encoding=base64')
          expect([body.key, body.value]).toEqual([forms(key), forms(value)])
          expect(await raw.getBuffer(Buffer.from(key))).toEqual(Buffer.from(value))
        }),
        { numRuns: 100 },
      )
    })

    test('200 any text in key and value comes back as it was', async () => {
      const text = fc.string({ unit: 'grapheme', maxLength: 40 })
      await fc.assert(
        fc.asyncProperty(text, text, async (key, value) => {
          expect((await set({ key, value })).body).toEqual({ key, written: true })
          expect((await get(key)).body).toMatchObject({ key, value })
        }),
        { numRuns: 100 },
      )
    })

    const bad: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
      [{ nx: true, xx: true }, 'nx'],
      [{ keepTtl: true, ttlMs: 1 }, 'keepTtl'],
      [{ ttlMs: 0 }, 'ttlMs'],
      [{ ttlMs: 1.5 }, 'ttlMs'],
      [{ ttlMs: '5' }, 'ttlMs'],
      [{ value: 1 }, 'value'],
      [{ value: { base64: 'no base64!' } }, 'value.base64'],
      [{ value: { base64: 'AA==', more: 1 } }, 'value.more'],
      [{ key: null }, 'key'],
      [{ nx: 'true' }, 'nx'],
      [{ ex: 1 }, 'ex'],
    ]
    for (const [wrong, field] of bad) {
      test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
        const { status, body } = await set({ key: 'k', value: 'v', ...wrong })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('200 the longest TTL there is', async () => {
      const ttlMs = Number.MAX_SAFE_INTEGER
      expect((await set({ key: 'long', value: 'v', ttlMs })).body.written).toBe(true)
      expect((await get('long')).body.ttl_ms).toBeGreaterThan(ttlMs - 60_000)
    })

    test('403 a database that is registered read-only, which still reads', async () => {
      const readOnly = await app.register({
        name: 'read-only',
        type: 'redis',
        connectionString: url(5),
        config: { readOnly: true },
      })
      await raw.set('kept', 'before')
      const { status, body } = await set({ key: 'kept', value: 'after' }, readOnly.id)
      expect([status, body.error.code]).toEqual([403, 'DB_READ_ONLY'])
      expect((await get('kept', readOnly.id)).body.value).toBe('before')
    })
  })

  describe('the logical database', () => {
    test('is the number of the connection string, and no other', async () => {
      const sixth = await app.register({ name: 'sixth', type: 'redis', connectionString: url(6) })
      await set({ key: 'mine', value: 'of 6' }, sixth.id)
      expect((await get('mine')).status).toBe(404)
      await set({ key: 'mine', value: 'of 5' })
      expect((await get('mine', sixth.id)).body.value).toBe('of 6')
      expect(await raw.get('mine')).toBe('of 5')
      await raw.select(6)
      await raw.flushdb()
      await raw.select(5)
    })

    test('400 a number that config.databases leaves out, and one the server has not', async () => {
      const refused = async (db: number, databases: number) =>
        (
          await app.request('POST', '/api/platform/databases', {
            body: {
              projectRef: 'default',
              name: 'beyond',
              type: 'redis',
              connectionString: url(db),
              config: { databases },
            },
          })
        ).body.error
      expect(await refused(4, 4)).toMatchObject({ code: 'VALIDATION_FAILED' })
      expect(await refused(90, 100)).toMatchObject({ code: 'DB_CONNECTION_FAILED', details: { stage: 'database' } })
    })
  })

  describe('an ACL user without INFO and CONFIG', () => {
    test('registers with a warning, reads and writes', async () => {
      const { username, password } = store.limited
      const row = await app.register({
        name: 'limited',
        type: 'redis',
        connectionString: `redis://${username}:${password}@${store.host}:${store.port}/5`,
      })
      expect(row.warnings).toEqual([expect.stringContaining('does not allow INFO')])
      expect((await set({ key: 'by limited', value: 'x' }, row.id)).status).toBe(200)
      expect((await get('by limited', row.id)).body.value).toBe('x')
      const info = await app.request('GET', `/api/platform/databases/${row.id}/info`)
      expect([info.status, info.body.warnings.length]).toEqual([200, 1])
      const refused = await app.request('GET', `/api/platform/redis/${row.id}/info`)
      expect([refused.status, refused.body.error.code, refused.body.error.details]).toEqual([
        400,
        'DB_QUERY_ERROR',
        { code: 'NOPERM' },
      ])
    })
  })

  describe('GET /redis/{databaseId}/info', () => {
    test('200 the raw text and sections of text, values with colons whole', async () => {
      const { status, body } = await app.request('GET', `/api/platform/redis/${id}/info`)
      expect(status).toBe(200)
      expect(body.parsed.server.tcp_port).toBe(String(store.port))
      expect(Object.keys(body.parsed)).toContain('keyspace')
      for (const line of body.raw.split('\r\n').filter((text: string) => /^[a-z_0-9]+:/.test(text))) {
        const [name, ...rest] = line.split(':')
        expect(Object.values(body.parsed).some((section) => (section as never)[name] === rest.join(':'))).toBe(true)
      }
    })

    test('200 one section, in any case, and 400 what is no name of one', async () => {
      const one = await app.request('GET', `/api/platform/redis/${id}/info?section=MEMORY`)
      expect(Object.keys(one.body.parsed)).toEqual(['memory'])
      expect((await app.request('GET', `/api/platform/redis/${id}/info?section=a%0d%0ab`)).status).toBe(400)
    })
  })
})
