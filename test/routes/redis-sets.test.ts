import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { pageByName, type Position } from '#src/engines/redis/types/set-pages.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'sets', (store) => {
  const { app, raw, id, registered } = redisApp(store, 8, { env: { MAX_VALUE_BYTES: '65536' } })
  const readOnlyId = registered({ config: { readOnly: true } })
  beforeEach(() => raw.flushdb())

  const get = (query: Readonly<Record<string, string | number>>, of = id(), path = 'sets') =>
    app.request('GET', `/api/platform/redis/${of}/${path}?${new URLSearchParams(query as Record<string, string>)}`)
  const post = (path: string, body: unknown, of = id(), query = '') =>
    app.request('POST', `/api/platform/redis/${of}/sets/${path}${query}`, { body })
  const base64 = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })

  /** Every page; `between` runs after each. */
  async function all(query: Readonly<Record<string, string | number>>, between?: () => Promise<unknown>) {
    const pages = []
    let cursor: string | null = null
    do {
      const { status, body } = await get(cursor === null ? query : { ...query, cursor })
      expect(status).toBe(200)
      pages.push(body)
      expect(body.pagination.has_more).toBe(body.pagination.next_cursor !== null)
      cursor = body.pagination.next_cursor
      await between?.()
    } while (cursor !== null && pages.length < 2_000)
    return pages
  }
  const membersOf = (pages: readonly { data: readonly { member: string }[] }[]) =>
    pages.flatMap(({ data }) => data.map(({ member }) => member))
  const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at))
  const names = (count: number) => Array.from({ length: count }, (_, at) => `member ${at}`)

  describe('GET /redis/{databaseId}/sets', () => {
    const kinds = [
      ['a small one', 'listpack', names(30)],
      ['one of integers', 'intset', numbers(400)],
      ['a large one', 'hashtable', names(3_000)],
    ] as const
    for (const [name, , members] of kinds) {
      for (const count of [1_000, 7]) {
        test(`200 ${name}: every member once, in pages of ${count}`, async () => {
          const some = members.slice(0, 70 * count)
          await raw.sadd('set', ...some)
          const pages = await all({ key: 'set', count })
          expect(membersOf(pages).toSorted()).toEqual([...some].toSorted())
          expect(Math.max(...pages.map(({ data }) => data.length))).toBeLessThanOrEqual(Math.min(1_000, count + 10))
          expect(pages[0]).toMatchObject({ key: 'set', length: some.length })
        })
      }
    }

    test('200 what stays is never lost while others come and go, also when the server stores it otherwise', async () => {
      await raw.sadd('set', ...numbers(200))
      let round = 0
      const pages = await all({ key: 'set', count: 10 }, async () => {
        round += 1
        if (round === 3) await raw.srem('set', ...numbers(40).filter((number) => Number(number) % 2 === 1))
        if (round === 6) await raw.sadd('set', ...names(500))
      })
      const found = new Set(membersOf(pages))
      const stayed = numbers(200).filter((number) => Number(number) >= 40 || Number(number) % 2 === 0)
      expect(stayed.filter((number) => !found.has(number))).toEqual([])
    })

    test('200 only members like the pattern, however few, in bounded pages', async () => {
      await raw.sadd('set', ...names(20_000), 'needle')
      const pages = await all({ key: 'set', pattern: 'need*', count: 10 })
      expect(membersOf(pages)).toEqual(['needle'])
      expect(pages.length).toBeGreaterThan(1)
      expect(membersOf(await all({ key: 'set', pattern: 'member 1999?', count: 1_000 })).length).toBe(10)
    })

    test('200 one member or none, exactly, whatever the pattern', async () => {
      await raw.sadd('set', 'a*', 'ab')
      const one = (member: string) => get({ key: 'set', member, pattern: 'x' })
      const pagination = { next_cursor: null, has_more: false }
      expect((await one('a*')).body).toEqual({ key: 'set', data: [{ member: 'a*' }], pagination, length: 2 })
      expect((await one('a')).body).toEqual({ key: 'set', data: [], pagination, length: 2 })
      const encoded = await get({ key: 'c2V0', member: 'YWI=', encoding: 'base64' })
      expect(encoded.body).toMatchObject({ key: { base64: 'c2V0' }, data: [{ member: { base64: 'YWI=' } }] })
    })

    test('200 a member above the cap is cut between two characters, and says so', async () => {
      await raw.sadd('set', 'é'.repeat(40_000), `x${'é'.repeat(40_000)}`, Buffer.alloc(65_537, 0xff))
      const { body } = await get({ key: 'set', count: 1 })
      const pages = await all({ key: 'set', count: 1_000 })
      const data = pages.flatMap((page) => page.data)
      expect(data.find(({ member }) => member === 'é'.repeat(32_768))).toMatchObject({
        truncated: true,
        size_bytes: 80_000,
      })
      expect(data.find(({ member }) => member === `x${'é'.repeat(32_767)}`)).toMatchObject({ size_bytes: 80_001 })
      expect(data.find(({ size_bytes }) => size_bytes === 65_537)).toEqual({
        member: base64(Buffer.alloc(65_536, 0xff)),
        truncated: true,
        size_bytes: 65_537,
      })
      expect(body.length).toBe(3)
    })

    test('200 a shorter page where the members are more than an answer may hold, and nobody else is hurt', async () => {
      const large = Array.from({ length: 600 }, (_, at) => `${at}:${'x'.repeat(32_768)}`)
      for (const part of [large.slice(0, 300), large.slice(300)]) await raw.sadd('set', ...part)
      await raw.set('other', 'fine')
      const [page, ...others] = await Promise.all([
        get({ key: 'set', count: 1_000 }),
        ...Array.from({ length: 50 }, () => get({ key: 'other' }, id(), 'get')),
      ])
      expect([page.status, page.body.data.length < 300, page.text.length < 9 << 20]).toEqual([200, true, true])
      expect(others.map(({ status }) => status)).toEqual(others.map(() => 200))
      for (const count of [100, 1_000]) {
        expect(new Set(membersOf(await all({ key: 'set', count }))).size).toBe(600)
      }
    }, 30_000)

    test('404 a key that is not there, 400 one of another type with the engine’s code', async () => {
      await raw.set('text', 'x')
      for (const query of [{}, { member: 'a' }, { pattern: 'a*' }]) {
        const absent = await get({ key: 'absent', ...query })
        expect([absent.status, absent.body.error.code]).toEqual([404, 'NOT_FOUND'])
        const wrong = await get({ key: 'text', ...query })
        expect([wrong.status, wrong.body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      }
    })

    test('400 a cursor of another key, pattern, database or route, and a forged one', async () => {
      await raw.sadd('set', ...names(1_000))
      await raw.sadd('more', ...names(1_000))
      const cursor = (await get({ key: 'set', count: 10 })).body.pagination.next_cursor
      const answers = await Promise.all([
        get({ key: 'more', cursor }),
        get({ key: 'set', pattern: 'm*', cursor }),
        get({ key: 'set', db: 7, cursor }),
        get({ key: 'set', cursor }, readOnlyId()),
        get({ cursor }, id(), 'keys'),
        get({ key: 'set', cursor: `${cursor}x` }),
        get({ key: 'set', cursor: '0' }),
      ])
      for (const { status, body } of answers)
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', 'cursor'])
    })

    const bad = [
      [{ count: 0 }, 'count'],
      [{ count: 1_001 }, 'count'],
      [{ pattern: '' }, 'pattern'],
      [{ pattern: 'é'.repeat(129) }, 'pattern'],
      [{ encoding: 'hex' }, 'encoding'],
      [{ db: 'x' }, 'db'],
      [{ db: 99 }, 'db'],
      [{ key: 'no base64!', encoding: 'base64' }, 'key'],
      [{ key: 'YQ==', member: 'no base64!', encoding: 'base64' }, 'member'],
    ] as const
    for (const [query, field] of bad) {
      test(`400 ${JSON.stringify(query).slice(0, 40)} names ${field}`, async () => {
        const { status, body } = await get({ key: 'set', ...query })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('200 another logical database by db', async () => {
      await raw.sadd('set', 'of 8')
      const answer = await post('add', { key: 'only in 7', members: ['x'] }, id(), '?db=7')
      expect(answer.body).toEqual({ key: 'only in 7', added: 1 })
      expect((await get({ key: 'only in 7', db: 7 })).body.data).toEqual([{ member: 'x' }])
      expect((await get({ key: 'only in 7' })).status).toBe(404)
      expect((await post('remove', { key: 'only in 7', members: ['x'] }, id(), '?db=7')).body.removed).toBe(1)
    })
  })

  describe('GET /redis/{databaseId}/sets/random', () => {
    test('200 different members, never more than there are; 404 an absent key', async () => {
      await raw.sadd('set', ...names(50))
      const { body } = await get({ key: 'set', count: 20 }, id(), 'sets/random')
      expect(new Set(membersOf([body])).size).toBe(20)
      expect((await get({ key: 'set', count: 1_000 }, id(), 'sets/random')).body.data.length).toBe(50)
      expect((await get({ key: 'set' }, id(), 'sets/random')).body.data.length).toBe(1)
      expect(await raw.scard('set')).toBe(50)
      expect((await get({ key: 'absent' }, id(), 'sets/random')).status).toBe(404)
    })
  })

  describe('POST /redis/{databaseId}/sets/…', () => {
    test('200 any bytes as members come back as they were', async () => {
      const bytes = fc.uint8Array({ maxLength: 64 })
      await fc.assert(
        fc.asyncProperty(bytes, fc.array(bytes, { minLength: 1, maxLength: 20 }), async (name, members) => {
          await raw.flushdb()
          const key = base64(name)
          const distinct = new Set(members.map((member) => base64(member).base64))
          const added = await post('add', { key, members: members.map(base64) })
          expect(added.body).toEqual({ key, added: distinct.size })
          const { body } = await get({ key: key.base64, encoding: 'base64', count: 1_000 })
          expect(body.key).toEqual(key)
          const found: { base64: string }[] = body.data.map(({ member }: { member: unknown }) => member)
          expect(new Set(found.map(({ base64: text }) => text))).toEqual(distinct)
          const stored = await raw.smembersBuffer(Buffer.from(name))
          expect(new Set(stored.map((member) => member.toString('base64')))).toEqual(distinct)
          for (const member of distinct) {
            const one = await get({ key: key.base64, encoding: 'base64', member })
            expect(one.body.data).toEqual([{ member: { base64: member } }])
          }
          expect((await post('remove', { key, members: members.map(base64) })).body.removed).toBe(distinct.size)
          expect(await raw.exists(Buffer.from(name))).toBe(0)
        }),
        { numRuns: 40 },
      )
    }, 30_000)

    test('200 the empty member, and removals of what is not there', async () => {
      expect((await post('add', { key: 'set', members: ['', 'a', 'a'] })).body).toEqual({ key: 'set', added: 2 })
      expect((await post('add', { key: 'set', members: ['a'] })).body.added).toBe(0)
      expect((await post('remove', { key: 'set', members: ['', 'b'] })).body).toEqual({ key: 'set', removed: 1 })
      expect((await post('remove', { key: 'absent', members: ['a'] })).body.removed).toBe(0)
    })

    test('200 pop answers what it removed, and nobody gets what another got', async () => {
      await raw.sadd('set', ...names(100))
      const answers = await Promise.all(Array.from({ length: 8 }, () => post('pop', { key: 'set', count: 10 })))
      const popped = membersOf(answers.map(({ body }) => body))
      expect(new Set(popped).size).toBe(popped.length)
      expect(await raw.scard('set')).toBe(100 - popped.length)
      expect((await raw.smembers('set')).filter((member) => popped.includes(member))).toEqual([])
      expect((await post('pop', { key: 'absent' })).body).toEqual({ key: 'absent', data: [] })
    })

    test('413 pop leaves a member that is too large to be answered', async () => {
      await raw.sadd('set', 'x'.repeat(65_537))
      const { status, body } = await post('pop', { key: 'set' })
      expect([status, body.error.code, await raw.scard('set')]).toEqual([413, 'RESULT_TOO_LARGE', 1])
      for (let at = 0; at < 11; at++) await raw.sadd('large', `${at}:${'x'.repeat(1_000_000)}`)
      const many = await post('pop', { key: 'large', count: 11 })
      expect([many.status, many.body.error.code, await raw.scard('large')]).toEqual([413, 'RESULT_TOO_LARGE', 11])
    })

    test('200 move takes a member from one set to the other', async () => {
      await raw.sadd('from', 'a')
      const move = { source: 'from', destination: 'to', member: 'a' }
      expect((await post('move', move)).body).toEqual({ moved: true })
      expect((await post('move', move)).body).toEqual({ moved: false })
      expect([await raw.exists('from'), await raw.smembers('to')]).toEqual([0, ['a']])
    })

    test('200 a thousand members in one request, 400 one more', async () => {
      expect((await post('add', { key: 'set', members: names(1_000) })).body.added).toBe(1_000)
      expect((await post('add', { key: 'set', members: names(1_001) })).body.error.details[0].field).toBe('members')
    })

    test('400 another type, with the engine’s code', async () => {
      await raw.set('text', 'x')
      const bodies = { add: { members: ['a'] }, remove: { members: ['a'] }, pop: {} }
      for (const [path, body] of Object.entries(bodies)) {
        const answer = await post(path, { key: 'text', ...body })
        expect([answer.status, answer.body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      }
    })

    const bad = [
      ['add', { members: [] }, 'members'],
      ['add', { members: 'a' }, 'members'],
      ['add', { members: [1] }, 'members.0'],
      ['add', { members: [{ base64: '!' }] }, 'members.0.base64'],
      ['add', { members: ['a'], more: 1 }, 'more'],
      ['remove', {}, 'members'],
      ['pop', { count: 0 }, 'count'],
      ['pop', { count: 1_001 }, 'count'],
      ['move', { destination: 'x', member: 'a' }, 'source'],
    ] as const
    for (const [path, body, field] of bad) {
      test(`400 ${path} ${JSON.stringify(body)} names ${field}`, async () => {
        const answer = await post(path, path === 'move' ? body : { key: 'set', ...body })
        expect([answer.status, answer.body.error.details[0].field]).toEqual([400, field])
      })
    }

    const writes = {
      add: { key: 'set', members: ['b'] },
      remove: { key: 'set', members: ['a'] },
      pop: { key: 'set' },
      move: { source: 'set', destination: 'other', member: 'a' },
    }
    for (const [path, body] of Object.entries(writes)) {
      test(`403 ${path} on a database that is registered read-only, and by a key that may only read`, async () => {
        await raw.sadd('set', 'a')
        for (const query of ['', '?db=7']) {
          const refused = await post(path, body, readOnlyId(), query)
          expect([refused.status, refused.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
        }
        const created = await app.request('POST', '/api/platform/api-keys', {
          body: { name: `reader-${path}`, projectRef: 'default', role: 'read' },
        })
        const byReader = await app.request('POST', `/api/platform/redis/${id()}/sets/${path}`, {
          body,
          key: created.body.secret,
        })
        expect([byReader.status, byReader.body.error.code]).toEqual([403, 'FORBIDDEN'])
        expect(await raw.smembers('set')).toEqual(['a'])
        expect((await get({ key: 'set' }, readOnlyId())).body.data).toEqual([{ member: 'a' }])
      })
    }
  })
})

test('a page of what the server answers at once goes on after its last name, also one that no URL could hold', () => {
  const name = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.uint8Array({ minLength: 1_024, maxLength: 1_026 }).map((bytes) => bytes.fill(0x61, 0, 1_023)),
  )
  const names = fc.uniqueArray(name, { maxLength: 30, selector: (bytes) => Buffer.from(bytes).toString('hex') })
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: 7 }), (bytes, count) => {
      const all = bytes.map((part) => Buffer.from(part))
      const found: Buffer[] = []
      let position: Position | null = []
      while (position !== null) {
        const answer: ReturnType<typeof pageByName<Buffer>> = pageByName(all, (item) => item, count, position)
        expect(JSON.stringify(answer.next).length).toBeLessThan(2_000)
        found.push(...answer.page)
        position = answer.next
      }
      expect(found).toEqual(all.toSorted(Buffer.compare))
    }),
  )
})
