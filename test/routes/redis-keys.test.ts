import { beforeAll, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'GET /redis/{databaseId}/keys', (store) => {
  const total = 2_500
  const binaryKey = Buffer.from([0xff, 0x00, 0xfe, 0x3a])
  const { app, raw, id, url, registered } = redisApp(store, 3)
  const otherId = registered({ connectionString: url(4) })

  beforeAll(async () => {
    await raw.pipeline().select(4).flushdb().select(3).flushdb().exec()
    await raw.mset(Object.fromEntries(Array.from({ length: total }, (_, index) => [`many:${index}`, `${index}`])))
    await raw.hset('needle:hash', 'a', '1')
    await raw.set('needle:short', '1', 'PX', 3_600_000)
    await raw.set(binaryKey, 'x')
    await raw.set('naïve: ключ', 'x')
  })

  const list = (query: string, of = id()) => app.request('GET', `/api/platform/redis/${of}/keys?${query}`)
  async function all(query: string) {
    const pages = []
    let cursor = ''
    do {
      const { status, body } = await list(`${query}${cursor}`)
      expect(status).toBe(200)
      pages.push(body)
      if (body.pagination.has_more) expect(body.pagination.next_cursor).toBeString()
      else expect(body.pagination.next_cursor).toBeNull()
      cursor = `&cursor=${encodeURIComponent(body.pagination.next_cursor ?? '')}`
    } while (pages.at(-1).pagination.has_more && pages.length < 1_000)
    return pages
  }

  test('200 every one of 2,500 keys exactly once, in pages', async () => {
    const pages = await all('pattern=many:*&count=100')
    const keys = pages.flatMap(({ data }) => data.map(({ key }: { key: string }) => key))
    expect(keys.length).toBe(total)
    expect(new Set(keys).size).toBe(total)
    expect(pages.length).toBeGreaterThan(20)
    expect(pages[0]).toMatchObject({ db_size: total + 4, scanned: expect.any(Number) })
  })

  test('200 type and TTL of each key: null never expires', async () => {
    const pages = await all('pattern=needle:*&count=1000')
    const data = pages.flatMap((page) => page.data)
    expect(data.toSorted((a, b) => String(a.key).localeCompare(b.key))).toEqual([
      { key: 'needle:hash', type: 'hash', ttl_ms: null },
      { key: 'needle:short', type: 'string', ttl_ms: expect.any(Number) },
    ])
  })

  test('200 the keys of one type', async () => {
    const pages = await all('type=hash&count=1000')
    expect(pages.flatMap((page) => page.data.map(({ key }: { key: string }) => key))).toEqual(['needle:hash'])
  })

  test('200 a sparse pattern is found in one request, however small the page', async () => {
    const pages = await all('pattern=needle:h?sh&count=2')
    expect(pages).toEqual([
      {
        data: [{ key: 'needle:hash', type: 'hash', ttl_ms: null }],
        pagination: { next_cursor: null, has_more: false },
        scanned: total + 4,
        db_size: total + 4,
      },
    ])
  })

  test('200 no page is longer than twice the count and 20, nor than 1,000, and none loses a key', async () => {
    for (const [count, most] of [
      [5, 30],
      [7, 34],
      [250, 520],
      [1_000, 1_000],
    ] as const) {
      const pages = await all(`count=${count}`)
      expect(Math.max(...pages.map(({ data }) => data.length))).toBeLessThanOrEqual(most)
      expect(
        new Set(pages.flatMap(({ data }) => data.map(({ key }: { key: unknown }) => JSON.stringify(key)))).size,
      ).toBe(total + 4)
    }
  })

  test('200 a pattern without glob characters is looked up, with every special character escaped', async () => {
    const special = 'a*b?c[d]e\\f'
    await raw.set(special, 'x')
    const escaped = special.replaceAll(/[*?[\]\\]/g, (character) => `\\${character}`)
    for (const [query, data] of [
      [`pattern=${encodeURIComponent(escaped)}`, [{ key: special, type: 'string', ttl_ms: null }]],
      ['pattern=needle:hash&type=HASH', [{ key: 'needle:hash', type: 'hash', ttl_ms: null }]],
      ['pattern=needle:hash&type=string', []],
      ['pattern=needle', []],
    ] as const) {
      const { body } = await list(query)
      expect(body).toEqual({
        data,
        pagination: { next_cursor: null, has_more: false },
        scanned: 1,
        db_size: total + 5,
      })
    }
    await raw.del(special)
  })

  test('200 what each key takes, when asked', async () => {
    const [page] = await all('pattern=needle:*&memory=true&count=1000')
    for (const { key, size_bytes } of page.data) expect(size_bytes).toBe(await raw.memory('USAGE', key, 'SAMPLES', 5))
    expect(page.data.length).toBe(2)
  })

  test('200 a pattern of bytes that are no text', async () => {
    const find = async (pattern: Buffer) =>
      (await list(`patternBase64=${encodeURIComponent(pattern.toString('base64'))}`)).body.data
    const found = [{ key: { base64: binaryKey.toString('base64') }, type: 'string', ttl_ms: null }]
    expect(await find(binaryKey)).toEqual(found)
    expect(await find(Buffer.from([0xff, 0x2a]))).toEqual(found)
    expect(await find(Buffer.from([0xfd, 0x2a]))).toEqual([])
  })

  test('200 the keys of another logical database, whose cursors are its own', async () => {
    const { body } = await list('count=10')
    expect((await list('count=10&db=3')).body.data.length).toBeGreaterThan(0)
    const cursor = encodeURIComponent(body.pagination.next_cursor)
    const moved = await list(`count=10&db=4&cursor=${cursor}`)
    expect([moved.status, moved.body.error.details[0].field]).toEqual([400, 'cursor'])
    expect((await list('count=10&db=4')).body).toMatchObject({ data: [], db_size: 0 })
  })

  test('200 what Redis itself matches, for patterns of every kind', async () => {
    const other = raw.duplicate({ db: 4 })
    const letters = ['*', '?', '[', ']', '^', '-', '\\', 'a', 'b']
    const word = (maxLength: number) =>
      fc.array(fc.constantFrom(...letters), { minLength: 1, maxLength }).map((all) => all.join(''))
    const words = [
      'a',
      'b',
      'ab',
      '\\',
      '*',
      '[',
      'a*',
      'a\\',
      ']',
      '[a]',
      ...fc.sample(word(3), { numRuns: 100, seed: 7 }),
    ]
    try {
      await other.mset(Object.fromEntries(words.map((name) => [name, 'x'])))
      await fc.assert(
        fc.asyncProperty(word(5), async (pattern) => {
          const [, matched] = await other.scan('0', 'MATCH', pattern, 'COUNT', 10_000)
          const { body } = await list(`pattern=${encodeURIComponent(pattern)}&count=1000`, otherId())
          expect(body.data.map(({ key }: { key: string }) => key).toSorted()).toEqual(matched.toSorted())
        }),
        { numRuns: 150 },
      )
    } finally {
      await other.flushdb()
      other.disconnect()
    }
  })

  test('200 pages of long names are shorter, and lose none', async () => {
    const other = raw.duplicate({ db: 4 })
    const length = 2_000
    try {
      await other.mset(Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`${n}:`.padEnd(length, 'x'), 'x'])))
      const found = new Set<string>()
      let cursor = ''
      do {
        const { body } = await list(`count=1000${cursor}`, otherId())
        expect(body.data.length * length).toBeLessThanOrEqual(1_048_576)
        for (const { key } of body.data) found.add(key)
        cursor = body.pagination.has_more ? `&cursor=${encodeURIComponent(body.pagination.next_cursor)}` : ''
      } while (cursor !== '')
      expect(found.size).toBe(1_500)
    } finally {
      await other.flushdb()
      other.disconnect()
    }
  })

  test('200 names of random bytes, each once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.uint8Array({ maxLength: 30 }), { minLength: 1, maxLength: 20 }),
        async (names) => {
          const distinct = [...new Set(names.map((name) => Buffer.from(name).toString('base64')))]
          const other = raw.duplicate({ db: 4 })
          try {
            await Promise.all(distinct.map((name) => other.set(Buffer.from(name, 'base64'), 'x')))
            const { body } = await list('encoding=base64&count=1000', otherId())
            expect(body.data.map(({ key }: { key: { base64: string } }) => key.base64).toSorted()).toEqual(
              distinct.toSorted(),
            )
            for (const base64 of distinct) {
              const pattern = [...Buffer.from(base64, 'base64')].flatMap((byte) => [0x5c, byte])
              if (pattern.length === 0) continue
              const one = await list(
                `encoding=base64&patternBase64=${encodeURIComponent(Buffer.from(pattern).toString('base64'))}`,
                otherId(),
              )
              expect(one.body.data.map(({ key }: { key: unknown }) => key)).toEqual([{ base64 }])
            }
          } finally {
            await other.flushdb()
            other.disconnect()
          }
        },
      ),
      { numRuns: 20 },
    )
  })

  test('200 a key that is no UTF-8 as base64, any key as base64 when asked', async () => {
    const keys = async (query: string) =>
      (await all(query)).flatMap((page) => page.data.map(({ key }: { key: unknown }) => key))
    expect(await keys(`pattern=${encodeURIComponent('?\0*')}&count=1000`)).toEqual([
      { base64: binaryKey.toString('base64') },
    ])
    expect(await keys(`pattern=${encodeURIComponent('naïve*')}&count=1000`)).toEqual(['naïve: ключ'])
    expect(await keys('pattern=needle:hash&count=1000&encoding=base64')).toEqual([
      { base64: Buffer.from('needle:hash').toString('base64') },
    ])
  })

  test('400 a cursor of another pattern, type or database, a forged one and one of Redis itself', async () => {
    const { body } = await list('pattern=many:*&count=10')
    const cursor = encodeURIComponent(body.pagination.next_cursor)
    expect(body.pagination.has_more).toBe(true)
    const answers = await Promise.all([
      list(`pattern=other:*&count=10&cursor=${cursor}`),
      list(`pattern=many:*&type=string&count=10&cursor=${cursor}`),
      list(`pattern=many:*&count=10&cursor=${cursor}`, otherId()),
      list(`pattern=many:*&count=10&cursor=${cursor}x`),
      list(`pattern=many:*&count=10&cursor=${cursor.slice(0, -2)}AA`),
      list('pattern=many:*&count=10&cursor=0'),
      list('pattern=many:*&count=10&cursor=12345'),
    ])
    for (const { status, body: refused } of answers) {
      expect([status, refused.error.code]).toEqual([400, 'VALIDATION_FAILED'])
      expect(refused.error.details[0].field).toBe('cursor')
    }
    expect((await list(`pattern=many:*&count=20&cursor=${cursor}`)).status).toBe(200)
  })

  const bad: readonly (readonly [string, string, string])[] = [
    ['count', 'count=0', 'count'],
    ['count', 'count=1001', 'count'],
    ['count', 'count=1.5', 'count'],
    ['count', 'count=many', 'count'],
    ['a pattern above 256 bytes', `pattern=${'é'.repeat(129)}`, 'pattern'],
    ['an empty pattern', 'pattern=', 'pattern'],
    ['a pattern in both forms', 'pattern=a&patternBase64=YQ==', 'patternBase64'],
    ['a pattern that is no base64', 'patternBase64=a:b', 'patternBase64'],
    ['memory that is neither', 'memory=maybe', 'memory'],
    ['a database that is none', 'db=x', 'db'],
    ['a type that is no name', 'type=a%20b', 'type'],
    ['an encoding that is none', 'encoding=hex', 'encoding'],
  ]
  for (const [name, query, field] of bad) {
    test(`400 ${name}: ${query.slice(0, 20)}`, async () => {
      const { status, body } = await list(query)
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    })
  }

  test('200 a pattern of 256 bytes, and one with the longest run of stars', async () => {
    expect((await list(`pattern=${'é'.repeat(128)}`)).status).toBe(200)
    expect((await list(`pattern=${encodeURIComponent('*'.repeat(256))}&count=10`)).status).toBe(200)
  })

  test('404 an unknown database, and one of another engine', async () => {
    const unknown = await list('', crypto.randomUUID())
    expect([unknown.status, unknown.body.error.code]).toEqual([404, 'DB_NOT_FOUND'])
    expect((await list('', 'not-a-uuid')).status).toBe(400)
  })
})
