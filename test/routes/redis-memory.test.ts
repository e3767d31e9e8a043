import { beforeAll, expect, test } from 'bun:test'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'GET /redis/{databaseId}/memory', (store) => {
  const { app, raw, id, url } = redisApp(store, 3)
  const [small, large, plain] = [600, 300, 100]
  const binary = Buffer.from([0xff, 0x3a, 0x01])

  beforeAll(async () => {
    await raw.pipeline().select(4).flushdb().select(3).flushdb().exec()
    const fill = (prefix: string, count: number, value: string) =>
      raw.mset(Object.fromEntries(Array.from({ length: count }, (_, n) => [`${prefix}${n}`, value])))
    await fill('small:', small, 'x')
    await fill('large:', large, 'x'.repeat(1_000))
    await fill('plain', plain - 1, 'x')
    await raw.set(binary, 'x')
    await raw.hset('biggest', 'a', 'x'.repeat(100_000))
    await raw.pexpire('small:0', 30_000)
    await raw.pexpire('small:1', 7_200_000)
    await raw.pexpire('small:2', 1_000_000_000)
  })

  const report = (query: string, of = id()) => app.request('GET', `/api/platform/redis/${of}/memory?${query}`)
  const total = small + large + plain + 1
  type Share = Readonly<Record<'keys' | 'bytes' | 'estimated_keys' | 'estimated_bytes', number>>
  const sum = (shares: readonly Share[], of: keyof Share) => shares.reduce((all, share) => all + share[of], 0)

  test('200 all keys by prefix, type and TTL, the largest first, and the biggest keys', async () => {
    const { status, body } = await report('samples=10000')
    expect([status, body.sampled, body.db_size, body.complete]).toEqual([200, total, total, true])
    const keysBy = (shares: readonly Share[], name: string): unknown[] =>
      shares.map((share) => [(share as never)[name], share.keys])
    expect(keysBy(body.prefixes, 'prefix')).toEqual([
      ['large:', large],
      [null, plain],
      ['small:', small],
      [{ base64: '/zo=' }, 1],
    ])
    expect(keysBy(body.types, 'type')).toEqual([
      ['string', total - 1],
      ['hash', 1],
    ])
    expect(new Map(keysBy(body.ttls, 'ttl') as [string, number][])).toEqual(
      new Map([
        ['never', total - 3],
        ['minute', 1],
        ['day', 1],
        ['longer', 1],
      ]),
    )
    const size = await raw.memory('USAGE', 'biggest')
    expect(body.biggest[0]).toEqual({ key: 'biggest', type: 'hash', ttl_ms: null, size_bytes: size })
    expect(body.biggest.length).toBe(20)
    for (const shares of [body.prefixes, body.types, body.ttls]) {
      expect(sum(shares, 'bytes')).toBe(body.total.bytes)
      expect(sum(shares, 'estimated_keys')).toBe(total)
    }
    expect(body.other_prefixes.prefixes).toBe(0)
  })

  test('200 a sample stands for all keys, in proportion', async () => {
    const { body } = await report('samples=250')
    expect(body.complete).toBe(false)
    expect(body.sampled).toBeGreaterThanOrEqual(250)
    expect(body.sampled).toBeLessThan(300)
    expect(Math.abs(body.total.estimated_keys - total)).toBeLessThanOrEqual(1)
    const largeShare = body.prefixes.find(({ prefix }: { prefix: unknown }) => prefix === 'large:')
    // 300 of 1,001: a quarter to 36 % in all but one of 10,000 samples of 250.
    expect(largeShare.estimated_keys).toBeGreaterThan(180)
    expect(largeShare.estimated_keys).toBeLessThan(420)
  })

  test('200 what the server says of its memory, as text', async () => {
    const { body } = await report('samples=1')
    expect(body.server.info.used_memory).toMatch(/^\d+$/)
    expect(body.server.stats['total.allocated']).toMatch(/^\d+$/)
    expect(body.server.stats['db.3']['overhead.hashtable.main']).toMatch(/^\d+$/)
    expect(body.server.doctor.length).toBeGreaterThan(20)
  })

  test('200 more than 100 prefixes are summed up, and another separator parts others', async () => {
    const { body } = await report('samples=10000&separator=l')
    expect(new Set(body.prefixes.map(({ prefix }: { prefix: unknown }) => prefix))).toEqual(
      new Set([null, 'l', 'pl', 'smal']),
    )
    await raw.mset(Object.fromEntries(Array.from({ length: 150 }, (_, n) => [`p${n}:x`, 'x'])))
    const many = (await report('samples=10000')).body
    expect([many.prefixes.length, many.other_prefixes.prefixes]).toEqual([100, 54])
    expect(sum([...many.prefixes, many.other_prefixes], 'keys')).toBe(total + 150)
    await raw.del(...Array.from({ length: 150 }, (_, n) => `p${n}:x`))
  })

  test('200 without the rights to INFO: the sample, and null for what the server keeps to itself', async () => {
    const { username, password } = store.limited
    const connectionString = url().replace(/\/\/[^@]*@/, `//${username}:${password}@`)
    const limited = (await app.register({ name: 'memory-limited', type: 'redis', connectionString })).id
    const { status, body } = await report('samples=10000', limited)
    expect([status, body.sampled, body.server]).toEqual([200, total, { info: null, stats: null, doctor: null }])
  })

  test('200 an empty database', async () => {
    const { status, body } = await report('db=4')
    expect([status, body.sampled, body.complete, body.total, body.prefixes, body.biggest]).toEqual([
      200,
      0,
      true,
      { keys: 0, bytes: 0, estimated_keys: 0, estimated_bytes: 0 },
      [],
      [],
    ])
  })

  for (const [field, query] of [
    ['samples', 'samples=0'],
    ['samples', 'samples=10001'],
    ['separator', 'separator='],
    ['db', 'db=16'],
  ] as const) {
    test(`400 ${query}`, async () => {
      const { status, body } = await report(query)
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    })
  }
})
