import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describeWith('redis', 'GET /redis/{databaseId}/keys', (store) => {
  const total = 2_500
  const binaryKey = Buffer.from([0xff, 0x00, 0xfe, 0x3a])
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 3, lazyConnect: true })
  let app: TestApp
  let id: string
  let otherId: string

  beforeAll(async () => {
    app = await createTestApp()
    const url = (db: number) => store.url.replace(/\/0$/, `/${db}`)
    id = (await app.register({ name: 'keys', type: 'redis', connectionString: url(3) })).id
    otherId = (await app.register({ name: 'other', type: 'redis', connectionString: url(4) })).id
    await raw.flushdb()
    await raw.mset(Object.fromEntries(Array.from({ length: total }, (_, index) => [`many:${index}`, `${index}`])))
    await raw.hset('needle:hash', 'a', '1')
    await raw.set('needle:short', '1', 'PX', 3_600_000)
    await raw.set(binaryKey, 'x')
    await raw.set('naïve: ключ', 'x')
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const list = (query: string, of = id) => app.request('GET', `/api/platform/redis/${of}/keys?${query}`)
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

  test('200 a sparse pattern gives empty pages with has_more, and ends', async () => {
    const pages = await all('pattern=needle:hash&count=10')
    expect(pages.filter(({ data, pagination }) => data.length === 0 && pagination.has_more).length).toBeGreaterThan(5)
    expect(pages.flatMap(({ data }) => data)).toEqual([{ key: 'needle:hash', type: 'hash', ttl_ms: null }])
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
      list(`pattern=many:*&count=10&cursor=${cursor}`, otherId),
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
