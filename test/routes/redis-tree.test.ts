import { beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'GET /redis/{databaseId}/keys/tree', (store) => {
  const { app, raw, id } = redisApp(store, 3)
  const users = 400

  beforeAll(async () => {
    for (let n = 0; n < users; n++) {
      await raw.hset(`user:${n}`, 'a', '1')
      await raw.set(`user:${n}:name`, 'x')
    }
    await raw.set('user:', 'the prefix itself')
    await raw.set('plain', 'x')
    await raw.set('a*b:c', 'x')
    await raw.set('axb:c', 'x')
    await raw.sadd('deep::x', '1')
    await raw.set(Buffer.from([0xff, 0x3a, 0xfe]), 'x')
  }, 30_000)

  const tree = (query: string) => app.request('GET', `/api/platform/redis/${id()}/keys/tree?${query}`)

  test('200 the root: names with counts, types and whether a key is there, in the order of their bytes', async () => {
    const { status, body } = await tree('')
    expect([status, body]).toEqual([
      200,
      {
        data: [
          { name: 'a*b', level: 1, keys: 1, is_key: false, types: { string: 1 } },
          { name: 'axb', level: 1, keys: 1, is_key: false, types: { string: 1 } },
          { name: 'deep', level: 1, keys: 1, is_key: false, types: { set: 1 } },
          { name: 'plain', level: 1, keys: 1, is_key: true, types: { string: 1 } },
          { name: 'user', level: 1, keys: users * 2 + 1, is_key: false, types: { hash: users, string: users + 1 } },
          { name: { base64: '/w==' }, level: 1, keys: 1, is_key: false, types: { string: 1 } },
        ],
        pagination: { next_cursor: null, has_more: false },
        complete: true,
        prefix_is_key: false,
        scanned: users * 2 + 6,
        db_size: users * 2 + 6,
      },
    ])
  })

  test('200 below a prefix, which may be a key itself; depth shows further levels', async () => {
    const { body } = await tree('prefix=user:')
    expect([body.complete, body.prefix_is_key, body.data.length]).toEqual([true, true, users])
    expect(body.data[0]).toEqual({ name: 'user:0', level: 1, keys: 2, is_key: true, types: { hash: 1, string: 1 } })
    const deep = (await tree('prefix=user:&depth=2')).body
    expect(deep.data.slice(0, 2)).toEqual([
      { name: 'user:0', level: 1, keys: 2, is_key: true, types: { hash: 1, string: 1 } },
      { name: 'user:0:name', level: 2, keys: 1, is_key: true, types: { string: 1 } },
    ])
    expect(deep.data.length).toBe(users * 2)
    expect((await tree('prefix=deep:&depth=5')).body.data.map(({ name }: { name: string }) => name)).toEqual([
      'deep:',
      'deep::x',
    ])
  })

  test('200 a prefix with glob characters is taken as it is, one of bytes as base64', async () => {
    expect((await tree(`prefix=${encodeURIComponent('a*b:')}`)).body.data).toEqual([
      { name: 'a*b:c', level: 1, keys: 1, is_key: true, types: { string: 1 } },
    ])
    const bytes = encodeURIComponent(Buffer.from([0xff, 0x3a]).toString('base64'))
    expect((await tree(`prefix=${bytes}&encoding=base64`)).body.data).toEqual([
      { name: { base64: '/zr+' }, level: 1, keys: 1, is_key: true, types: { string: 1 } },
    ])
    expect((await tree('separator=x')).body.data.map(({ name }: { name: unknown }) => name)).toContain('a')
  })

  describe('more than 1,000 names', () => {
    const many = 3_000
    beforeAll(async () => {
      await raw.mset(Object.fromEntries(Array.from({ length: many }, (_, n) => [`wide:${n}`, 'x'])))
    })

    test('200 come in pages that add up to all of them', async () => {
      const counts = new Map<string, number>()
      let cursor = ''
      let pages = 0
      do {
        const { status, body } = await tree(`prefix=wide:${cursor}`)
        expect([status, body.complete, body.data.length <= 1_000]).toEqual([200, false, true])
        for (const { name, keys } of body.data) counts.set(name, (counts.get(name) ?? 0) + keys)
        cursor = body.pagination.has_more ? `&cursor=${encodeURIComponent(body.pagination.next_cursor)}` : ''
        pages++
      } while (cursor !== '' && pages < 100)
      expect([counts.size, [...counts.values()].every((keys) => keys === 1)]).toEqual([many, true])
    })

    test('400 a cursor of another prefix, separator, depth or database, and a forged one', async () => {
      const { next_cursor } = (await tree('prefix=wide:')).body.pagination
      const cursor = encodeURIComponent(next_cursor)
      for (const query of ['prefix=user:', 'prefix=wide:&depth=2', 'prefix=wide:&separator=x', 'prefix=wide:&db=4']) {
        const { status, body } = await tree(`${query}&cursor=${cursor}`)
        expect([status, body.error.details[0].field]).toEqual([400, 'cursor'])
      }
      expect((await tree('prefix=wide:&cursor=0')).status).toBe(400)
    })
  })

  test('200 names of random bytes: as many keys as there are, each at its name', async () => {
    const other = raw.duplicate({ db: 4 })
    await other.flushdb()
    const byte = fc.oneof(fc.constant(0x3a), fc.integer({ min: 0, max: 255 }))
    const names = fc.array(fc.array(byte, { maxLength: 12 }), { minLength: 1, maxLength: 15 })
    try {
      await fc.assert(
        fc.asyncProperty(names, async (given) => {
          await other.flushdb()
          const keys = [...new Set(given.map((name) => Buffer.from(name).toString('base64')))]
          await Promise.all(keys.map((key) => other.set(Buffer.from(key, 'base64'), 'x')))
          const { body } = await tree('db=4&encoding=base64')
          const here = new Map<string, number>()
          const inner = keys.map((key) => Buffer.from(key, 'base64')).filter((key) => key.length > 0)
          for (const key of inner) {
            const at = key.indexOf(':')
            const name = key.subarray(0, at === -1 ? key.length : at).toString('base64')
            here.set(name, (here.get(name) ?? 0) + 1)
          }
          const shown = body.data.map((node: { name: { base64: string }; keys: number }) => [
            node.name.base64,
            node.keys,
          ])
          expect(new Map(shown)).toEqual(here)
          expect(body.prefix_is_key).toBe(inner.length < keys.length)
        }),
        { numRuns: 25 },
      )
    } finally {
      await other.flushdb()
      other.disconnect()
    }
  })

  const bad: readonly (readonly [string, string])[] = [
    ['separator', 'separator='],
    ['separator', `separator=${'é'.repeat(9)}`],
    ['depth', 'depth=0'],
    ['depth', 'depth=6'],
    ['prefix', `prefix=${'x'.repeat(256)}`],
    ['prefix', `prefix=${encodeURIComponent('*'.repeat(128))}`],
    ['prefix', 'prefix=a:b&encoding=base64'],
    ['db', 'db=99'],
  ]
  for (const [field, query] of bad) {
    test(`400 ${query.slice(0, 40)}`, async () => {
      const { status, body } = await tree(query)
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    })
  }
})
