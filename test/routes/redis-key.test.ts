import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Answer, createTestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type FakeCommand, redisAnswers } from '#test/support/fake-redis-answers.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { redisApp } from '#test/support/redis-app.ts'

type Body = Readonly<Record<string, unknown>>

describeWith('redis', 'a key of any type', (store) => {
  const { app, raw, id, url } = redisApp(store, 5, { env: { MAX_VALUE_BYTES: '65536' } })
  beforeEach(() => raw.flushdb())

  const get = (key: string, more = '', of = id()) =>
    app.request('GET', `/api/platform/redis/${of}/key?key=${encodeURIComponent(key)}${more}`)
  const put = (body: Body, of = id(), more = '') => app.request('PUT', `/api/platform/redis/${of}/key${more}`, { body })
  const base64 = (bytes: Uint8Array) => ({ base64: Buffer.from(bytes).toString('base64') })

  /** Every page of a value, as one list. */
  async function whole(key: string, more: string) {
    const items: unknown[] = []
    let cursor = ''
    for (let pages = 1; pages < 1_000; pages++) {
      const { status, body } = await get(key, `${more}${cursor}`)
      expect(status).toBe(200)
      items.push(...body.value)
      expect([body.truncated, body.pagination.next_cursor !== null]).toEqual(
        Array(2).fill(body.pagination.has_more) as boolean[],
      )
      if (!body.pagination.has_more) return { items, pages }
      cursor = `&cursor=${encodeURIComponent(body.pagination.next_cursor)}`
    }
    throw new Error('the pages do not end')
  }

  const values = {
    string: 'text',
    hash: [{ field: 'name', value: 'Ada' }],
    list: ['b', 'a', 'b'],
    set: ['only'],
    zset: [{ member: 'low', score: '-inf' }, { member: 'one', score: '1.5' }], // prettier-ignore
    stream: [{ id: '1-1', fields: [{ field: 'a', value: '1' }, { field: 'a', value: '2' }] }], // prettier-ignore
  } as const
  const lengths = { string: 4, hash: 1, list: 3, set: 1, zset: 2, stream: 1 } as const
  const types = Object.keys(values) as (keyof typeof values)[]

  describe('GET /redis/{databaseId}/key', () => {
    for (const type of types) {
      test(`200 a ${type} as it was put, with what the server tells of it`, async () => {
        expect(await put({ key: 'k', type, value: values[type] })).toMatchObject({
          status: 200,
          body: { key: 'k', type, written: true },
        })
        const { status, body } = await get('k')
        expect([status, body]).toEqual([
          200,
          {
            key: 'k',
            type,
            ttl_ms: null,
            encoding: await raw.object('ENCODING', 'k'),
            size_bytes: await raw.memory('USAGE', 'k'),
            length: lengths[type],
            value: values[type],
            truncated: false,
            note: null,
            pagination: { next_cursor: null, has_more: false },
          },
        ])
      })

      test(`200 a ${type} without its value for value=false`, async () => {
        await put({ key: 'k', type, value: values[type], ttlMs: 60_000 })
        const { body } = await get('k', '&value=false')
        expect(body).toMatchObject({ type, length: lengths[type], value: null, truncated: false })
        expect(body.ttl_ms).toBeGreaterThan(50_000)
      })
    }

    test('404 a key that is not there, also without its value', async () => {
      const answers = await Promise.all([get('absent'), get('absent', '&value=false')])
      expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(
        Array(2).fill([404, 'NOT_FOUND']) as never,
      )
    })

    test('200 an empty string and an empty stream, which are there', async () => {
      await raw.set('empty', '')
      await raw.xgroup('CREATE', 'stream', 'group', '$', 'MKSTREAM')
      expect((await get('empty')).body).toMatchObject({ type: 'string', length: 0, value: '' })
      expect((await get('stream')).body).toMatchObject({ type: 'stream', length: 0, value: [] })
    })

    test('200 every member of large values in pages, none lost and none twice', async () => {
      const names = Array.from({ length: 2_500 }, (_, n) => `member ${n}`)
      const sorted = names.map((member, n) => ({ member, score: String(n) }))
      const fields = names.map((field) => ({ field, value: field.toUpperCase() }))
      const entries = names.map((name, n) => ({ id: `${n + 1}-0`, fields: [{ field: 'f', value: name }] }))
      await put({ key: 'list', type: 'list', value: names })
      await put({ key: 'set', type: 'set', value: names })
      await put({ key: 'zset', type: 'zset', value: sorted })
      await put({ key: 'hash', type: 'hash', value: fields })
      await put({ key: 'stream', type: 'stream', value: entries })
      const list = await whole('list', '&count=1000')
      expect(list).toEqual({ items: names, pages: 3 })
      expect((await whole('list', '&count=500')).pages).toBe(5)
      expect((await whole('zset', '')).items).toEqual(sorted)
      expect((await whole('stream', '&count=500')).items).toEqual(entries)
      expect((await whole('stream', '&count=700')).pages).toBe(4)
      const set = await whole('set', '')
      expect(set.items.toSorted()).toEqual(names.toSorted())
      expect(set.pages).toBeGreaterThan(10)
      const hash = await whole('hash', '')
      expect(hash.items).toBeArrayOfSize(2_500)
      expect(new Set(hash.items.map((item) => JSON.stringify(item)))).toEqual(
        new Set(fields.map((item) => JSON.stringify(item))),
      )
    })

    test('200 a string above the cap in pieces', async () => {
      const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)).toHex() + 'grüße'.repeat(10_000))
      await raw.set('large', bytes)
      const pieces: Buffer[] = []
      let cursor = ''
      do {
        const { body } = await get('large', `&encoding=utf8${cursor}`)
        expect(body).toMatchObject({ length: bytes.length, truncated: body.pagination.has_more })
        pieces.push(typeof body.value === 'string' ? Buffer.from(body.value) : Buffer.from(body.value.base64, 'base64'))
        cursor = `&cursor=${encodeURIComponent(body.pagination.next_cursor ?? '')}`
      } while (cursor !== '&cursor=')
      expect(pieces.length).toBe(Math.ceil(bytes.length / 65_536))
      expect(Buffer.concat(pieces).equals(bytes)).toBe(true)
    })

    test('200 fewer members at once where they are large, and all of them in the end, also in another database', async () => {
      const value = (letter: string) => Buffer.alloc(1 << 20, letter)
      const letters = [...'abcdefghij']
      for (const letter of letters) {
        await raw.hset('hash', letter, value(letter))
        await raw.rpush('list', value(letter))
        await raw.xadd('stream', `${letter.codePointAt(0)}-0`, letter, value(letter))
      }
      const firstOf = (item: unknown) => JSON.stringify(item).match(/"([a-j])\1*"/)?.[1] ?? ''
      for (const key of ['hash', 'list', 'stream']) {
        for (const more of ['', '&db=5', '&count=2']) {
          const { items, pages } = await whole(key, more)
          expect([key, items.map(firstOf).toSorted(), pages > 1]).toEqual([key, letters, true])
        }
      }
    })

    test('200 one large member at a time, whatever stands behind it', async () => {
      for (const letter of ['a', 'b']) await raw.rpush('list', Buffer.alloc(5 << 20, letter))
      const { status, body } = await get('list', '&count=1')
      expect([status, body.value, body.truncated]).toEqual([
        200,
        [{ value: 'a'.repeat(65_536), truncated: true, size_bytes: 5 << 20 }],
        true,
      ])
    })

    test('200 one field that is more than a reply may hold is passed over', async () => {
      await raw.hset('huge', 'a', Buffer.alloc(10 << 20, 'x'))
      const { status, body } = await get('huge')
      expect([status, body.value]).toEqual([200, [{ field: null, value: null, truncated: true }]])
      expect((await get('huge', '&value=false')).body).toMatchObject({ type: 'hash', length: 1, value: null })
    })

    test('200 at most 8 MiB, however much text grows in JSON', async () => {
      const value = Buffer.alloc(65_536, 1)
      for (let n = 0; n < 30; n++) await raw.rpush('control', value)
      const { status, text, body } = await get('control')
      expect([status, body.value.length, body.truncated]).toEqual([200, 21, true])
      expect(text.length).toBeLessThan(9 << 20)
      expect((await whole('control', '')).items).toEqual(Array(30).fill(value.toString()) as string[])
    })

    test('409 a cursor when the key has another type meanwhile', async () => {
      await put({ key: 'k', type: 'list', value: ['1', '2', '3'] })
      const { next_cursor } = (await get('k', '&count=2')).body.pagination
      const more = `&count=2&cursor=${encodeURIComponent(next_cursor)}`
      expect((await get('k', more)).body.value).toEqual(['3'])
      await put({ key: 'k', type: 'set', value: ['1', '2', '3'] })
      const { status, body } = await get('k', more)
      expect([status, body.error.code]).toEqual([409, 'DB_CONFLICT'])
    })

    test('400 a cursor of another key, another database or nobody', async () => {
      await put({ key: 'k', type: 'list', value: ['1', '2', '3'] })
      await put({ key: 'l', type: 'list', value: ['1', '2', '3'] })
      const cursor = encodeURIComponent((await get('k', '&count=2')).body.pagination.next_cursor)
      const answers = await Promise.all([
        get('l', `&cursor=${cursor}`),
        get('k', `&db=0&cursor=${cursor}`),
        get('k', '&cursor=MA'),
        get('k', `&cursor=${cursor}x`),
      ])
      expect(answers.map(({ status, body }) => [status, body.error.details[0].field])).toEqual(
        answers.map(() => [400, 'cursor']),
      )
    })

    for (const [wrong, field] of [
      ['&value=no', 'value'],
      ['&count=0', 'count'],
      ['&count=1001', 'count'],
      ['&encoding=hex', 'encoding'],
      ['&encoding=base64', 'key'],
      ['&db=x', 'db'],
      ['&db=16', 'db'],
    ] as const) {
      test(`400 ${wrong} names ${field}`, async () => {
        const { status, body } = await get('no base64!', wrong)
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('200 of an ACL user without INFO, in another logical database', async () => {
      const { username, password } = store.limited
      const limited = await app.register({
        name: 'limited',
        type: 'redis',
        connectionString: `redis://${username}:${password}@${store.host}:${store.port}/6`,
      })
      await raw.hset('h', 'a', '1')
      const { status, body } = await get('h', '&db=5', limited.id)
      expect([status, body.value]).toEqual([200, [{ field: 'a', value: '1' }]])
    })
  })

  describe('PUT /redis/{databaseId}/key', () => {
    test('200 replaces a value of any type by any other, and drops the TTL', async () => {
      for (const from of types) {
        for (const to of types) {
          await put({ key: 'k', type: from, value: values[from], ttlMs: 60_000 })
          await put({ key: 'k', type: to, value: values[to] })
          expect([from, to, (await get('k')).body]).toMatchObject([from, to, { value: values[to], ttl_ms: null }])
        }
      }
    })

    for (const type of types) {
      test(`200 onlyNew, onlyExisting, ttlMs and keepTtl of a ${type}`, async () => {
        const body = { key: 'k', type, value: values[type] }
        const written = async (more: Body) => (await put({ ...body, ...more })).body.written
        expect(await written({ onlyExisting: true })).toBe(false)
        expect(await raw.exists('k')).toBe(0)
        expect(await written({ onlyNew: true, ttlMs: 60_000 })).toBe(true)
        await raw.set('other', 'before')
        expect((await put({ ...body, key: 'other', onlyNew: true })).body.written).toBe(false)
        expect(await raw.get('other')).toBe('before')
        expect(await raw.pttl('k')).toBeGreaterThan(50_000)
        expect(await written({ onlyExisting: true, keepTtl: true })).toBe(true)
        expect(await raw.pttl('k')).toBeGreaterThan(50_000)
        expect(await written({ onlyExisting: true })).toBe(true)
        expect(await raw.pttl('k')).toBe(-1)
        expect(await written({ keepTtl: true })).toBe(true)
        expect(await raw.pttl('k')).toBe(-1)
        await raw.del('k')
        expect(await written({ keepTtl: true })).toBe(true)
      })
    }

    test('200 entries without an id get one from the server, in their order', async () => {
      const value = Array.from({ length: 50 }, (_, n) => ({ fields: [{ field: 'n', value: String(n) }] }))
      await put({ key: 's', type: 'stream', value })
      const entries = (await get('s')).body.value as { id: string; fields: { value: string }[] }[]
      expect(entries.map(({ fields }) => fields[0]?.value)).toEqual(value.map((_, n) => String(n)))
    })

    test('200 a reader sees the value before or after, never a part of it', async () => {
      const value = (letter: string) => Array.from({ length: 5_000 }, (_, n) => `${letter}${n}`)
      await put({ key: 'k', type: 'list', value: value('a') })
      const seen = new Set<string>()
      let isWriting = true
      const reading = (async () => {
        while (isWriting) {
          const [first, last, length] = await raw
            .multi()
            .lindex('k', 0)
            .lindex('k', -1)
            .llen('k')
            .exec()
            .then((replies) => (replies ?? []).map(([, reply]) => reply))
          seen.add(`${first} ${last} ${length}`)
        }
      })()
      for (let round = 0; round < 15; round++) {
        const letter = round % 2 === 0 ? 'b' : 'a'
        const more = round % 3 === 0 ? { keepTtl: true } : {}
        expect((await put({ key: 'k', type: 'list', value: value(letter), ...more })).body.written).toBe(true)
      }
      isWriting = false
      await reading
      expect([...seen].toSorted()).toEqual(['a0 a4999 5000', 'b0 b4999 5000'])
    })

    test('200 whoever reads a key while others replace it by other types gets one of its values whole', async () => {
      await put({ key: 'k', type: 'hash', value: values.hash })
      let isWriting = true
      const seen = new Set<string>()
      const wrong: unknown[] = []
      const reading = Array.from({ length: 4 }, async () => {
        while (isWriting) {
          const { status, body } = await get('k')
          const isWhole = JSON.stringify(body.value) === JSON.stringify(values[body.type as keyof typeof values])
          if (status !== 200 || !isWhole) wrong.push(body)
          seen.add(body.type)
        }
      })
      for (let round = 0; round < 60; round++) {
        const type = types[round % types.length] as keyof typeof values
        expect((await put({ key: 'k', type, value: values[type] })).body.written).toBe(true)
      }
      isWriting = false
      await Promise.all(reading)
      expect(wrong).toEqual([])
      expect(seen.size).toBeGreaterThan(3)
    })

    test('200 one of many who create the same key with onlyNew', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => put({ key: 'k', type: 'set', value: [`by ${n}`], onlyNew: true })),
      )
      const winners = answers.flatMap(({ body }, n) => (body.written ? [`by ${n}`] : []))
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      expect(winners).toEqual(await raw.smembers('k'))
    })

    test('what was not executed is gone before the connection is lent again', async () => {
      await raw.set('there', 'x')
      for (let round = 0; round < 10; round++) {
        expect((await put({ key: 'there', type: 'set', value: ['a'], onlyNew: true })).body.written).toBe(false)
        expect((await put({ key: 'free', type: 'set', value: ['a'] })).body.written).toBe(true)
        expect((await get('free')).body.value).toEqual(['a'])
      }
    })

    test('200 in another logical database, and there alone', async () => {
      expect((await put({ key: 'k', type: 'list', value: ['in 6'] }, id(), '?db=6')).status).toBe(200)
      expect(await raw.exists('k')).toBe(0)
      expect((await get('k', '&db=6')).body.value).toEqual(['in 6'])
      expect((await app.request('DELETE', `/api/platform/redis/${id()}/key?key=k&db=6`)).status).toBe(204)
    })

    const bad: readonly (readonly [Body, string])[] = [
      [{ type: 'vector' }, 'type'],
      [{ type: 'hash', value: [] }, 'value'],
      [{ type: 'hash', value: { a: '1' } }, 'value'],
      [{ type: 'hash', value: [{ field: 'a' }] }, 'value.0.value'],
      [{ type: 'hash', value: [{ field: 'a', value: 'b', more: 1 }] }, 'value.0.more'],
      [{ type: 'list', value: [1] }, 'value.0'],
      [{ type: 'zset', value: [{ member: 'a', score: 'nan' }] }, 'value.0.score'],
      [{ type: 'zset', value: [{ member: 'a', score: '1e400' }] }, 'value.0.score'],
      [{ type: 'zset', value: [{ member: 'a', score: '1e-400' }] }, 'value.0.score'],
      [{ type: 'zset', value: [{ member: 'a', score: '0x10' }] }, 'value.0.score'],
      [{ type: 'stream', value: [{ id: '0-0', fields: [{ field: 'a', value: '' }] }] }, 'value'],
      [{ type: 'stream', value: [{ id: '1-0', fields: [] }] }, 'value.0.fields'],
      [{ type: 'stream', value: ['2-0', '1-9'].map((entry) => ({ id: entry, fields: [{ field: 'a', value: '' }] })) }, 'value'], // prettier-ignore
      [{ type: 'stream', value: [{ id: '18446744073709551616-0', fields: [{ field: 'a', value: '' }] }] }, 'value'],
      [{ type: 'stream', value: [{ id: '*', fields: [{ field: 'a', value: '' }] }] }, 'value.0.id'],
      [{ type: 'json', value: '{' }, 'value'],
      [{ onlyNew: true, onlyExisting: true }, 'onlyNew'],
      [{ keepTtl: true, ttlMs: 1 }, 'keepTtl'],
      [{ ttlMs: 0 }, 'ttlMs'],
      [{ nx: true }, 'nx'],
      [{ key: 5 }, 'key'],
    ]
    for (const [wrong, field] of bad) {
      test(`400 ${JSON.stringify(wrong)} names ${field}, and the key stays`, async () => {
        await raw.set('k', 'before')
        const { status, body } = await put({ key: 'k', type: 'string', value: 'v', ...wrong })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
        expect(await raw.get('k')).toBe('before')
      })
    }

    test('200 the scores and IDs at the ends of what there is', async () => {
      const scores = ['-inf', '-1.7976931348623157e308', '0', '5e-324', '1e308', 'inf']
      const zset = scores.map((score, n) => ({ member: String(n), score }))
      expect((await put({ key: 'z', type: 'zset', value: zset })).status).toBe(200)
      const found = (await get('z')).body.value as { score: string }[]
      expect(found.map(({ score }) => Number(score.replace('inf', 'Infinity')))).toEqual(
        scores.map((score) => Number(score.replace('inf', 'Infinity'))),
      )
      const last = '18446744073709551615-18446744073709551615'
      const stream = ['0-1', last].map((entry) => ({ id: entry, fields: [{ field: 'a', value: '' }] }))
      expect((await put({ key: 's', type: 'stream', value: stream })).status).toBe(200)
      expect((await whole('s', '&count=1')).items).toEqual(stream)
    })

    test('413 a body above 8 MiB', async () => {
      const { status, body } = await put({ key: 'k', type: 'string', value: 'x'.repeat(8 << 20) })
      expect([status, body.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
    })

    test('200 100,000 members in one body, in commands of bounded size', async () => {
      const value = Array.from({ length: 100_000 }, (_, n) => String(n))
      expect((await put({ key: 'k', type: 'set', value })).body.written).toBe(true)
      expect(await raw.scard('k')).toBe(100_000)
      const { status, body } = await put({ key: 'k', type: 'set', value: [...value, 'more'] })
      expect([status, body.error.details[0].field]).toEqual([400, 'value'])
    })

    test('403 in a database that is registered read-only, whatever the type, and the key stays', async () => {
      const config = { readOnly: true }
      const { id: readOnly } = await app.register({ name: 'ro', type: 'redis', connectionString: url(), config })
      await raw.set('k', 'before', 'PX', 60_000)
      for (const type of types) {
        for (const more of [{}, { onlyExisting: true }, { keepTtl: true }]) {
          const { status, body } = await put({ key: 'k', type, value: values[type], ...more }, readOnly)
          expect([type, status, body.error?.code]).toEqual([type, 403, 'DB_READ_ONLY'])
        }
      }
      expect(await raw.get('k')).toBe('before')
      expect((await get('k', '', readOnly)).body.value).toBe('before')
    })

    test('400 for an ACL user who may not use MULTI, and nothing is written; a string needs none', async () => {
      const { username, password } = store.limited
      const connectionString = `redis://${username}:${password}@${store.host}:${store.port}/5`
      const { id: limited } = await app.register({ name: 'no-multi', type: 'redis', connectionString })
      for (const more of [{}, { keepTtl: true }]) {
        const { status, body } = await put({ key: 'k', type: 'list', value: ['a'], ...more }, limited)
        expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'NOPERM' }])
      }
      expect(await raw.exists('k')).toBe(0)
      expect((await put({ key: 'k', type: 'string', value: 'v' }, limited)).body.written).toBe(true)
    })

    test('403 for a key that may only read', async () => {
      const made = await app.request('POST', '/api/platform/api-keys', {
        body: { name: 'reader', projectRef: 'default', role: 'read' },
      })
      const path = `/api/platform/redis/${id()}/key`
      const body = { key: 'k', type: 'string', value: 'v' }
      const refused = [
        await app.request('PUT', path, { body, key: made.body.secret }),
        await app.request('PATCH', path, { body: { key: 'k', ttlMs: 1 }, key: made.body.secret }),
        await app.request('DELETE', `${path}?key=k`, { key: made.body.secret }),
      ]
      expect(refused.map(({ status, body: { error } }) => [status, error.code])).toEqual(
        refused.map(() => [403, 'FORBIDDEN']),
      )
      expect((await app.request('GET', `${path}?key=k`, { key: made.body.secret })).status).toBe(404)
    })
  })

  describe('any bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 32 }).map(base64)
    const some = { minLength: 1, maxLength: 8 }
    const field = fc.record({ field: bytes, value: bytes })
    const unique = { ...some, selector: (item: unknown) => JSON.stringify(item) }
    const uniqueBy = (name: string) => ({ ...some, selector: (item: object) => JSON.stringify((item as never)[name]) })
    const score = fc.double({ noNaN: true }).map((value) => (Object.is(value, -0) ? 0 : value))
    const arbitraries = {
      string: bytes,
      hash: fc.uniqueArray(field, uniqueBy('field')),
      list: fc.array(bytes, some),
      set: fc.uniqueArray(bytes, unique),
      zset: fc.uniqueArray(fc.record({ member: bytes, score }), uniqueBy('member')),
      stream: fc
        .array(fc.array(field, some), some)
        .map((entries) => entries.map((fields, n) => ({ id: `${n}-1`, fields }))),
    } satisfies Record<keyof typeof values, fc.Arbitrary<unknown>>

    // Sets and hashes have no order; scores are compared as the numbers they are.
    const comparable = (type: string, value: unknown): unknown => {
      if (type === 'string' || type === 'list' || type === 'stream') return value
      const items = (value as Body[]).map((item) =>
        type === 'zset'
          ? { member: item['member'], score: Number(String(item['score']).replace('inf', 'Infinity')) }
          : item,
      )
      return items
        .map((item) =>
          JSON.stringify(item, (_, part) => (part === Infinity || part === -Infinity ? String(part) : part)),
        )
        .toSorted()
    }

    for (const type of types) {
      test(`come back from a ${type} as they were put, key included`, async () => {
        await fc.assert(
          fc.asyncProperty(bytes, arbitraries[type], async (key, value) => {
            const sent = JSON.parse(
              JSON.stringify(value, (_, part) =>
                part === Infinity || part === -Infinity ? (part > 0 ? 'inf' : '-inf') : part,
              ),
            ) as unknown
            expect((await put({ key, type, value: sent })).body).toEqual({ key, type, written: true })
            const { body } = await get(key.base64, '&encoding=base64')
            expect([body.key, body.type]).toEqual([key, type])
            expect(comparable(type, body.value)).toEqual(comparable(type, sent))
          }),
          { numRuns: 60 },
        )
      })
    }
  })
})

