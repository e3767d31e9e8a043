import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

const maxValue = 65_536
const maxAnswer = 524_288
// A reply may be as large as both together, and a little more of what arrives at once.
const unreadable = 2_000_000

describeWith('redis', 'members that are larger than a reply may be', (store) => {
  const env = { MAX_VALUE_BYTES: String(maxValue), MAX_RESPONSE_BYTES: String(maxAnswer) }
  const { app, raw, id, url, registered } = redisApp(store, 8, { env })
  const elsewhere = registered({ connectionString: url(7) })
  beforeEach(() => raw.flushdb())

  type Query = Readonly<Record<string, string | number>>
  const get = (path: string, query: Query, of = id()) =>
    app.request('GET', `/api/platform/redis/${of}/${path}?${new URLSearchParams(query as Record<string, string>)}`)

  /** What all pages hold; of `GET key`, their values. */
  async function all(path: string, query: Query, of = id()): Promise<Record<string, unknown>[]> {
    const found: Record<string, unknown>[] = []
    let cursor: string | null = null
    for (let pages = 0; pages < 1_000; pages++) {
      const { status, body, text } = await get(path, cursor === null ? query : { ...query, cursor }, of)
      expect([path, query, status, status === 200 ? null : body]).toEqual([path, query, 200, null])
      expect(text.length).toBeLessThan(maxAnswer + maxValue)
      found.push(...(body.data ?? body.value))
      cursor = body.pagination.next_cursor
      if (cursor === null) return found
    }
    throw new Error('the pages do not end')
  }

  const whale = (letter: string) => letter.repeat(unreadable)
  const names = (count: number) => Array.from({ length: count }, (_, at) => `member ${at}`)

  for (const count of [1, 2, 9, 100, 1_000]) {
    const own = [{ count }, { count, db: 8 }] as const
    for (const query of own) {
      const of = () => ('db' in query ? elsewhere() : id())
      const where = 'db' in query ? ', in another logical database' : ''

      test(`200 sets pass them and go on, ${count} a page${where}`, async () => {
        await raw.sadd('s', ...names(300), whale('a'), whale('b'))
        const found = await all('sets', { key: 's', ...query }, of())
        const read = new Set(found.map(({ member }) => member))
        const passed = found.filter(({ member }) => member === null)
        expect(passed).toEqual(Array(2).fill({ member: null, truncated: true }) as typeof passed)
        // Those of the same bucket are passed as well.
        expect(read.size - 1).toBeGreaterThanOrEqual(290)
      })

      test(`200 sorted sets pass them by rank, and lose no neighbour, ${count} a page${where}`, async () => {
        const scored = names(60).flatMap((name, at) => [String(at), name])
        await raw.zadd('z', ...scored, '20.5', whale('a'), '20.6', whale('b'), '1000', whale('c'))
        for (const by of [
          {},
          { by: 'score', min: '3', max: '2000' },
          { reverse: 'true' },
          { by: 'score', reverse: 'true' },
        ]) {
          const found = await all('zsets', { key: 'z', ...by, ...query }, of())
          const passed = found.filter(({ member }) => member === null)
          const read = found.map(({ member }) => member).filter((member) => member !== null)
          const expected = names(60).slice('min' in by ? 3 : 0)
          expect(passed).toEqual(Array(3).fill({ member: null, score: null, truncated: true }) as typeof passed)
          expect(read).toEqual('reverse' in by ? expected.toReversed() : expected)
        }
      })

      test(`200 GET key passes them in lists and sorted sets, and loses no neighbour, ${count} a page${where}`, async () => {
        await raw.rpush('l', ...names(40), whale('a'), whale('b'), 'last')
        await raw.zadd('z', ...names(40).flatMap((name, at) => [String(at), name]), '20.5', whale('a'))
        const left = { value: null, truncated: true }
        expect(await all('key', { key: 'l', ...query }, of())).toEqual([...names(40), left, left, 'last'] as never)
        const scored = names(40).map((member, at) => ({ member, score: String(at) }))
        expect(await all('key', { key: 'z', ...query }, of())).toEqual([
          ...scored.slice(0, 21),
          { member: null, score: null, truncated: true },
          ...scored.slice(21),
        ])
      })

      test(`200 GET key passes them in sets and hashes, ${count} a page${where}`, async () => {
        await raw.sadd('s', ...names(300), whale('a'))
        await raw.hset('h', ...names(300).flatMap((name) => [name, 'x']), 'whale', whale('a'))
        const set = await all('key', { key: 's', ...query }, of())
        expect(set.filter((member) => typeof member !== 'string')).toEqual([{ value: null, truncated: true }])
        expect(new Set(set).size).toBeGreaterThanOrEqual(294)
        const hash = await all('key', { key: 'h', ...query }, of())
        expect(hash.filter(({ field }) => field === null)).toEqual([{ field: null, value: null, truncated: true }])
        expect(new Set(hash.map(({ field }) => field)).size).toBeGreaterThanOrEqual(294)
      })
    }
  }

  test('200 sorted sets by pattern pass them, and only where the pattern has them', async () => {
    await raw.zadd('z', ...names(300).flatMap((name) => ['1', name]), '2', whale('a'))
    const found = await all('zsets', { key: 'z', by: 'pattern', count: 100 })
    expect(found.filter(({ member }) => member === null)).toEqual([{ member: null, score: null, truncated: true }])
    const some = await all('zsets', { key: 'z', by: 'pattern', pattern: 'member *', count: 100 })
    expect(new Set(some.map(({ member }) => member)).size).toBe(300)
    expect(await all('zsets', { key: 'z', by: 'pattern', pattern: 'a*', count: 1 })).toEqual([
      { member: null, score: null, truncated: true },
    ])
  })

  test('200 a member whose text grows beyond an answer in JSON is left out, with its size', async () => {
    const members = [1, 2, 3].map((byte) => Buffer.alloc(maxValue, byte))
    for (const member of members) await raw.sadd('s', member)
    const found = await all('sets', { key: 's' })
    expect(found.map(({ member }) => member).toSorted()).toEqual(members.map(String).toSorted())
    for (const member of members) await raw.zadd('z', 1, member)
    expect((await all('zsets', { key: 'z' })).map(({ member }) => member)).toEqual(members.map(String))
    expect((await all('zsets', { key: 'z', by: 'pattern' })).length).toBe(3)
  })

  describe('streams', () => {
    const fill = async () => {
      for (let at = 1; at <= 40; at++) await raw.xadd('x', `${at}-0`, 'f', at === 21 ? whale('a') : `${at}`)
    }
    const idsOf = (found: readonly Record<string, unknown>[]) => found.map((entry) => entry['id'])
    const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => `${from + at}-0`)

    for (const count of [1, 9, 100]) {
      test(`200 up to the entry that can not be read, then 413 which says where it is, ${count} a page`, async () => {
        await fill()
        for (const [path, isReverse] of [
          ['streams', false],
          ['streams', true],
          ['key', false],
        ] as const) {
          // prettier-ignore
          const query = { key: 'x', count, ...(isReverse ? { reverse: 'true' } : {}) }
          const found: unknown[] = []
          let cursor: string | null = null
          let answer = await get(path, query)
          while (answer.status === 200) {
            found.push(...idsOf(answer.body.data ?? answer.body.value))
            cursor = answer.body.pagination.next_cursor
            if (cursor === null) throw new Error('the pages ended')
            answer = await get(path, { ...query, cursor })
          }
          expect(found).toEqual(isReverse ? ids(22, 40).toReversed() : ids(1, 20))
          const { error } = answer.body
          expect([answer.status, error.code, error.retryable, error.details]).toEqual([
            413,
            'RESULT_TOO_LARGE',
            false,
            { reason: 'entry', from: isReverse ? '21-18446744073709551615' : '20-1' },
          ])
        }
        expect(idsOf(await all('streams', { key: 'x', count, start: '(21-0' }))).toEqual(ids(22, 40))
      })
    }

    test('200 an entry with a name above the cap of a value has no fields, and the others follow', async () => {
      await raw.xadd('x', '1-0', 'a', '1')
      await raw.xadd('x', '2-0', 'n'.repeat(maxValue + 1), '1')
      await raw.xadd('x', '3-0', ...Array.from({ length: 4 }, () => ['f', Buffer.alloc(maxValue, 1)]).flat())
      await raw.xadd('x', '4-0', 'b', '2')
      const expected = [
        { id: '1-0', fields: [{ field: 'a', value: '1' }] },
        { id: '2-0', fields: null, truncated: true },
        { id: '3-0', fields: null, truncated: true },
        { id: '4-0', fields: [{ field: 'b', value: '2' }] },
      ]
      expect(await all('streams', { key: 'x' })).toEqual(expected)
      expect(await all('streams', { key: 'x', reverse: 'true' })).toEqual(expected.toReversed())
      expect(await all('key', { key: 'x' })).toEqual(expected)
    })
  })

  describe('GET key', () => {
    test('200 values above the cap are cut and marked, in every type, and PUT takes no such page', async () => {
      const large = `${'x'.repeat(maxValue - 1)}é and more`
      const [value, mark] = ['x'.repeat(maxValue - 1), { truncated: true, size_bytes: Buffer.byteLength(large) }]
      await raw.rpush('list', large, 'small')
      await raw.sadd('set', large)
      await raw.zadd('zset', 1, large)
      await raw.hset('hash', 'f', large)
      await raw.xadd('stream', '1-0', 'f', large)
      const expected = {
        list: [{ value, ...mark }, 'small'],
        set: [{ value, ...mark }],
        zset: [{ member: value, score: '1', ...mark }],
        hash: [{ field: 'f', value, ...mark }],
        stream: [{ id: '1-0', fields: [{ field: 'f', value, ...mark }] }],
      }
      for (const [key, page] of Object.entries(expected)) {
        const { body } = await get('key', { key })
        expect([key, body.value, body.truncated]).toEqual([key, page, false])
        const again = { key, type: key, value: body.value }
        const { status } = await app.request('PUT', `/api/platform/redis/${id()}/key`, { body: again })
        expect([key, status]).toEqual([key, 400])
      }
    })
  })
})

