import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { matchesGlob } from '#src/engines/redis/types/hash-glob.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { stores } from '#test/support/stores.ts'

const fieldTtls = await hasFieldTtls()

describeWith('redis', 'hashes', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 8, lazyConnect: true })
  const url = store.url.replace(/\/0$/, '/8')
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_VALUE_BYTES: '65536', MAX_RESPONSE_BYTES: '524288' } })
    id = (await app.register({ name: 'hashes', type: 'redis', connectionString: url })).id
  })
  beforeEach(() => raw.flushdb())
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const base64 = (bytes: Uint8Array | string) => ({ base64: Buffer.from(bytes).toString('base64') })
  const list = (query: Readonly<Record<string, string>>, of = id) =>
    app.request('GET', `/api/platform/redis/${of}/hashes?${new URLSearchParams(query)}`)
  const post = (path: string, body: unknown, of = id) =>
    app.request('POST', `/api/platform/redis/${of}/hashes${path}`, { body })
  const edit = (body: unknown, of = id) => post('', body, of)
  const fill = (key: string, count: number, value = (n: number) => `value ${n}`) =>
    raw.hset(key, Object.fromEntries(Array.from({ length: count }, (_, n) => [`field:${n}`, value(n)])))
  // The TTL of a field is there on some servers and not on others.
  const plain = (entry: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(Object.entries(entry).filter(([name]) => name !== 'ttl_ms'))

  // oxlint-disable-next-line typescript/no-explicit-any
  async function all(query: Readonly<Record<string, string>>, between?: () => Promise<unknown>): Promise<any[]> {
    const pages = []
    let cursor: { readonly cursor?: string } = {}
    do {
      const { status, body, text } = await list({ ...query, ...cursor })
      expect([status, status === 200 ? '' : text]).toEqual([200, ''])
      expect(body.pagination.next_cursor === null).toBe(!body.pagination.has_more)
      expect(body.data.length).toBeLessThanOrEqual(1_000)
      const fields = body.data.map(({ field }: { field: unknown }) => JSON.stringify(field))
      expect(new Set(fields).size).toBe(fields.length)
      pages.push(body)
      cursor = { cursor: body.pagination.next_cursor }
      await between?.()
    } while (pages.at(-1).pagination.has_more && pages.length < 2_000)
    return pages
  }
  const entriesOf = (pages: readonly { data: readonly Record<string, unknown>[] }[]) =>
    pages.flatMap(({ data }) => data.map(plain))

  describe('GET /redis/{databaseId}/hashes', () => {
    test('200 a small hash in the order of its fields, in pages of exactly count', async () => {
      await raw.hset('h', { b: '2', a: '1', c: '', ü: 'ö' })
      const pages = await all({ key: 'h', count: '3' })
      expect(pages.map(({ data }) => data.map(plain))).toEqual([
        [
          { field: 'a', value: '1' },
          { field: 'b', value: '2' },
          { field: 'c', value: '' },
        ],
        [{ field: 'ü', value: 'ö' }],
      ])
      expect(pages.map(({ key, length }) => [key, length])).toEqual([
        ['h', 4],
        ['h', 4],
      ])
    })

    for (const [name, count] of [
      ['a listpack', 100],
      ['a table', 900],
      ['a large table', 5_000],
    ] as const) {
      for (const size of ['1', '7', '100', '1000']) {
        if (size === '1' && count > 100) continue
        test(`200 every field of ${name} once, ${size} a page`, async () => {
          await fill('many', count)
          const pages = await all({ key: 'many', count: size })
          const fields = new Map(entriesOf(pages).map(({ field, value }) => [field, value]))
          expect(Object.fromEntries(fields)).toEqual(await raw.hgetall('many'))
          expect(pages.flatMap(({ data }) => data).length).toBe(count)
        })
      }
    }

    test('200 a listpack of 3,000 fields, which HSCAN answers whole, in pages of at most 1,000', async () => {
      await raw.config('SET', 'hash-max-listpack-entries', '5000')
      try {
        await fill('packed', 3_000, () => 'x')
        expect(await raw.object('ENCODING', 'packed')).toBe('listpack')
        const pages = await all({ key: 'packed', count: '1000' })
        expect(pages.map(({ data }) => data.length)).toEqual([1_000, 1_000, 1_000])
        expect(new Set(entriesOf(pages).map(({ field }) => field)).size).toBe(3_000)
      } finally {
        await raw.config('SET', 'hash-max-listpack-entries', '128')
      }
    })

    test('200 no field that stays is lost while others come and go, also when the hash becomes a table', async () => {
      for (const stay of [100, 3_000]) {
        await raw.del('moving')
        await fill('moving', stay)
        let turn = 0
        const pages = await all({ key: 'moving', count: '10' }, async () => {
          turn++
          const others = Array.from({ length: 40 }, (_, n) => `other:${turn}:${n}`)
          await raw.hset('moving', Object.fromEntries(others.map((name) => [name, 'x'])))
          await raw.hdel('moving', ...Array.from({ length: 30 }, (_, n) => `other:${turn - 1}:${n}`))
        })
        const fields = new Set(entriesOf(pages).map(({ field }) => field))
        expect(Array.from({ length: stay }, (_, n) => `field:${n}`).filter((name) => !fields.has(name))).toEqual([])
      }
    })

    test('200 the fields of a pattern, in a small hash as in a large one', async () => {
      for (const count of [50, 3_000]) {
        await raw.del('pattern')
        await fill('pattern', count)
        const fields = entriesOf(await all({ key: 'pattern', pattern: 'field:4?', count: '100' })).map(
          (e) => e['field'],
        )
        expect(fields.toSorted()).toEqual(Array.from({ length: 10 }, (_, n) => `field:4${n}`))
      }
    })

    test('200 a sparse pattern of a large hash ends', async () => {
      await fill('sparse', 20_000)
      const pages = await all({ key: 'sparse', pattern: 'field:19999', count: '10' })
      expect(entriesOf(pages)).toEqual([{ field: 'field:19999', value: 'value 19999' }])
    })

    test('200 one field, without a scan', async () => {
      await fill('many', 2_000)
      const { status, body } = await list({ key: 'many', field: 'field:1234' })
      expect([status, { ...body, data: body.data.map(plain) }]).toEqual([
        200,
        {
          key: 'many',
          data: [{ field: 'field:1234', value: 'value 1234' }],
          pagination: { next_cursor: null, has_more: false },
          length: 2_000,
        },
      ])
    })

    test('200 a value above the cap is left out and its size told, in a page and alone', async () => {
      await raw.hset('big', {
        exact: 'x'.repeat(65_536),
        huge: 'y'.repeat(3_000_000),
        small: 's',
        over: 'z'.repeat(65_537),
      })
      const entries = [
        { field: 'exact', value: 'x'.repeat(65_536) },
        { field: 'huge', value: null, truncated: true, size_bytes: 3_000_000 },
        { field: 'over', value: null, truncated: true, size_bytes: 65_537 },
        { field: 'small', value: 's' },
      ]
      expect(entriesOf(await all({ key: 'big' }))).toEqual(entries)
      for (const entry of entries) {
        expect((await list({ key: 'big', field: entry.field })).body.data.map(plain)).toEqual([entry])
      }
    })

    test('200 a page ends before the answer is too large, and the next goes on', async () => {
      // 40 values of 60 KB are 2.4 MB; one answer holds 512 KiB.
      for (const count of [40, 1_200]) {
        await raw.del('wide')
        await fill('wide', count, (n) => (n < 40 ? String.fromCharCode(97 + (n % 26)).repeat(60_000) : 'x'))
        const pages = await all({ key: 'wide', count: '1000' })
        expect(pages.every((page) => JSON.stringify(page).length < 524_288 + 65_536)).toBe(true)
        const found = Object.fromEntries(entriesOf(pages).map(({ field, value }) => [field, value]))
        expect(found).toEqual(await raw.hgetall('wide'))
      }
    })

    test('200 fields whose values are many times as long in JSON', async () => {
      await fill('escapes', 30, () => '\u0001'.repeat(30_000))
      const pages = await all({ key: 'escapes', count: '1000' })
      expect(pages.every((page) => JSON.stringify(page).length < 524_288 + 65_536)).toBe(true)
      expect(entriesOf(pages).length).toBe(30)
    })

    test('200 a field name of a megabyte among others', async () => {
      const long = Buffer.alloc(200_000, 'f')
      await raw.hset('names', 'a', '1')
      await raw.hset('names', long, '2')
      await raw.hset('names', Buffer.concat([long, Buffer.from('f')]), '3')
      await raw.hset('names', 'z', '4')
      const pages = await all({ key: 'names', count: '1' })
      expect(
        entriesOf(pages)
          .map(({ value }) => value)
          .toSorted(),
      ).toEqual(['1', '2', '3', '4'])
    })

    test('200 a large hash passes a value no reply may hold, which is told by its field', async () => {
      await fill('giant', 2_000)
      await raw.hset('giant', 'whale', 'w'.repeat(5_000_000))
      for (const query of [{ count: '100' }, { count: '1' }, { count: '1000' }, { count: '7', pattern: '*a*' }]) {
        const entries = entriesOf(await all({ key: 'giant', ...query }))
        const passed = entries.filter(({ field }) => field === null)
        expect(passed).toEqual([{ field: null, value: null, truncated: true }] as never)
        // Those of the same bucket are passed as well.
        if (!('pattern' in query)) expect(new Set(entries.map(({ field }) => field)).size).toBeGreaterThan(1_990)
      }
      expect(entriesOf(await all({ key: 'giant', pattern: 'field:*', count: '100' })).length).toBe(2_000)
      expect((await list({ key: 'giant', field: 'whale' })).body.data.map(plain)).toEqual([
        { field: 'whale', value: null, truncated: true, size_bytes: 5_000_000 },
      ])
      expect((await list({ key: 'giant', field: 'field:7' })).status).toBe(200)
    })

    test('404 a key that is not there, a field that is not', async () => {
      await raw.hset('h', 'a', '1')
      for (const query of [{ key: 'absent' }, { key: 'absent', field: 'a' }, { key: 'h', field: 'b' }]) {
        const { status, body } = await list(query as Record<string, string>)
        expect([status, body.error.code]).toEqual([404, 'NOT_FOUND'])
      }
    })

    test('400 a key of another type', async () => {
      await raw.set('text', 'x')
      for (const more of [{}, { field: 'a' }]) {
        const { status, body } = await list({ key: 'text', ...more } as Record<string, string>)
        expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'WRONGTYPE' }])
      }
    })

    test('400 a cursor of another hash, pattern or logical database, and a forged one', async () => {
      await fill('h', 10)
      await fill('other', 10)
      const { next_cursor: cursor } = (await list({ key: 'h', count: '5' })).body.pagination
      for (const query of [
        { key: 'other', cursor },
        { key: 'h', pattern: 'f*', cursor },
        { key: 'h', db: '8', cursor },
        { key: 'h', cursor: `${cursor}x` },
        { key: 'h', cursor: '0' },
      ]) {
        const { status, body } = await list(query as never)
        expect([status, body.error.details[0].field]).toEqual([400, 'cursor'])
      }
      expect((await list({ key: 'h', count: '5', cursor })).body.data.length).toBe(5)
    })

    for (const [query, field] of [
      [{ count: '0' }, 'count'],
      [{ count: '1001' }, 'count'],
      [{ pattern: '' }, 'pattern'],
      [{ pattern: 'é'.repeat(129) }, 'pattern'],
      [{ encoding: 'base64', key: 'no base64!' }, 'key'],
      [{ encoding: 'base64', key: 'AAAA', field: 'no base64!' }, 'field'],
      [{ encoding: 'hex' }, 'encoding'],
      [{ db: '-1' }, 'db'],
    ] as const) {
      test(`400 ${JSON.stringify(query).slice(0, 40)} names ${field}`, async () => {
        const { status, body } = await list({ key: 'h', ...query })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('200 another logical database', async () => {
      const other = raw.duplicate({ db: 7 })
      try {
        await other.hset('only in 7', 'a', '1')
        expect((await list({ key: 'only in 7' })).status).toBe(404)
        expect((await list({ key: 'only in 7', db: '7' })).body.data.map(plain)).toEqual([{ field: 'a', value: '1' }])
        const edited = await app.request('POST', `/api/platform/redis/${id}/hashes?db=7`, {
          body: { key: 'only in 7', set: [{ field: 'b', value: '2' }], remove: ['a'] },
        })
        expect(edited.body).toEqual({ key: 'only in 7', created: 1, updated: 0, skipped: 0, removed: 1, length: 1 })
        expect(await other.hgetall('only in 7')).toEqual({ b: '2' })
      } finally {
        await other.del('only in 7')
        other.disconnect()
      }
    })
  })

  describe('POST /redis/{databaseId}/hashes', () => {
    test('200 tells created from updated, and removes in the same step', async () => {
      await raw.hset('h', { a: '1', b: '2' })
      const body = {
        key: 'h',
        set: [
          { field: 'a', value: 'new' },
          { field: 'c', value: '3' },
        ],
        remove: ['b', 'absent'],
      }
      expect((await edit(body)).body).toEqual({ key: 'h', created: 1, updated: 1, skipped: 0, removed: 1, length: 2 })
      expect(await raw.hgetall('h')).toEqual({ a: 'new', c: '3' })
    })

    test('200 nobody sees the fields set without the others removed', async () => {
      await raw.hset('h', { old: '1' })
      let stop = false
      const seen = new Set<string>()
      const reader = (async () => {
        while (!stop)
          seen.add(
            Object.keys(await raw.hgetall('h'))
              .toSorted()
              .join(),
          )
      })()
      for (let turn = 0; turn < 50; turn++) {
        await edit({ key: 'h', set: [{ field: 'new', value: 'x' }], remove: ['old'] })
        await edit({ key: 'h', set: [{ field: 'old', value: 'x' }], remove: ['new'] })
      }
      stop = true
      await reader
      expect([...seen].toSorted()).toEqual(['new', 'old'])
    })

    test('200 onlyNew leaves what is there', async () => {
      await raw.hset('h', 'a', '1')
      const set = [
        { field: 'a', value: 'other' },
        { field: 'b', value: '2' },
      ]
      expect((await edit({ key: 'h', set, onlyNew: true })).body).toEqual({
        key: 'h',
        created: 1,
        updated: 0,
        skipped: 1,
        removed: 0,
        length: 2,
      })
      expect(await raw.hgetall('h')).toEqual({ a: '1', b: '2' })
    })

    test('200 mustExist makes no hash', async () => {
      const body = { key: 'absent', set: [{ field: 'a', value: '1' }], mustExist: true }
      expect((await edit(body)).body).toEqual({
        key: 'absent',
        created: 0,
        updated: 0,
        skipped: 1,
        removed: 0,
        length: 0,
      })
      expect(await raw.exists('absent')).toBe(0)
      await raw.hset('absent', 'b', '2')
      expect((await edit(body)).body).toMatchObject({ created: 1, length: 2 })
    })

    test('200 a hash that loses its last field is gone, and one that is not there loses nothing', async () => {
      await raw.hset('h', 'a', '1')
      expect((await edit({ key: 'h', remove: ['a'] })).body).toMatchObject({ removed: 1, length: 0 })
      expect((await list({ key: 'h' })).status).toBe(404)
      expect((await edit({ key: 'h', remove: ['a'] })).body).toMatchObject({ removed: 0, length: 0 })
    })

    test('200 keeps the TTL of the key', async () => {
      await raw.hset('h', 'a', '1')
      await raw.pexpire('h', 60_000)
      await edit({ key: 'h', set: [{ field: 'a', value: '2' }] })
      expect(await raw.pttl('h')).toBeGreaterThan(50_000)
    })

    test('200 500 fields at once, and 400 one more', async () => {
      const set = Array.from({ length: 501 }, (_, n) => ({ field: `${n}`, value: '' }))
      expect((await edit({ key: 'h', set: set.slice(1) })).body.created).toBe(500)
      expect((await edit({ key: 'h', set: set.slice(1), onlyNew: true })).body.skipped).toBe(500)
      expect((await edit({ key: 'h', set })).body.error.details[0].field).toBe('set')
    })

    test('200 any bytes in key, field and value come back as they were', async () => {
      const bytes = fc.uint8Array({ maxLength: 48 })
      const pairs = fc.uniqueArray(fc.tuple(bytes, bytes), {
        minLength: 1,
        maxLength: 20,
        selector: ([f]) => String(f),
      })
      await fc.assert(
        fc.asyncProperty(bytes, pairs, async (key, fields) => {
          await raw.del(Buffer.from(key))
          const set = fields.map(([field, value]) => ({ field: base64(field), value: base64(value) }))
          expect((await edit({ key: base64(key), set })).body).toMatchObject({ created: fields.length })
          const pages = await all({ key: base64(key).base64, encoding: 'base64', count: '7' })
          const order = ([a]: (typeof fields)[number], [b]: (typeof fields)[number]) => Buffer.compare(a, b)
          expect(entriesOf(pages)).toEqual(
            fields.toSorted(order).map(([field, value]) => ({ field: base64(field), value: base64(value) })),
          )
          for (const [field, value] of fields.slice(0, 3)) {
            const query = { key: base64(key).base64, field: base64(field).base64, encoding: 'base64' }
            expect((await list(query)).body.data.map(plain)).toEqual([{ field: base64(field), value: base64(value) }])
            expect(await raw.hgetBuffer(Buffer.from(key), Buffer.from(field) as never)).toEqual(Buffer.from(value))
          }
          await edit({ key: base64(key), remove: fields.map(([field]) => base64(field)) })
          expect(await raw.exists(Buffer.from(key))).toBe(0)
        }),
        { numRuns: 60 },
      )
    })

    for (const [wrong, field] of [
      [{}, 'set'],
      [{ set: [], remove: [] }, 'set'],
      [
        {
          set: [
            { field: 'a', value: '1' },
            { field: { base64: 'YQ==' }, value: '2' },
          ],
        },
        'set',
      ],
      [{ set: [{ field: 'a', value: '1' }], remove: ['a'] }, 'set'],
      [{ set: [{ field: 'a', value: 1 }] }, 'set.0.value'],
      [{ set: [{ field: 'a' }] }, 'set.0.value'],
      [{ remove: [{ base64: '!' }] }, 'remove.0.base64'],
      [{ remove: ['a'], onlyNew: 'yes' }, 'onlyNew'],
      [{ remove: ['a'], ttl: 1 }, 'ttl'],
    ] as const) {
      test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
        const { status, body } = await edit({ key: 'h', ...wrong })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('400 a key of another type, which stays as it is', async () => {
      await raw.set('text', 'x')
      for (const more of [{}, { remove: ['b'] }, { mustExist: true }, { onlyNew: true }]) {
        const { status, body } = await edit({ key: 'text', set: [{ field: 'a', value: '1' }], ...more })
        expect([status, body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      }
      expect(await raw.get('text')).toBe('x')
    })
  })

  describe('POST /redis/{databaseId}/hashes/increment', () => {
    const increment = (body: object) => post('/increment', { key: 'h', field: 'n', ...body })

    test('200 an integer, from nothing and beyond 2^53 exactly', async () => {
      expect((await increment({})).body.value).toBe('1')
      expect((await increment({ by: 4 })).body).toEqual({ key: 'h', field: 'n', value: '5' })
      expect((await increment({ by: '9007199254740988' })).body.value).toBe('9007199254740993')
      expect((await increment({ by: -1 })).body.value).toBe('9007199254740992')
      await raw.hset('h', 'n', '0')
      expect((await increment({ by: '-9223372036854775808' })).body.value).toBe('-9223372036854775808')
    })

    test('200 a fraction, and a whole number with float', async () => {
      expect((await increment({ by: '10.5' })).body.value).toBe('10.5')
      expect((await increment({ by: 0.25, float: true })).body.value).toBe('10.75')
      expect((await increment({ by: '5000', float: true })).body.value).toBe('5010.75')
    })

    test('400 a value that is no number, and one that would leave 64 bits', async () => {
      await raw.hset('h', 'n', 'text')
      expect((await increment({ by: 1 })).body.error).toMatchObject({
        code: 'DB_QUERY_ERROR',
        details: { code: 'ERR' },
      })
      await raw.hset('h', 'n', '9223372036854775807')
      expect((await increment({ by: 1 })).status).toBe(400)
      expect(await raw.hget('h', 'n')).toBe('9223372036854775807')
    })

    for (const by of ['9223372036854775808', '-9223372036854775809', 2 ** 53, 'one', '', '1.', '+1', null]) {
      test(`400 ${JSON.stringify(by)} is no number that can be added`, async () => {
        const { status, body } = await increment({ by })
        expect([status, body.error.details[0].field]).toEqual([400, 'by'])
      })
    }
  })

  describe('POST /redis/{databaseId}/hashes/ttl', () => {
    const setTtl = (body: object) => post('/ttl', { key: 'h', fields: ['a', 'b', 'absent'], ttlMs: 60_000, ...body })

    test.skipIf(fieldTtls)('400 DB_UNSUPPORTED naming the command, before Redis 7.4 and Valkey 9', async () => {
      await raw.hset('h', { a: '1', b: '2', c: '3' })
      for (const [ttlMs, command] of [
        [60_000, 'hpexpire'],
        [null, 'hpersist'],
      ] as const) {
        const { status, body } = await setTtl({ ttlMs })
        expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_UNSUPPORTED', { command }])
      }
      expect((await list({ key: 'h', field: 'a' })).body.data).toEqual([{ field: 'a', value: '1' }])
    })

    for (const [wrong, field] of [
      [{ ttlMs: 0 }, 'ttlMs'],
      [{ ttlMs: 1.5 }, 'ttlMs'],
      [{ ttlMs: undefined }, 'ttlMs'],
      [{ fields: [] }, 'fields'],
      [{ fields: ['a', 'a'] }, 'fields'],
      [{ ttlMs: null, condition: 'nx' }, 'condition'],
      [{ condition: 'NX' }, 'condition'],
    ] as const) {
      test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
        const { status, body } = await setTtl(wrong)
        expect([status, body.error.details[0].field]).toEqual([400, field])
      })
    }
  })

  describe('who may only read', () => {
    const writes = [
      ['', { key: 'h', set: [{ field: 'a', value: '2' }] }],
      ['', { key: 'h', set: [{ field: 'a', value: '2' }], remove: ['b'] }],
      ['', { key: 'h', set: [{ field: 'a', value: '2' }], mustExist: true }],
      [
        '',
        {
          key: 'h',
          set: [
            { field: 'a', value: '2' },
            { field: 'b', value: '2' },
          ],
          onlyNew: true,
        },
      ],
      ['/increment', { key: 'h', field: 'a', by: 1 }],
    ] as const

    test('403 every write to a database that is registered read-only, which still reads', async () => {
      const config = { readOnly: true }
      const { id: of } = await app.register({ name: 'read-only', type: 'redis', connectionString: url, config })
      const other = raw.duplicate({ db: 7 })
      await Promise.all([raw.hset('h', 'a', '1'), other.hset('h', 'a', '1')])
      for (const [path, body] of writes) {
        const answer = await post(path, body, of)
        expect([answer.status, answer.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
        const elsewhere = await app.request('POST', `/api/platform/redis/${of}/hashes${path}?db=7`, { body })
        expect([elsewhere.status, elsewhere.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
      }
      expect([await raw.hgetall('h'), await other.hgetall('h')]).toEqual([{ a: '1' }, { a: '1' }])
      await other.del('h')
      other.disconnect()
      expect((await list({ key: 'h' }, of)).status).toBe(200)
      expect((await list({ key: 'h', field: 'a' }, of)).status).toBe(200)
    })

    test('403 every write with a key of the role read, which still reads', async () => {
      const made = await app.request('POST', '/api/platform/api-keys', {
        body: { name: 'reader of hashes', projectRef: 'default', role: 'read' },
      })
      const options = { key: made.body.secret as string }
      await raw.hset('h', 'a', '1')
      for (const [path, body] of [...writes, ['/ttl', { key: 'h', fields: ['a'], ttlMs: 1 }] as const]) {
        const answer = await app.request('POST', `/api/platform/redis/${id}/hashes${path}`, { ...options, body })
        expect(answer.status).toBe(403)
      }
      expect(await raw.hgetall('h')).toEqual({ a: '1' })
      expect((await app.request('GET', `/api/platform/redis/${id}/hashes?key=h`, options)).status).toBe(200)
    })
  })

  test('a glob matches here as it does in Redis', async () => {
    // Bytes above 127 are less than others in a class where the server's char is signed.
    const part = fc.constantFrom('a', 'b', 'c', '*', '?', '[', ']', '^', '-', '\\')
    const text = fc.array(fc.constantFrom('a', 'b', 'c', '[', ']', '-', '^', '\\', '*'), { maxLength: 6 })
    const fields = fc.uniqueArray(
      text.map((parts) => parts.join('')),
      { minLength: 1, maxLength: 20 },
    )
    const pattern = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => Buffer.from(parts.join(''), 'latin1'))
    await fc.assert(
      fc.asyncProperty(fields, pattern, async (names, glob) => {
        await raw.del('globs')
        await raw.hset('globs', Object.fromEntries(names.map((name) => [name, '1'])))
        const [, found] = await raw.hscan('globs', 0, 'MATCH', glob as never, 'COUNT', 1_000)
        const theirs = found.filter((_, index) => index % 2 === 0)
        const ours = names.filter((name) => matchesGlob(glob, Buffer.from(name)))
        expect(ours.toSorted()).toEqual(theirs.toSorted())
      }),
      { numRuns: 1_000 },
    )
  })
})

/** Whether the server under test keeps a TTL for each field of a hash; Debian's 7.0 does not. */
async function hasFieldTtls(): Promise<boolean> {
  const { redis } = stores()
  if (redis === null) return false
  const raw = new Redis({ host: redis.host, port: redis.port, password: redis.password, lazyConnect: true })
  try {
    const [known] = (await raw.call('COMMAND', 'INFO', 'HPEXPIRE')) as unknown[]
    return Array.isArray(known)
  } finally {
    raw.disconnect()
  }
}
