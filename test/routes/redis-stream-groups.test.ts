import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'stream groups', (store) => {
  const { app, raw, id, registered } = redisApp(store, 12, { env: { MAX_VALUE_BYTES: '65536' } })
  const readOnlyId = registered({ config: { readOnly: true } })
  beforeEach(async () => {
    await raw.flushdb()
    for (const entry of ['1-0', '2-0', '3-0', '4-0', '5-0']) await raw.xadd('s', entry, 'n', entry)
    await raw.xgroup('CREATE', 's', 'g', '0')
  })

  type Query = Readonly<Record<string, string | number>>
  const get = (path: string, query: Query, of = id()) =>
    app.request(
      'GET',
      `/api/platform/redis/${of}/streams/${path}?${new URLSearchParams(query as Record<string, string>)}`,
    )
  const post = (path: string, body: object, of = id(), query = '') =>
    app.request('POST', `/api/platform/redis/${of}/streams/${path}${query}`, { body })
  const inGroup = (path: string, body: object = {}) => post(path, { key: 's', group: 'g', ...body })
  const entryOf = (entry: string) => ({ id: entry, fields: [{ field: 'n', value: entry }] })
  const base64 = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })
  const last = { next_cursor: null, has_more: false }

  async function all(path: string, query: Query) {
    const data = []
    let cursor: string | null = null
    do {
      const { status, body } = await get(path, cursor === null ? query : { ...query, cursor })
      expect(status).toBe(200)
      data.push(...body.data)
      cursor = body.pagination.next_cursor
    } while (cursor !== null && data.length < 2_000)
    return data
  }

  test('200 a group is created, listed, moved and deleted', async () => {
    const created = await inGroup('groups', { group: 'h', id: '2' })
    expect(created.body).toEqual({ key: 's', group: 'h' })
    await inGroup('groups', { group: 'i' })
    const listed = { consumers: 0, pending: 0 }
    expect((await get('groups', { key: 's' })).body).toEqual({
      key: 's',
      data: [
        { group: 'g', ...listed, last_delivered_id: '0-0', entries_read: null, lag: '5' },
        { group: 'h', ...listed, last_delivered_id: '2-0', entries_read: null, lag: expect.anything() },
        { group: 'i', ...listed, last_delivered_id: '5-0', entries_read: null, lag: '0' },
      ].map((group) => ({ ...group, lag: group.group === 'h' ? null : group.lag })),
      pagination: last,
      length: 3,
    })
    const moved = await inGroup('groups/set-id', { group: 'h', id: '4-0', entriesRead: 4 })
    expect(moved.body).toEqual({ key: 's', group: 'h', id: '4-0' })
    expect((await get('groups', { key: 's' })).body.data[1]).toMatchObject({
      last_delivered_id: '4-0',
      entries_read: '4',
      lag: '1',
    })
    expect((await inGroup('groups/delete', { group: 'h' })).body).toEqual({ key: 's', group: 'h', deleted: true })
    expect((await inGroup('groups/delete', { group: 'h' })).body.deleted).toBe(false)
  })

  test('409 a group that is there already, which stays as it was', async () => {
    const { status, body } = await inGroup('groups', { id: '$' })
    expect([status, body.error.code]).toEqual([409, 'DB_CONFLICT'])
    expect((await get('groups', { key: 's' })).body.data[0].last_delivered_id).toBe('0-0')
  })

  test('404 a stream that is not there, unless mkStream makes it', async () => {
    const group = { key: 'new', group: 'g' }
    const { status, body } = await post('groups', group)
    expect([status, body.error.code, await raw.exists('new')]).toEqual([404, 'NOT_FOUND', 0])
    expect((await post('groups', { ...group, mkStream: true })).status).toBe(200)
    expect(await raw.xlen('new')).toBe(0)
  })

  test('200 a consumer reads what is new, sees it again as pending, and acknowledges it', async () => {
    const read = (more: object) => inGroup('groups/read', { consumer: 'c', ...more })
    expect((await read({ count: 2 })).body).toEqual({ key: 's', data: [entryOf('1-0'), entryOf('2-0')] })
    expect((await read({ count: 2 })).body.data).toEqual([entryOf('3-0'), entryOf('4-0')])
    expect((await read({ id: '0' })).body.data.length).toBe(4)
    expect((await read({ id: '2-0' })).body.data).toEqual([entryOf('3-0'), entryOf('4-0')])
    expect((await inGroup('groups/ack', { ids: ['1-0', '3-0', '9-0'] })).body).toEqual({ key: 's', acknowledged: 2 })
    await raw.xdel('s', '2-0')
    expect((await read({ id: '0' })).body.data).toEqual([{ id: '2-0', fields: null }, entryOf('4-0')])
    expect((await get('groups', { key: 's' })).body.data[0]).toMatchObject({ consumers: 1, pending: 2 })
  })

  test('200 at once and without entries where there is nothing new; noAck leaves nothing pending', async () => {
    const read = { consumer: 'c', noAck: true }
    expect((await inGroup('groups/read', read)).body.data.length).toBe(5)
    expect((await inGroup('groups/read', read)).body).toEqual({ key: 's', data: [] })
    expect((await get('pending', { key: 's', group: 'g' })).body.summary).toEqual({
      pending: 0,
      first_id: null,
      last_id: null,
      consumers: [],
    })
  })

  test('200 parallel consumers of a group share the entries', async () => {
    const readers = Array.from({ length: 5 }, (_, at) => inGroup('groups/read', { consumer: `c${at}`, count: 1 }))
    const answers = await Promise.all(readers)
    expect(answers.flatMap(({ body }) => body.data.map((entry: { id: string }) => entry.id)).toSorted()).toEqual([
      '1-0',
      '2-0',
      '3-0',
      '4-0',
      '5-0',
    ])
  })

  test('200 pending entries of all and of one consumer, by id and idle time, in pages', async () => {
    await inGroup('groups/read', { consumer: 'a', count: 3 })
    await inGroup('groups/read', { consumer: 'b', count: 2 })
    await inGroup('groups/claim', { consumer: 'a', ids: ['1-0'], minIdleMs: 0, idleMs: 3_600_000, deliveries: 7 })
    const { body } = await get('pending', { key: 's', group: 'g' })
    expect(body).toMatchObject({
      key: 's',
      group: 'g',
      summary: {
        pending: 5,
        first_id: '1-0',
        last_id: '5-0',
        consumers: [
          { consumer: 'a', pending: 3 },
          { consumer: 'b', pending: 2 },
        ],
      },
      pagination: last,
    })
    expect(body.data[0]).toEqual({ id: '1-0', consumer: 'a', idle_ms: expect.any(Number), deliveries: 7 })
    expect(body.data[0].idle_ms).toBeGreaterThanOrEqual(3_600_000)
    const ids = async (query: Query) =>
      (await all('pending', { key: 's', group: 'g', count: 1, ...query })).map((entry) => entry.id)
    expect(await ids({})).toEqual(['1-0', '2-0', '3-0', '4-0', '5-0'])
    expect(await ids({ consumer: 'b' })).toEqual(['4-0', '5-0'])
    expect(await ids({ start: '(1-0', end: '4-0' })).toEqual(['2-0', '3-0', '4-0'])
    expect(await ids({ minIdleMs: 1_800_000 })).toEqual(['1-0'])
    expect(await ids({ consumer: 'nobody' })).toEqual([])
  })

  test('200 claim and autoclaim take over what is pending for long enough', async () => {
    await inGroup('groups/read', { consumer: 'a' })
    const claim = (more: object) =>
      inGroup('groups/claim', { consumer: 'b', ids: ['1-0', '2-0'], minIdleMs: 0, ...more })
    expect((await claim({ minIdleMs: 3_600_000 })).body).toEqual({ key: 's', data: [] })
    expect((await claim({})).body.data).toEqual([entryOf('1-0'), entryOf('2-0')])
    expect((await claim({ justId: true })).body.data).toEqual([
      { id: '1-0', fields: null },
      { id: '2-0', fields: null },
    ])
    await raw.xdel('s', '3-0')
    const auto = (more: object) => inGroup('groups/autoclaim', { consumer: 'c', minIdleMs: 0, ...more })
    expect((await auto({ count: 2 })).body).toEqual({
      key: 's',
      data: [entryOf('1-0'), entryOf('2-0')],
      next_start: '3-0',
      deleted_ids: [],
    })
    expect((await auto({ start: '3-0' })).body).toEqual({
      key: 's',
      data: [entryOf('4-0'), entryOf('5-0')],
      next_start: null,
      deleted_ids: ['3-0'],
    })
    expect((await auto({ minIdleMs: 3_600_000 })).body).toMatchObject({ data: [], next_start: null })
    await inGroup('groups/ack', { ids: ['1-0'] })
    expect((await claim({ ids: ['1-0'] })).body.data).toEqual([])
    expect((await claim({ ids: ['1-0'], force: true })).body.data).toEqual([entryOf('1-0')])
  })

  test('200 consumers in pages, and one is deleted with what is pending', async () => {
    for (const consumer of ['b', 'a', 'c']) await inGroup('groups/read', { consumer, count: 1 })
    const listed = await all('consumers', { key: 's', group: 'g', count: 1 })
    expect(listed).toEqual(
      ['a', 'b', 'c'].map((consumer) => ({ consumer, pending: 1, idle_ms: expect.any(Number), inactive_ms: null })),
    )
    const { body } = await inGroup('consumers/delete', { consumer: 'b' })
    expect(body).toEqual({ consumer: 'b', pending: 1 })
    expect((await inGroup('consumers/delete', { consumer: 'b' })).body.pending).toBe(0)
    expect((await get('consumers', { key: 's', group: 'g' })).body.length).toBe(2)
  })

  test('200 any bytes as names of groups and consumers, all of them in pages', async () => {
    const name = fc.uint8Array({ minLength: 1, maxLength: 32 })
    const distinct = (bytes: Uint8Array) => base64(bytes).base64
    const names = fc.uniqueArray(name, { minLength: 1, maxLength: 8, selector: distinct })
    await fc.assert(
      fc.asyncProperty(name, names, names, async (key, groups, consumers) => {
        await raw.flushdb()
        for (const group of groups) {
          const created = await post('groups', { key: base64(key), group: base64(group), mkStream: true })
          expect(created.body).toEqual({ key: base64(key), group: base64(group) })
        }
        await raw.xadd(Buffer.from(key), '1-0', 'a', '1')
        const group = groups[0] as Uint8Array
        const asked = { key: distinct(key), encoding: 'base64', count: 2 }
        const found = await all('groups', asked)
        expect(found.map((item) => item.group.base64).toSorted()).toEqual(groups.map(distinct).toSorted())
        for (const consumer of consumers) {
          const names = { key: base64(key), group: base64(group), consumer: base64(consumer) }
          const read = await post('groups/claim', { ...names, ids: ['1-0'], minIdleMs: 0, force: true })
          expect(read.status).toBe(200)
        }
        const known = await all('consumers', { ...asked, group: distinct(group) })
        expect(known.map((item) => item.consumer.base64).toSorted()).toEqual(consumers.map(distinct).toSorted())
        const owner = distinct(consumers.at(-1) as Uint8Array)
        const pending = await all('pending', { ...asked, group: distinct(group), consumer: owner })
        expect(pending).toMatchObject([{ id: '1-0', consumer: { base64: owner } }])
      }),
      { numRuns: 25 },
    )
  }, 30_000)

  test('what is too much for one answer is refused, not to be repeated, and can be read again in parts', async () => {
    await raw.xgroup('CREATE', 'large', 'g', '0', 'MKSTREAM')
    const value = 'x'.repeat(50_000)
    for (let part = 0; part < 4; part++) {
      const pipeline = raw.pipeline()
      for (let at = 0; at < 60; at++) pipeline.xadd('large', '*', 'v', value)
      await pipeline.exec()
    }
    const names = { key: 'large', group: 'g', consumer: 'c' }
    const { status, body } = await post('groups/read', { ...names, count: 1_000 })
    expect([[413, 503].includes(status), body.error.retryable]).toEqual([true, false])
    const again = await post('groups/read', { ...names, id: '0', count: 20 })
    expect(again.body.data.length).toBe(20)
  }, 30_000)

  describe('what is not there, or of another type', () => {
    const gets = { groups: {}, consumers: { group: 'g' }, pending: { group: 'g' } }
    for (const [path, query] of Object.entries(gets)) {
      test(`GET ${path}: 404 the key and the group, 400 another type`, async () => {
        await raw.set('text', 'x')
        const absent = await get(path, { key: 'absent', ...query })
        expect([absent.status, absent.body.error.code]).toEqual([404, 'NOT_FOUND'])
        expect((await get(path, { key: 's', group: 'absent' })).status).toBe(path === 'groups' ? 200 : 404)
        const wrong = await get(path, { key: 'text', ...query })
        expect([wrong.status, wrong.body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      })
    }

    const posts = {
      'groups/set-id': { id: '0' },
      'groups/read': { consumer: 'c' },
      'groups/claim': { consumer: 'c', ids: ['1-0'], minIdleMs: 0 },
      'groups/autoclaim': { consumer: 'c', minIdleMs: 0 },
      'consumers/delete': { consumer: 'c' },
    }
    for (const [path, body] of Object.entries(posts)) {
      test(`POST ${path}: 404 the key and the group, 400 another type`, async () => {
        await raw.set('text', 'x')
        for (const name of [{ key: 'absent' }, { group: 'absent' }]) {
          const answer = await inGroup(path, { ...body, ...name })
          expect([answer.status, answer.body.error.code]).toEqual([404, 'NOT_FOUND'])
        }
        const wrong = await inGroup(path, { ...body, key: 'text' })
        expect([wrong.status, wrong.body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      })
    }

    test('200 acknowledging nothing, 404 deleting a group of no key', async () => {
      expect((await inGroup('groups/ack', { key: 'absent', ids: ['1-0'] })).body.acknowledged).toBe(0)
      expect((await inGroup('groups/delete', { key: 'absent' })).status).toBe(404)
    })
  })

  const bad = [
    ['groups', { id: '>' }, 'id'],
    ['groups', { group: 1 }, 'group'],
    ['groups', { entriesRead: -1 }, 'entriesRead'],
    ['groups/set-id', {}, 'id'],
    ['groups/read', { consumer: 'c', id: '$' }, 'id'],
    ['groups/read', { consumer: 'c', count: 0 }, 'count'],
    ['groups/read', { consumer: 'c', block: 0 }, 'block'],
    ['groups/read', {}, 'consumer'],
    ['groups/ack', { ids: [] }, 'ids'],
    ['groups/ack', { ids: ['x'] }, 'ids.0'],
    ['groups/claim', { consumer: 'c', ids: ['1-0'] }, 'minIdleMs'],
    ['groups/autoclaim', { consumer: 'c', minIdleMs: 0, start: '-' }, 'start'],
  ] as const
  for (const [path, body, field] of bad) {
    test(`400 ${path} ${JSON.stringify(body)} names ${field}`, async () => {
      const answer = await inGroup(path, body)
      expect([answer.status, answer.body.error.details[0].field]).toEqual([400, field])
    })
  }

  test('400 a wrong parameter, a cursor of another list, and a name that is no base64', async () => {
    const cursor = (await (await inGroup('groups', { group: 'h' }), get('groups', { key: 's', count: 1 }))).body
      .pagination.next_cursor
    const asked = { key: 's', group: 'g' }
    const answers = [
      [await get('groups', { key: 'other', cursor }), 'cursor'],
      [await get('consumers', { ...asked, cursor }), 'cursor'],
      [await get('pending', { ...asked, cursor }), 'cursor'],
      [await get('pending', { ...asked, minIdleMs: -1 }), 'minIdleMs'],
      [await get('pending', { ...asked, start: 'x' }), 'start'],
      [await get('consumers', { key: 'cw==', group: '!', encoding: 'base64' }), 'group'],
      [await get('pending', { key: 'cw==', group: 'Zw==', consumer: '!', encoding: 'base64' }), 'consumer'],
      [await get('groups', { key: 's', db: 99 }), 'db'],
    ] as const
    for (const [{ status, body }, field] of answers) expect([status, body.error.details[0].field]).toEqual([400, field])
  })

  test('200 another logical database by db', async () => {
    const names = { key: 'only in 7', group: 'g' }
    expect((await post('groups', { ...names, mkStream: true }, id(), '?db=7')).status).toBe(200)
    expect((await get('groups', { key: 'only in 7', db: 7 })).body.length).toBe(1)
    expect((await get('groups', { key: 'only in 7' })).status).toBe(404)
    await raw.select(7)
    await raw.del('only in 7')
    await raw.select(12)
  })

  test('403 every write on a read-only database, and with a key of the role read, which both still read', async () => {
    await inGroup('groups/read', { consumer: 'a', count: 2 })
    const made = await app.request('POST', '/api/platform/api-keys', {
      body: { name: 'reader of groups', projectRef: 'default', role: 'read' },
    })
    const before = await raw.xinfo('GROUPS', 's')
    const names = { key: 's', group: 'g' }
    const writes = {
      groups: { ...names, group: 'new' },
      'groups/set-id': { ...names, id: '0' },
      'groups/delete': names,
      'groups/read': { ...names, consumer: 'a' },
      'groups/ack': { ...names, ids: ['1-0'] },
      'groups/claim': { ...names, consumer: 'b', ids: ['1-0'], minIdleMs: 0 },
      'groups/autoclaim': { ...names, consumer: 'b', minIdleMs: 0 },
      'consumers/delete': { ...names, consumer: 'a' },
    }
    for (const [path, body] of Object.entries(writes)) {
      for (const query of ['', '?db=7']) {
        const refused = await post(path, body, readOnlyId(), query)
        expect([path, refused.status, refused.body.error.code]).toEqual([path, 403, 'DB_READ_ONLY'])
      }
      const url = `/api/platform/redis/${id()}/streams/${path}`
      const byReader = await app.request('POST', url, { body, key: made.body.secret })
      expect([path, byReader.status, byReader.body.error.code]).toEqual([path, 403, 'FORBIDDEN'])
    }
    expect(await raw.xinfo('GROUPS', 's')).toEqual(before)
    expect((await get('pending', names, readOnlyId())).body.summary.pending).toBe(2)
  })
})