describeWith('valkey', 'fields that are larger than a reply may be, where fields have TTLs', (store) => {
  const env = { MAX_VALUE_BYTES: String(maxValue), MAX_RESPONSE_BYTES: String(maxAnswer) }
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 7, lazyConnect: true })
  let app: TestApp
  let id: string
  beforeAll(async () => {
    app = await createTestApp({ env })
    id = (await app.register({ name: 'fields', type: 'redis', connectionString: store.url.replace(/\/0$/, '/7') })).id
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  for (const count of [1, 100, 1_000]) {
    test(`200 they are passed, and every other field has its TTL, ${count} a page`, async () => {
      await raw.flushdb()
      await raw.hset('h', ...Array.from({ length: 2_000 }, (_, at) => [`field ${at}`, 'x']).flat())
      await raw.hset('h', 'whale', 'w'.repeat(unreadable))
      const found: Record<string, unknown>[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const more = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
        const { status, body } = await app.request(
          'GET',
          `/api/platform/redis/${id}/hashes?key=h&count=${count}${more}`,
        )
        expect(status).toBe(200)
        found.push(...body.data)
        cursor = body.pagination.next_cursor
      }
      const read = found.filter(({ field }) => field !== null)
      expect(found.filter(({ field }) => field === null)).toEqual([{ field: null, value: null, truncated: true }])
      expect(read.every((entry) => entry['ttl_ms'] === null)).toBe(true)
      expect(new Set(read.map(({ field }) => field)).size).toBeGreaterThan(1_980)
    }, 60_000)
  }
})