describe('a server that goes away or changes its mind', () => {
  async function putOver(
    answer: (command: FakeCommand) => string | null | undefined,
    more: Body = {},
  ): Promise<Answer> {
    await using server = await startFakeServer(redisAnswers(answer))
    await using app = await createTestApp()
    const connectionString = `redis://127.0.0.1:${server.port}/0`
    const { id } = await app.register({ name: 'fake', type: 'redis', connectionString })
    const body = { key: 'k', type: 'list', value: ['a'], ...more }
    return await app.request('PUT', `/api/platform/redis/${id}/key`, { body })
  }
  const queued = ({ name }: FakeCommand) => (name === 'unlink' || name === 'rpush' ? '+QUEUED' : undefined)

  test('503, not to be repeated: no answer to EXEC, whose outcome nobody knows', async () => {
    const { status, body } = await putOver((command) => (command.name === 'exec' ? null : queued(command)))
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'DB_CONNECTION_FAILED', false])
  })

  test('400 a MULTI that is refused after one that was taken: a part may have been written', async () => {
    let begun = 0
    const { status, body } = await putOver((command) =>
      command.name === 'multi' && begun++ > 0 ? '-NOPERM no' : queued(command),
    )
    expect([status, body.error.code, body.error.message]).toEqual([
      400,
      'DB_QUERY_ERROR',
      expect.stringContaining('a part may have been written'),
    ])
  })

  test('409 after a bounded number of tries, when others change the key every time', async () => {
    let tries = 0
    const { status, body } = await putOver(
      (command) => {
        if (command.name === 'type') return '+none'
        if (command.name === 'pttl') return ':-2'
        if (command.name === 'exec') tries++
        return command.name === 'exec' ? '*-1' : queued(command)
      },
      { onlyNew: true },
    )
    expect([status, body.error.code, tries]).toEqual([409, 'DB_CONFLICT', 10])
  })
})
