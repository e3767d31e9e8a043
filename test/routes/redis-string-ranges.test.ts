import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

type Body = Readonly<Record<string, unknown>>
type Value = string | { readonly base64: string }

const mebibyte = 1 << 20

describeWith('redis', 'parts and changes of string values', (store) => {
  const { app, raw, id, registered } = redisApp(store, 5)
  const readOnlyId = registered({ config: { readOnly: true } })
  beforeEach(() => raw.flushdb())

  const get = (key: string, more = '', of = id()) =>
    app.request('GET', `/api/platform/redis/${of}/get?key=${encodeURIComponent(key)}${more}`)
  const post = (name: string, body: Body, more = '', of = id()) =>
    app.request('POST', `/api/platform/redis/${of}/${name}${more}`, { body })
  const bytesOf = (value: Value) =>
    typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.base64, 'base64')

  describe('GET /redis/{databaseId}/get with start and end', () => {
    test('200 3 MiB of random bytes and 3 MiB of text, read piece by piece and put together again', async () => {
      const random = Buffer.concat(
        Array.from({ length: 48 }, () => crypto.getRandomValues(new Uint8Array(65_536))),
        3 * mebibyte,
      )
      const text = Buffer.from('a€'.repeat((3 * mebibyte) / 4))
      for (const bytes of [random, text]) {
        await raw.set('large', bytes)
        expect((await get('large')).status).toBe(413)
        const pieces: Buffer[] = []
        for (let start = 0, size = 1; start < size;) {
          const { status, body } = await get('large', `&start=${start}`)
          expect([status, body.size_bytes, body.start]).toEqual([200, bytes.length, start])
          pieces.push(bytesOf(body.value))
          size = body.size_bytes
          start = body.end + 1
        }
        expect(pieces.map(({ length }) => length)).toEqual([mebibyte, mebibyte, mebibyte])
        expect(Buffer.concat(pieces).equals(bytes)).toBe(true)
      }
    })

    test('200 bytes that cut a character as base64, and whole ones as text', async () => {
      await raw.set('k', 'a€b', 'PX', 60_000)
      expect((await get('k', '&start=1&end=3')).body).toEqual({
        key: 'k',
        type: 'string',
        value: '€',
        ttl_ms: expect.any(Number),
        size_bytes: 5,
        start: 1,
        end: 3,
      })
      expect((await get('k', '&start=1&end=2')).body.value).toEqual({ base64: '4oI=' })
      expect((await get('k', '&end=0')).body).toMatchObject({ value: 'a', start: 0, end: 0 })
    })

    test('200 nothing beyond the end and of an empty value; 404 of an absent key', async () => {
      await raw.mset({ k: 'abc', empty: '' })
      expect((await get('k', '&start=3')).body).toMatchObject({ value: '', size_bytes: 3, start: 3, end: null })
      expect((await get('k', '&start=1&end=1099511627776')).body).toMatchObject({ value: 'bc', end: 2 })
      expect((await get('empty', '&start=0')).body).toMatchObject({ value: '', size_bytes: 0, end: null })
      expect((await get('absent', '&start=0')).status).toBe(404)
    })

    test('200 any range of any bytes', async () => {
      const range = fc.tuple(fc.nat(40), fc.nat(40))
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 32 }), range, async (bytes, [start, more]) => {
          await raw.set('k', Buffer.from(bytes))
          const { body } = await get('k', `&start=${start}&end=${start + more}`)
          expect(bytesOf(body.value)).toEqual(Buffer.from(bytes).subarray(start, start + more + 1))
          expect(body.size_bytes).toBe(bytes.length)
        }),
        { numRuns: 60 },
      )
    })

    test('400 another type, and what is no range', async () => {
      await raw.hset('hash', 'a', '1')
      expect((await get('hash', '&start=0')).body.error.details).toEqual({ code: 'WRONGTYPE' })
      for (const [more, field] of [
        ['&start=-1', 'start'],
        ['&start=x', 'start'],
        ['&end=1e3', 'end'],
        ['&start=2&end=1', 'end'],
        ['&start=1099511627777', 'start'],
      ] as const)
        expect([more, (await get('k', more)).body.error.details[0].field]).toEqual([more, field])
    })
  })

  describe('POST append and set-range', () => {
    test('200 the size from then on; the TTL stays', async () => {
      expect((await post('append', { key: 'k', value: 'grü' })).body).toEqual({ key: 'k', size_bytes: 4 })
      await raw.pexpire('k', 60_000)
      expect((await post('append', { key: 'k', value: { base64: '/w==' } })).body.size_bytes).toBe(5)
      expect((await post('set-range', { key: 'k', offset: 5, value: '!?' })).body).toEqual({ key: 'k', size_bytes: 7 })
      expect((await post('set-range', { key: 'k', offset: 0, value: 'G' })).body.size_bytes).toBe(7)
      expect(await raw.getBuffer('k')).toEqual(
        Buffer.concat([Buffer.from('Grü'), Buffer.from([0xff]), Buffer.from('!?')]),
      )
      expect(await raw.pttl('k')).toBeGreaterThan(50_000)
      expect((await post('set-range', { key: 'new', offset: 0, value: 'x' })).body.size_bytes).toBe(1)
    })

    test('400 an offset beyond the end, which would be filled with zeros', async () => {
      await raw.set('k', 'abc')
      const { status, body } = await post('set-range', { key: 'k', offset: 4, value: 'x' })
      expect([status, body.error.details[0].field, await raw.get('k')]).toEqual([400, 'offset', 'abc'])
      expect((await post('set-range', { key: 'absent', offset: 2 ** 29, value: 'x' })).status).toBe(400)
    })

    test('a large value can be written piece by piece, in another logical database too', async () => {
      const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)))
      for (let from = 0; from < bytes.length; from += 20_000) {
        const value = { base64: bytes.subarray(from, from + 20_000).toString('base64') }
        expect((await post('append', { key: 'k', value }, '?db=6')).status).toBe(200)
      }
      expect(bytesOf((await get('k', '&db=6')).body.value).equals(bytes)).toBe(true)
      expect((await post('get-delete', { key: 'k' }, '?db=6')).status).toBe(200)
    })
  })

  describe('POST increment', () => {
    test('200 exactly beyond 2^53, as text, and from 0 where it is absent', async () => {
      const by = '9007199254740993'
      expect((await post('increment', { key: 'n', by })).body).toEqual({ key: 'n', value: '9007199254740993' })
      expect((await post('increment', { key: 'n' })).body.value).toBe('9007199254740994')
      expect((await post('increment', { key: 'n', by: -2 })).body.value).toBe('9007199254740992')
      expect(await raw.get('n')).toBe('9007199254740992')
    })

    test('200 fractions as Redis adds them', async () => {
      expect((await post('increment', { key: 'f', by: 0.5 })).body.value).toBe('0.5')
      expect((await post('increment', { key: 'f', by: '1', float: true })).body.value).toBe('1.5')
      expect((await post('increment', { key: 'f', by: '5.0e3' })).body.value).toBe('5001.5')
    })

    test('400 an overflow and what is no number, and the value stays', async () => {
      await raw.mset({ max: '9223372036854775807', text: 'text' })
      const refused = [
        await post('increment', { key: 'max' }),
        await post('increment', { key: 'text' }),
        await post('increment', { key: 'max', by: '9223372036854775808' }),
        await post('increment', { key: 'new', by: '1e9999' }),
      ]
      expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(
        refused.map(() => [400, 'DB_QUERY_ERROR']),
      )
      expect(await raw.mget('max', 'text', 'new')).toEqual(['9223372036854775807', 'text', null])
      for (const by of ['1 ', 'inf', '', '0x1', true])
        expect((await post('increment', { key: 'new', by })).body.error.details[0].field).toBe('by')
    })

    test('200 a hundred at once lose none', async () => {
      const answers = await Promise.all(Array.from({ length: 100 }, () => post('increment', { key: 'n' })))
      expect(new Set(answers.map(({ body }) => body.value)).size).toBe(100)
      expect(await raw.get('n')).toBe('100')
    })
  })

  describe('POST get-set and get-delete', () => {
    test('200 the value before, and none for an absent key', async () => {
      expect((await post('get-set', { key: 'k', value: 'a', ttlMs: 60_000 })).body).toEqual({
        key: 'k',
        previous: null,
      })
      expect((await post('get-set', { key: 'k', value: { base64: '/w==' }, keepTtl: true })).body.previous).toBe('a')
      expect(await raw.pttl('k')).toBeGreaterThan(50_000)
      expect((await post('get-set', { key: 'k', value: '' })).body.previous).toEqual({ base64: '/w==' })
      expect(await raw.pttl('k')).toBe(-1)
      expect((await post('get-set', { key: 'k', value: 'x' })).body.previous).toBe('')
      expect((await post('get-delete', { key: 'k', encoding: 'base64' })).body).toEqual({
        key: 'k',
        value: { base64: 'eA==' },
        ttl_ms: null,
      })
      expect((await post('get-delete', { key: 'k' })).status).toBe(404)
    })

    test('413 a value above 1 MiB, which stays as it is', async () => {
      await raw.set('k', 'x'.repeat(mebibyte + 1))
      const refused = [await post('get-delete', { key: 'k' }), await post('get-set', { key: 'k', value: 'new' })]
      expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(
        refused.map(() => [413, 'RESULT_TOO_LARGE']),
      )
      expect(await raw.strlen('k')).toBe(mebibyte + 1)
    })

    test('200 one of many takes a value, 404 the others', async () => {
      await raw.set('job', 'once')
      const answers = await Promise.all(Array.from({ length: 20 }, () => post('get-delete', { key: 'job' })))
      expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array.from({ length: 19 }, () => 404)])
    })

    test('400 of another type, which stays', async () => {
      await raw.sadd('set', 'a')
      const refused = [await post('get-delete', { key: 'set' }), await post('get-set', { key: 'set', value: 'new' })]
      expect(refused.map(({ status, body }) => [status, body.error.details])).toEqual(
        refused.map(() => [400, { code: 'WRONGTYPE' }]),
      )
      expect(await raw.smembers('set')).toEqual(['a'])
    })
  })

  describe('POST compare-and-set', () => {
    test('200 writes when the value is the one expected, byte for byte', async () => {
      const written = async (ifEqual: Value | null, value: string, more: Body = {}) =>
        (await post('compare-and-set', { key: 'k', ifEqual, value, ...more })).body.written as boolean
      expect(await written('', 'a')).toBe(false)
      expect(await written(null, 'ab', { ttlMs: 60_000 })).toBe(true)
      expect(await written(null, 'b')).toBe(false)
      expect(await written('a', 'b')).toBe(false)
      expect(await written('abc', 'b')).toBe(false)
      expect(await written({ base64: 'YWI=' }, '', { keepTtl: true })).toBe(true)
      expect([await raw.get('k'), (await raw.pttl('k')) > 50_000]).toEqual(['', true])
      expect(await written('', 'end')).toBe(true)
      expect([await raw.get('k'), await raw.pttl('k')]).toEqual(['end', -1])
    })

    test('200 any bytes', async () => {
      const bytes = fc.uint8Array({ maxLength: 16 })
      await fc.assert(
        fc.asyncProperty(bytes, bytes, bytes, async (before, expected, after) => {
          await raw.set('k', Buffer.from(before))
          const form = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })
          const body = { key: 'k', ifEqual: form(expected), value: form(after) }
          const isEqual = Buffer.from(before).equals(Buffer.from(expected))
          expect((await post('compare-and-set', body)).body.written).toBe(isEqual)
          expect(await raw.getBuffer('k')).toEqual(Buffer.from(isEqual ? after : before))
        }),
        { numRuns: 60 },
      )
    })

    test('a counter of many who compare, 409 or false where another was faster, loses none', async () => {
      await raw.set('n', '0')
      const count = async () => {
        for (;;) {
          const before = (await get('n')).body.value as string
          const body = { key: 'n', ifEqual: before, value: String(Number(before) + 1) }
          const answer = await post('compare-and-set', body)
          if (answer.body.written === true) return
          expect([200, 409]).toContain(answer.status)
        }
      }
      await Promise.all(Array.from({ length: 8 }, async () => (await count(), await count())))
      expect(await raw.get('n')).toBe('16')
    })
  })

  describe('POST mget', () => {
    test('200 in the order of the keys, repeated ones too, and why there is no value', async () => {
      await raw.mset({ a: '1', empty: '' })
      await raw.set('bytes', Buffer.from([0xff]))
      await raw.set('large', 'x'.repeat(mebibyte + 1))
      await raw.sadd('set', 'x')
      const keys = ['bytes', 'absent', 'a', 'set', 'empty', 'large', 'a']
      const { status, body } = await post('mget', { keys })
      const one = { key: 'a', value: '1', size_bytes: 1, missing: null }
      expect([status, body]).toEqual([
        200,
        {
          data: [
            { key: 'bytes', value: { base64: '/w==' }, size_bytes: 1, missing: null },
            { key: 'absent', value: null, size_bytes: null, missing: 'absent' },
            one,
            { key: 'set', value: null, size_bytes: null, missing: 'wrong_type' },
            { key: 'empty', value: '', size_bytes: 0, missing: null },
            { key: 'large', value: null, size_bytes: mebibyte + 1, missing: 'too_large' },
            one,
          ],
        },
      ])
      expect((await post('mget', { keys: [{ base64: 'YQ==' }], encoding: 'base64' })).body.data).toEqual([
        { key: { base64: 'YQ==' }, value: { base64: 'MQ==' }, size_bytes: 1, missing: null },
      ])
    })

    test('200 a thousand keys, 400 one more and none', async () => {
      const names = Array.from({ length: 1_000 }, (_, n) => `key ${n}`)
      await raw.mset(Object.fromEntries(names.map((name) => [name, name])))
      const { body } = await post('mget', { keys: names })
      expect(body.data.map(({ value }: { value: string }) => value)).toEqual(names)
      for (const keys of [[...names, 'more'], []])
        expect((await post('mget', { keys })).body.error.details[0].field).toBe('keys')
    })

    test('413 more than 8 MiB together, and nobody else is hurt', async () => {
      const value = Buffer.alloc(mebibyte, 'x')
      const names = Array.from({ length: 9 }, (_, n) => `part ${n}`)
      for (const name of names) await raw.set(name, value)
      const others = Array.from({ length: 20 }, () => get('absent'))
      const { status, body } = await post('mget', { keys: names })
      expect([status, body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
      expect((await Promise.all(others)).map((answer) => answer.status)).toEqual(others.map(() => 404))
      expect((await post('mget', { keys: names.slice(2) })).body.data).toBeArrayOfSize(7)
    })

    test('413 what fits as bytes but not as JSON, where a control character is six', async () => {
      await raw.set('control', Buffer.alloc(mebibyte, 1))
      await raw.set('no text', Buffer.alloc(mebibyte, 0xff))
      const kept = await post('mget', { keys: ['control'] })
      expect([kept.status, kept.body.data[0].size_bytes]).toEqual([200, mebibyte])
      for (const keys of [['control', 'control'], Array(6).fill('no text')]) {
        const { status, body } = await post('mget', { keys })
        expect([status, body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
      }
    })

    test('200 in a database that is registered read-only, where no change runs', async () => {
      await raw.set('k', '1')
      expect((await post('mget', { keys: ['k'] }, '', readOnlyId())).body.data[0].value).toBe('1')
      const refused = [
        await post('append', { key: 'k', value: 'x' }, '', readOnlyId()),
        await post('set-range', { key: 'k', offset: 0, value: 'x' }, '', readOnlyId()),
        await post('increment', { key: 'k' }, '', readOnlyId()),
        await post('get-set', { key: 'k', value: 'x' }, '', readOnlyId()),
        await post('get-delete', { key: 'k' }, '', readOnlyId()),
        await post('compare-and-set', { key: 'k', ifEqual: '1', value: 'x' }, '', readOnlyId()),
      ]
      expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(
        refused.map(() => [403, 'DB_READ_ONLY']),
      )
      expect(await raw.get('k')).toBe('1')
    })
  })

  test('403 every change for a key that may only read, which reads several', async () => {
    const made = await app.request('POST', '/api/platform/api-keys', {
      body: { name: 'reader', projectRef: 'default', role: 'read' },
    })
    const key = made.body.secret as string
    const names = ['append', 'set-range', 'increment', 'get-set', 'get-delete', 'compare-and-set']
    const refused = await Promise.all(
      names.map((name) => app.request('POST', `/api/platform/redis/${id()}/${name}`, { body: { key: 'k' }, key })),
    )
    expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual(refused.map(() => [403, 'FORBIDDEN']))
    const { status } = await app.request('POST', `/api/platform/redis/${id()}/mget`, { body: { keys: ['k'] }, key })
    expect(status).toBe(200)
  })
})
