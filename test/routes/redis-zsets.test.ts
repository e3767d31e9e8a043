import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

interface Scored {
  readonly member: string
  readonly score: string
}

describeWith('redis', 'sorted sets', (store) => {
  const { app, raw, id, registered } = redisApp(store, 9, { env: { MAX_VALUE_BYTES: '65536' } })
  const readOnlyId = registered({ config: { readOnly: true } })
  beforeEach(() => raw.flushdb())

  type Query = Readonly<Record<string, string | number | boolean>>
  const get = (query: Query, of = id()) =>
    app.request('GET', `/api/platform/redis/${of}/zsets?${new URLSearchParams(query as Record<string, string>)}`)
  const post = (path: string, body: unknown, of = id(), query = '') =>
    app.request('POST', `/api/platform/redis/${of}/zsets/${path}${query}`, { body })
  const base64 = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })
  const urlText = (data: Uint8Array) => base64(data).base64

  async function all(query: Query, between?: (page: number) => Promise<unknown>) {
    const pages = []
    let cursor: string | null = null
    do {
      const { status, body } = await get(cursor === null ? query : { ...query, cursor })
      expect(status).toBe(200)
      pages.push(body)
      cursor = body.pagination.next_cursor
      await between?.(pages.length)
    } while (cursor !== null && pages.length < 2_000)
    return pages
  }
  const itemsOf = (pages: readonly { data: readonly Scored[] }[]) => pages.flatMap(({ data }) => data)
  const membersOf = (pages: readonly { data: readonly Scored[] }[]) => itemsOf(pages).map(({ member }) => member)
  const fill = async (count: number, score = (at: number) => String(at)) => {
    const pairs = Array.from({ length: count }, (_, at) => [score(at), `m${String(at).padStart(5, '0')}`])
    await raw.zadd('z', ...pairs.flat())
    return pairs.map(([, member]) => member as string)
  }

  describe('GET /redis/{databaseId}/zsets', () => {
    for (const size of [50, 2_500]) {
      test(`200 every one of ${size} members once, in order, each way there is`, async () => {
        const members = await fill(size, (at) => String(Math.floor(at / 7)))
        const count = size / 10
        const ways: readonly Query[] = [{}, { by: 'score' }, { by: 'score', min: '0', max: '1e9' }]
        for (const way of ways) {
          expect(membersOf(await all({ key: 'z', count, ...way }))).toEqual(members)
          expect(membersOf(await all({ key: 'z', count, ...way, reverse: true }))).toEqual(members.toReversed())
        }
        const scanned = await all({ key: 'z', count, by: 'pattern' })
        expect([...new Set(membersOf(scanned))].toSorted()).toEqual(members)
        expect(membersOf(await all({ key: 'z', by: 'pattern', pattern: 'm0000?' })).toSorted()).toEqual(
          members.slice(0, 10),
        )
        expect(scanned[0]).toMatchObject({ key: 'z', length: size })
      })
    }

    test('200 from a rank on', async () => {
      const members = await fill(20)
      expect(membersOf(await all({ key: 'z', start: 15, count: 2 }))).toEqual(members.slice(15))
      expect(membersOf(await all({ key: 'z', start: 15, count: 2, reverse: true }))).toEqual(
        members.toReversed().slice(15),
      )
      expect((await get({ key: 'z', start: 20 })).body).toMatchObject({ data: [], length: 20 })
    })

    test('200 a range of scores is the server’s own, for any bounds', async () => {
      const score = fc.oneof(
        fc.integer({ min: -3, max: 3 }).map(String),
        fc.constantFrom('-inf', '+inf', '0.5', '-0', '1e308', '5e-324'),
      )
      const bound = fc.tuple(fc.boolean(), score).map(([open, text]) => `${open ? '(' : ''}${text}`)
      const members = fc.array(fc.tuple(score, fc.string({ minLength: 1, maxLength: 2 })), {
        minLength: 1,
        maxLength: 20,
      })
      await fc.assert(
        fc.asyncProperty(
          members,
          bound,
          bound,
          fc.boolean(),
          fc.integer({ min: 1, max: 4 }),
          async (pairs, min, max, reverse, count) => {
            await raw.del('z')
            await raw.zadd('z', ...pairs.flat())
            const found = itemsOf(await all({ key: 'z', by: 'score', min, max, reverse, count }))
            const truth = reverse
              ? await raw.zrevrangebyscore('z', max, min, 'WITHSCORES')
              : await raw.zrangebyscore('z', min, max, 'WITHSCORES')
            expect(found.flatMap(({ member, score }) => [member, score])).toEqual(truth)
          },
        ),
        { numRuns: 100 },
      )
    }, 30_000)

    test('200 a range of bytes is the server’s own, for any bounds', async () => {
      const bytes = fc.uint8Array({ maxLength: 3, max: 4 }).map((part) => Buffer.from(part))
      const bound = fc.oneof(
        fc.constantFrom('-', '+').map((sign) => [sign, Buffer.from(sign)] as const),
        fc
          .tuple(fc.constantFrom('[', '('), bytes)
          .map(([sign, part]) => [sign + urlText(part), Buffer.concat([Buffer.from(sign), part])] as const),
      )
      const members = fc.array(bytes, { minLength: 1, maxLength: 20 })
      await fc.assert(
        fc.asyncProperty(
          members,
          bound,
          bound,
          fc.boolean(),
          fc.integer({ min: 1, max: 4 }),
          async (parts, min, max, reverse, count) => {
            await raw.del('z')
            await raw.zadd('z', ...parts.flatMap((part) => ['0', part]))
            const way = { by: 'lex', encoding: 'base64', min: min[0], max: max[0], reverse, count }
            const found = itemsOf(await all({ key: urlText(Buffer.from('z')), ...way }))
            const truth = reverse
              ? await raw.zrevrangebylexBuffer('z', max[1], min[1])
              : await raw.zrangebylexBuffer('z', min[1], max[1])
            expect(found.map(({ member }) => member as unknown)).toEqual(truth.map(base64))
          },
        ),
        { numRuns: 100 },
      )
    }, 30_000)

    test('200 what stays is never lost while others come and go, by score and by bytes', async () => {
      for (const by of ['score', 'lex']) {
        await raw.del('z')
        const members = await fill(100, (at) => (by === 'lex' ? '0' : String(Math.floor(at / 4))))
        const gone = new Set<string>()
        const pages = await all({ key: 'z', by, count: 7 }, async (page) => {
          await raw.zadd('z', by === 'lex' ? '0' : '-1', `a new first one ${page}`)
          const [first, last] = [members[page] as string, members[page * 7 - 1] as string]
          for (const member of [first, last]) gone.add(member)
          await raw.zrem('z', first, last)
        })
        const found = new Set(membersOf(pages))
        expect(members.filter((member) => !found.has(member) && !gone.has(member))).toEqual([])
      }
    })

    test('200 pages on although the last member is longer than a URL may be', async () => {
      const long = Array.from({ length: 5 }, (_, at) => `${at}:${'x'.repeat(20_000)}`)
      await raw.zadd('z', ...long.flatMap((member) => ['1', member]))
      for (const by of ['rank', 'score', 'lex']) expect(membersOf(await all({ key: 'z', by, count: 2 }))).toEqual(long)
      expect(new Set(membersOf(await all({ key: 'z', by: 'pattern', count: 1 })))).toEqual(new Set(long))
    })

    test('200 a small range beside members that no answer could hold', async () => {
      await raw.zadd('z', 1, 'small', 2, 'other')
      for (let at = 0; at < 11; at++) await raw.zadd('z', 10, `${at}:${'x'.repeat(1_000_000)}`)
      expect(membersOf([(await get({ key: 'z', by: 'score', max: '2' })).body])).toEqual(['small', 'other'])
      const { text, body } = await get({ key: 'z' })
      expect([body.data.length < 13, body.pagination.has_more, text.length < 9 << 20]).toEqual([true, true, true])
      expect(new Set(membersOf(await all({ key: 'z' }))).size).toBe(13)
    })

    test('200 one member with its score and ranks, or none', async () => {
      await fill(5)
      const { body } = await get({ key: 'z', member: 'm00001', by: 'score', min: '4' })
      expect(body).toEqual({
        key: 'z',
        data: [{ member: 'm00001', score: '1', rank: 1, reverse_rank: 3 }],
        pagination: { next_cursor: null, has_more: false },
        length: 5,
      })
      expect((await get({ key: 'z', member: 'm0000?' })).body.data).toEqual([])
    })

    test('200 a member above the cap is cut, and says so', async () => {
      await raw.zadd('z', 1, 'x'.repeat(70_000))
      const cut = { member: 'x'.repeat(65_536), score: '1', truncated: true, size_bytes: 70_000 }
      for (const by of ['rank', 'score', 'lex', 'pattern'])
        expect((await get({ key: 'z', by })).body.data).toEqual([cut])
    })

    test('404 a key that is not there, 400 one of another type with the engine’s code', async () => {
      await raw.set('text', 'x')
      for (const query of [{}, { by: 'score' }, { by: 'lex' }, { by: 'pattern' }, { member: 'a' }]) {
        const absent = await get({ key: 'absent', ...query })
        expect([absent.status, absent.body.error.code]).toEqual([404, 'NOT_FOUND'])
        const wrong = await get({ key: 'text', ...query })
        expect([wrong.status, wrong.body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      }
    })

    test('400 a cursor of another key, way, bound, direction or database, and a forged one', async () => {
      await fill(1_000)
      const asked = { key: 'z', by: 'score', min: '5', count: 10 }
      const cursor = (await get(asked)).body.pagination.next_cursor
      const answers = await Promise.all([
        get({ ...asked, key: 'y', cursor }),
        get({ ...asked, by: 'rank', cursor }),
        get({ ...asked, min: '6', cursor }),
        get({ ...asked, reverse: true, cursor }),
        get({ ...asked, db: 7, cursor }),
        get({ ...asked, cursor }, readOnlyId()),
        get({ ...asked, cursor: `${cursor.slice(0, -2)}AA` }),
      ])
      for (const { status, body } of answers) expect([status, body.error.details[0].field]).toEqual([400, 'cursor'])
      expect((await get({ ...asked, count: 20, cursor })).status).toBe(200)
    })

    const bad = [
      [{ count: 0 }, 'count'],
      [{ count: 1_001 }, 'count'],
      [{ start: -1 }, 'start'],
      [{ by: 'size' }, 'by'],
      [{ by: 'score', min: 'low' }, 'min'],
      [{ by: 'score', max: '[5' }, 'max'],
      [{ by: 'score', max: '' }, 'max'],
      [{ by: 'score', min: '0x10' }, 'min'],
      [{ by: 'score', min: 'nan' }, 'min'],
      [{ by: 'lex', min: 'a' }, 'min'],
      [{ by: 'lex', max: '+a' }, 'max'],
      [{ by: 'lex', max: '' }, 'max'],
      [{ by: 'lex', min: '[!', key: 'eg==', encoding: 'base64' }, 'min'],
      [{ pattern: 'é'.repeat(129) }, 'pattern'],
      [{ reverse: 'maybe' }, 'reverse'],
      [{ db: 99 }, 'db'],
    ] as const
    for (const [query, field] of bad) {
      test(`400 ${JSON.stringify(query).slice(0, 50)} names ${field}`, async () => {
        const { status, body } = await get({ key: 'z', ...query })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }
  })

  describe('POST /redis/{databaseId}/zsets/…', () => {
    test('200 any bytes and any doubles come back as they were, -0 and the infinities too', async () => {
      const bytes = fc.uint8Array({ maxLength: 32 })
      const score = fc.oneof(fc.double({ noNaN: true }), fc.constantFrom(-0, 1e308, Infinity, -Infinity, 2 ** 53 + 2))
      const asSent = (value: number, asText: boolean) => {
        if (Number.isFinite(value)) return asText ? (Object.is(value, -0) ? '-0' : String(value)) : value
        return value > 0 ? 'inf' : '-inf'
      }
      const asRead = (text: string) => Number(text.replace(/inf$/, 'Infinity'))
      const members = fc.uniqueArray(fc.tuple(bytes, score, fc.boolean()), {
        minLength: 1,
        maxLength: 10,
        selector: ([member]) => urlText(member),
      })
      await fc.assert(
        fc.asyncProperty(bytes, members, async (name, entries) => {
          await raw.flushdb()
          const key = base64(name)
          // JSON.stringify writes -0 as 0, so that goes as text.
          const sent = entries.map(([member, value, asText]) => ({
            member: base64(member),
            score: asSent(value, asText || Object.is(value, -0)),
          }))
          expect((await post('add', { key, members: sent })).body).toEqual({ key, changed: entries.length })
          const { body } = await get({ key: key.base64, encoding: 'base64', by: 'score' })
          const found = new Map<string, string>(
            body.data.map((entry: { member: { base64: string }; score: string }) => [entry.member.base64, entry.score]),
          )
          // The server itself keeps no sign of 0 in a small sorted set.
          expect(entries.map(([member]) => asRead(found.get(urlText(member)) ?? '') + 0)).toEqual(
            entries.map(([, value]) => value + 0),
          )
          for (const [member] of entries)
            expect(found.get(urlText(member))).toBe(
              (await raw.zscore(Buffer.from(name), Buffer.from(member))) as string,
            )
        }),
        { numRuns: 60 },
      )
    }, 30_000)

    test('200 -0 stays -0 where the server keeps it, as a JSON number and as text', async () => {
      const [first, second] = ['a'.repeat(100), 'b'.repeat(100)]
      await post('add', `{"key":"z","members":[{"member":"${first}","score":-0},{"member":"${second}","score":"-0"}]}`)
      expect((await get({ key: 'z' })).body.data).toEqual([
        { member: first, score: '-0' },
        { member: second, score: '-0' },
      ])
    })

    test('200 nx, xx, gt, lt and ch do what ZADD does', async () => {
      const add = async (score: number, flags: Readonly<Record<string, boolean>>) =>
        (await post('add', { key: 'z', members: [{ member: 'a', score }], ...flags })).body.changed
      expect(await add(1, { xx: true })).toBe(0)
      expect(await add(5, { nx: true })).toBe(1)
      expect(await add(9, { nx: true, ch: true })).toBe(0)
      expect(await add(6, { xx: true })).toBe(0)
      expect(await add(7, { gt: true, ch: true })).toBe(1)
      expect(await add(3, { gt: true, ch: true })).toBe(0)
      expect(await add(2, { lt: true, xx: true, ch: true })).toBe(1)
      expect(await raw.zscore('z', 'a')).toBe('2')
    })

    test('200 increment answers the new score; 400 what has no sum', async () => {
      const by = async (value: number | string) => (await post('increment', { key: 'z', member: 'a', by: value })).body
      expect(await by(1.5)).toEqual({ key: 'z', member: 'a', score: '1.5' })
      expect((await by('-3')).score).toBe('-1.5')
      expect((await by('inf')).score).toBe('inf')
      expect((await by('-inf')).error).toMatchObject({ code: 'DB_QUERY_ERROR' })
      const encoded = await post('increment', { key: 'z', member: 'b', by: 1 }, id(), '?encoding=base64')
      expect(encoded.body).toEqual({ key: { base64: 'eg==' }, member: { base64: 'Yg==' }, score: '1' })
    })

    test('200 remove takes members, a range of scores, of bytes or of ranks', async () => {
      await fill(20)
      const remove = async (what: object) => (await post('remove', { key: 'z', ...what })).body.removed
      expect(await remove({ members: ['m00000', 'absent'] })).toBe(1)
      expect(await remove({ score: { min: '(1', max: '3' } })).toBe(2)
      expect(await remove({ rank: { start: -2, stop: -1 } })).toBe(2)
      expect(await raw.zrange('z', '0', '-1')).toEqual([
        'm00001',
        ...Array.from({ length: 14 }, (_, at) => `m${String(at + 4).padStart(5, '0')}`),
      ])
      await raw.del('z')
      await raw.zadd('z', 0, Buffer.from([0xff]), 0, 'a')
      expect(await remove({ lex: { min: { base64: Buffer.from([0x5b, 0xff]).toString('base64') }, max: '+' } })).toBe(1)
      expect(await raw.zrange('z', '0', '-1')).toEqual(['a'])
      expect((await post('remove', { key: 'absent', members: ['a'] })).body).toEqual({ key: 'absent', removed: 0 })
    })

    test('200 another logical database by db', async () => {
      await post('add', { key: 'only in 7', members: [{ member: 'a', score: 1 }] }, id(), '?db=7')
      expect((await get({ key: 'only in 7', db: 7 })).body.length).toBe(1)
      expect((await get({ key: 'only in 7' })).status).toBe(404)
      await post('remove', { key: 'only in 7', members: ['a'] }, id(), '?db=7')
    })

    const one = [{ member: 'a', score: 1 }]
    const bad = [
      ['add', { members: [] }, 'members'],
      ['add', { members: [{ member: 'a' }] }, 'members.0.score'],
      ['add', { members: [{ member: 'a', score: 'NaN' }] }, 'members.0.score'],
      ['add', { members: [{ member: 'a', score: null }] }, 'members.0.score'],
      ['add', { members: Array.from({ length: 501 }, () => one[0]) }, 'members'],
      ['add', { members: one, nx: true, gt: true }, 'nx'],
      ['add', { members: one, gt: true, lt: true }, 'gt'],
      ['increment', { member: 'a', by: '1,5' }, 'by'],
      ['remove', {}, 'members'],
      ['remove', { members: ['a'], rank: { start: 0, stop: 1 } }, 'members'],
      ['remove', { score: { min: '[1', max: '2' } }, 'score.min'],
      ['remove', { lex: { min: 'a', max: '+' } }, 'lex.min'],
      ['remove', { rank: { start: 0.5, stop: 1 } }, 'rank.start'],
    ] as const
    for (const [path, body, field] of bad) {
      test(`400 ${path} ${JSON.stringify(body).slice(0, 60)} names ${field}`, async () => {
        const answer = await post(path, { key: 'z', ...body })
        expect([answer.status, answer.body.error.details[0].field]).toEqual([400, field])
      })
    }

    const writes = {
      add: { members: one },
      increment: { member: 'kept', by: 1 },
      remove: { members: ['kept'] },
    }
    for (const [path, body] of Object.entries(writes)) {
      test(`400 ${path} on another type; 403 on a read-only database, and by a key that may only read`, async () => {
        await raw.set('text', 'x')
        expect((await post(path, { key: 'text', ...body })).body.error.details).toEqual({ code: 'WRONGTYPE' })
        await raw.zadd('z', 1, 'kept')
        for (const query of ['', '?db=7']) {
          const refused = await post(path, { key: 'z', ...body }, readOnlyId(), query)
          expect([refused.status, refused.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
        }
        const made = await app.request('POST', '/api/platform/api-keys', {
          body: { name: `reader-${path}`, projectRef: 'default', role: 'read' },
        })
        const options = { body: { key: 'z', ...body }, key: made.body.secret }
        const byReader = await app.request('POST', `/api/platform/redis/${id()}/zsets/${path}`, options)
        expect([byReader.status, byReader.body.error.code]).toEqual([403, 'FORBIDDEN'])
        expect((await get({ key: 'z' }, readOnlyId())).body.data).toEqual([{ member: 'kept', score: '1' }])
      })
    }
  })
})
