import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'many keys at once', (store) => {
  const { app, raw, id, registered } = redisApp(store, 3)
  const readOnlyId = registered({ config: { readOnly: true } })
  beforeEach(() => raw.flushdb())

  const path = (of: string, what: string) => `/api/platform/redis/${of}/keys/${what}`
  const remove = (body: unknown, of = id(), query = '') => app.request('POST', path(of, 'delete') + query, { body })
  const expire = (body: unknown, of = id()) => app.request('POST', path(of, 'ttl'), { body })
  const fill = (prefix: string, count: number) =>
    raw.mset(Object.fromEntries(Array.from({ length: count }, (_, n) => [`${prefix}:${n}`, 'x'])))
  const eventsOf = (text: string) =>
    text
      .split('\n\n')
      .filter((block) => block.startsWith('event: '))
      .map((block) => {
        const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? []
        return { event, data: JSON.parse(data ?? 'null') }
      })

  describe('POST /redis/{databaseId}/keys/delete', () => {
    test('200 a list: what was there is deleted, of any type; what was not is absent; a key twice counts once', async () => {
      await raw.set('a', '1')
      await raw.hset('b', 'x', '1')
      await raw.set(Buffer.from([0xff]), 'x')
      await raw.set('kept', '1')
      const { status, body } = await remove({ keys: ['a', 'b', 'a', { base64: '/w==' }, 'absent'] })
      expect([status, body]).toEqual([200, { deleted: 3, absent: 1 }])
      expect(await raw.keys('*')).toEqual(['kept'])
    })

    test('200 a dry run counts and shows up to 20, and deletes nothing', async () => {
      await fill('session', 300)
      await fill('other', 50)
      const { status, body } = await remove({ pattern: 'session:*', dryRun: true })
      expect([status, body]).toEqual([
        200,
        { count: 300, sample: expect.any(Array), scanned: 350, db_size: 350, complete: true, next_cursor: null },
      ])
      expect([body.sample.length, body.sample.every((key: string) => key.startsWith('session:'))]).toEqual([20, true])
      expect((await remove({ pattern: '*', dryRun: true })).body.count).toBe(350)
      expect((await remove({ pattern: 'other:7', dryRun: true })).body).toMatchObject({ count: 1, sample: ['other:7'] })
      expect((await remove({ pattern: 'session:*', type: 'hash', dryRun: true })).body.count).toBe(0)
      expect(await raw.dbsize()).toBe(350)
    })

    test('200 dry runs one after the other count all of a large database; 400 a cursor of another pattern, or without dryRun', async () => {
      const total = 150_000
      const script = "for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'session:' .. n, 'x') end"
      await raw.eval(script, 0, total)
      const request = { pattern: 'session:*', dryRun: true }
      const pages: { count: number; complete: boolean; next_cursor: string | null }[] = []
      do {
        const cursor = pages.at(-1)?.next_cursor
        pages.push((await remove({ ...request, ...(cursor && { cursor }) })).body)
      } while (pages.at(-1)?.next_cursor)
      expect(pages.reduce((sum, { count }) => sum + count, 0)).toBe(total)
      expect(pages.map(({ complete }) => complete)).toEqual([...pages.slice(1).map(() => false), true])
      expect(pages.length).toBeGreaterThan(1)
      const [{ next_cursor: cursor } = { next_cursor: '' }] = pages
      const refused = [await remove({ ...request, pattern: 's*', cursor }), await remove({ keys: ['a'], cursor })]
      expect(refused.map(({ status }) => status)).toEqual([400, 400])
    })

    test('200 a pattern deletes what matches and no more, and tells how far it is', async () => {
      await fill('session', 5_000)
      await fill('kept', 5_000)
      await raw.hset('session:hash', 'a', '1')
      const { status, headers, text } = await remove({ pattern: 'session:*', type: 'string' })
      expect([status, headers.get('content-type')]).toEqual([200, 'text/event-stream'])
      const told = eventsOf(text)
      expect(told[0]?.event).toBe('progress')
      expect(told.at(-1)).toEqual({
        event: 'done',
        data: { scanned: expect.any(Number), db_size: 10_001, deleted: 5_000, ms: expect.any(Number) },
      })
      // SCAN says how many keys it looked at by its COUNT alone.
      expect(told.at(-1)?.data.scanned).toBeWithin(9_000, 10_002)
      expect(told.slice(0, -1).every(({ event }) => event === 'progress')).toBe(true)
      expect(await raw.dbsize()).toBe(5_001)
    })

    test('200 a pattern without glob characters, one of bytes, and everything when that is confirmed', async () => {
      await raw.set('a*b', '1')
      await raw.set('axb', '1')
      await raw.set(Buffer.from([0xff, 0x01]), '1')
      expect(eventsOf((await remove({ pattern: 'a\\*b' })).text)).toEqual([
        { event: 'done', data: { scanned: 1, db_size: 3, deleted: 1, ms: expect.any(Number) } },
      ])
      expect(eventsOf((await remove({ pattern: { base64: '/yo=' } })).text).at(-1)?.data.deleted).toBe(1)
      expect(await raw.keys('*')).toEqual(['axb'])
      for (const pattern of ['*', '**', '?*', '[^q]*']) {
        const { status, body } = await remove({ pattern })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', 'confirm'])
      }
      expect(await raw.dbsize()).toBe(1)
      expect(eventsOf((await remove({ pattern: '*', confirm: true })).text).at(-1)?.data.deleted).toBe(1)
      expect(await raw.dbsize()).toBe(0)
    })

    test('200 of another logical database, and of no other', async () => {
      const other = raw.duplicate({ db: 4 })
      await other.flushdb()
      await other.mset({ 'session:1': 'x', 'session:2': 'x' })
      await fill('session', 10)
      expect(eventsOf((await remove({ pattern: 'session:*' }, id(), '?db=4')).text).at(-1)?.data.deleted).toBe(2)
      expect([await other.dbsize(), await raw.dbsize()]).toEqual([0, 10])
      expect((await remove({ pattern: 'session:*' }, id(), '?db=99')).status).toBe(400)
      other.disconnect()
    })

    test('a caller who leaves stops it within a batch', async () => {
      const total = 30_000
      await fill('session', total)
      const leaving = new AbortController()
      const response = await app.stream('POST', path(id(), 'delete'), {
        body: { pattern: 'session:*' },
        signal: leaving.signal,
      })
      const reader = response.body?.getReader()
      const first = new TextDecoder().decode((await reader?.read())?.value)
      expect(first).toStartWith('event: progress\n')
      leaving.abort()
      await reader?.cancel().catch(() => undefined)
      const left = await settled(() => raw.dbsize())
      expect(left).toBeGreaterThan(total / 2)
      expect(left).toBeLessThan(total)
      expect((await remove({ keys: ['session:x'] })).status).toBe(200)
      expect(await raw.dbsize()).toBe(left)
    })

    test('403 on a database that is read-only, in every form, before anything is deleted; a dry run is allowed', async () => {
      await fill('session', 10)
      for (const body of [{ keys: ['session:1'] }, { pattern: 'session:*' }, { pattern: 'nothing:*' }]) {
        const refused = await remove(body, readOnlyId())
        expect([refused.status, refused.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
      }
      expect((await remove({ pattern: 'session:*', dryRun: true }, readOnlyId())).body.count).toBe(10)
      expect(await raw.dbsize()).toBe(10)
    })

    test('403 with a key that may only read', async () => {
      await fill('session', 10)
      const created = await app.request('POST', '/api/platform/api-keys', {
        body: { name: 'reader', projectRef: 'default', role: 'read' },
      })
      const key = created.body.secret as string
      for (const body of [{ keys: ['session:1'] }, { pattern: 'session:*' }])
        for (const what of ['delete', 'ttl']) {
          const more = what === 'ttl' ? { persist: true } : {}
          const refused = await app.request('POST', path(id(), what), { body: { ...body, ...more }, key })
          expect([refused.status, refused.body.error.code]).toEqual([403, 'FORBIDDEN'])
        }
      expect(await raw.dbsize()).toBe(10)
    })

    test('200 names of random bytes, by list and by pattern', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 30 }), async (bytes) => {
          const key = Buffer.from(bytes)
          const base64 = key.toString('base64')
          await raw.set(key, 'x')
          expect((await remove({ keys: [{ base64 }] })).body).toEqual({ deleted: 1, absent: 0 })
          await raw.set(key, 'x')
          const pattern = Buffer.from([...key].flatMap((byte) => [0x5c, byte]).concat(0x2a))
          const { text } = await remove({ pattern: { base64: pattern.toString('base64') } })
          expect(eventsOf(text).at(-1)?.data.deleted).toBe(1)
        }),
        { numRuns: 25 },
      )
    })
  })

  describe('POST /redis/{databaseId}/keys/ttl', () => {
    test('200 a list: a TTL is set, or removed', async () => {
      await fill('session', 3)
      await raw.set('session:short', 'x', 'PX', 50_000)
      const keys = ['session:0', 'session:1', 'session:short', 'absent']
      expect((await expire({ keys, persist: true })).body).toEqual({ changed: 1, unchanged: 2, absent: 1 })
      expect(await raw.pttl('session:short')).toBe(-1)
      expect((await expire({ keys, ttlMs: 60_000 })).body).toEqual({ changed: 3, unchanged: 0, absent: 1 })
      expect(await raw.pttl('session:0')).toBeGreaterThan(50_000)
      expect(await raw.pttl('session:2')).toBe(-1)
    })

    test('200 a pattern: the same with progress, after a dry run that changes nothing', async () => {
      await fill('session', 1_000)
      await fill('other', 10)
      expect((await expire({ pattern: 'session:*', ttlMs: 60_000, dryRun: true })).body.count).toBe(1_000)
      expect(await raw.pttl('session:0')).toBe(-1)
      const told = eventsOf((await expire({ pattern: 'session:*', ttlMs: 600_000 })).text)
      expect(told.at(-1)).toEqual({
        event: 'done',
        data: { scanned: expect.any(Number), db_size: 1_010, changed: 1_000, ms: expect.any(Number) },
      })
      expect([await raw.pttl('session:999'), await raw.pttl('other:0')]).toEqual([expect.any(Number), -1])
      expect(await raw.pttl('session:999')).toBeGreaterThan(500_000)
      expect(eventsOf((await expire({ pattern: 's*', persist: true })).text).at(-1)?.data.changed).toBe(1_000)
      expect(await raw.pttl('session:999')).toBe(-1)
    })

    test('403 on a database that is read-only', async () => {
      await fill('session', 10)
      for (const body of [{ keys: ['session:1'] }, { pattern: 'session:*' }]) {
        const refused = await expire({ ...body, ttlMs: 1_000 }, readOnlyId())
        expect([refused.status, refused.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
      }
      expect(await raw.pttl('session:1')).toBe(-1)
    })
  })

  const bad: readonly (readonly [string, string, Readonly<Record<string, unknown>>])[] = [
    ['delete', 'keys', {}],
    ['delete', 'keys', { keys: [] }],
    ['delete', 'keys', { keys: ['a'], pattern: 'a*' }],
    ['delete', 'keys', { keys: Array.from({ length: 1_001 }, (_, n) => `${n}`) }],
    ['delete', 'pattern', { pattern: 'x'.repeat(257) }],
    ['delete', 'pattern', { pattern: '' }],
    ['delete', 'type', { keys: ['a'], type: 'hash' }],
    ['delete', 'type', { pattern: 'a*', type: 'no type' }],
    ['delete', 'dryRun', { keys: ['a'], dryRun: true }],
    ['ttl', 'ttlMs', { keys: ['a'] }],
    ['ttl', 'ttlMs', { keys: ['a'], ttlMs: 1, persist: true }],
    ['ttl', 'ttlMs', { keys: ['a'], ttlMs: 0 }],
    ['ttl', 'persist', { keys: ['a'], persist: false }],
  ]
  for (const [what, field, body] of bad) {
    test(`400 ${what} ${JSON.stringify(body).slice(0, 50)}`, async () => {
      const refused = await app.request('POST', path(id(), what), { body })
      expect([refused.status, refused.body.error.code]).toEqual([400, 'VALIDATION_FAILED'])
      expect(refused.body.error.details.map((detail: { field: string }) => detail.field.split('.')[0])).toContain(field)
    })
  }
})

/** A figure once it is the same for a quarter of a second, longer than any rest between batches. */
async function settled(measure: () => Promise<number>): Promise<number> {
  let [last, since] = [await measure(), performance.now()]
  while (performance.now() - since < 250) {
    await Bun.sleep(10)
    const now = await measure()
    if (now !== last) [last, since] = [now, performance.now()]
  }
  return last
}
