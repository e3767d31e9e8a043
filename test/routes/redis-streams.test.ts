import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'streams', (store) => {
  const { app, raw, id, registered } = redisApp(store, 10, { env: { MAX_VALUE_BYTES: '65536' } })
  const readOnlyId = registered({ config: { readOnly: true } })
  const maxId = '18446744073709551615'

  beforeEach(() => raw.flushdb())

  type Query = Readonly<Record<string, string | number | boolean>>
  const get = (query: Query, path = '', of = id()) =>
    app.request(
      'GET',
      `/api/platform/redis/${of}/streams${path}?${new URLSearchParams(query as Record<string, string>)}`,
    )
  const post = (path: string, body: unknown, of = id(), query = '') =>
    app.request('POST', `/api/platform/redis/${of}/streams${path}${query}`, { body })
  const base64 = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })

  async function all(query: Query) {
    const pages = []
    let cursor: string | null = null
    do {
      const { status, body } = await get(cursor === null ? query : { ...query, cursor })
      expect(status).toBe(200)
      pages.push(body)
      cursor = body.pagination.next_cursor
    } while (cursor !== null && pages.length < 2_000)
    return pages
  }
  const idsOf = (pages: readonly { data: readonly { id: string }[] }[]) =>
    pages.flatMap(({ data }) => data.map((entry) => entry.id))
  const fill = async (ids: readonly string[]) => {
    const pipeline = raw.pipeline()
    for (const entry of ids) pipeline.xadd('s', entry, 'n', entry)
    await pipeline.exec()
    return ids
  }
  const entries = (count: number) => Array.from({ length: count }, (_, at) => `${1 + Math.floor(at / 3)}-${at % 3}`)

  describe('GET /redis/{databaseId}/streams', () => {
    test('200 every entry once, in both directions, in pages', async () => {
      const ids = await fill(entries(1_234))
      for (const count of [1_000, 100]) {
        expect(idsOf(await all({ key: 's', count }))).toEqual([...ids])
        expect(idsOf(await all({ key: 's', count, reverse: true }))).toEqual(ids.toReversed())
      }
      expect((await get({ key: 's', count: 1 })).body).toEqual({
        key: 's',
        data: [{ id: '1-0', fields: [{ field: 'n', value: '1-0' }] }],
        pagination: { next_cursor: expect.any(String), has_more: true },
        length: 1_234,
      })
    })

    test('200 pages over the largest sequence number and time', async () => {
      const ids = await fill(['1-1', `1-${maxId}`, '2-0', `${maxId}-0`, `${maxId}-${maxId}`])
      expect(idsOf(await all({ key: 's', count: 1 }))).toEqual([...ids])
      expect(idsOf(await all({ key: 's', count: 1, reverse: true }))).toEqual(ids.toReversed())
    })

    test('200 a range of ids with both ends, or without them, in both directions', async () => {
      await fill(entries(30))
      const range = async (query: Query) => idsOf(await all({ key: 's', count: 2, ...query }))
      expect(await range({ start: '3', end: '4-1' })).toEqual(['3-0', '3-1', '3-2', '4-0', '4-1'])
      expect(await range({ start: '(3-0', end: '(4-1', reverse: true })).toEqual(['4-0', '3-2', '3-1'])
      expect(await range({ start: '9-2' })).toEqual(['9-2', '10-0', '10-1', '10-2'])
      expect(await range({ start: '5', end: '4' })).toEqual([])
    })

    test('200 what is added meanwhile comes, and nothing else moves', async () => {
      await fill(['1-0', '2-0', '3-0', '4-0'])
      const first = (await get({ key: 's', count: 2 })).body
      await raw.xdel('s', '1-0', '2-0')
      await raw.xadd('s', '5-0', 'n', 'late')
      const rest = (await get({ key: 's', count: 9, cursor: first.pagination.next_cursor })).body
      expect([...idsOf([first]), ...idsOf([rest])]).toEqual(['1-0', '2-0', '3-0', '4-0', '5-0'])
    })

    test('200 fields in their order, names that repeat and empty ones included', async () => {
      await raw.xadd('s', '1-0', 'b', '1', 'a', '', 'b', '2', '', '3')
      const [entry] = (await get({ key: 's' })).body.data
      expect(entry.fields).toEqual([
        { field: 'b', value: '1' },
        { field: 'a', value: '' },
        { field: 'b', value: '2' },
        { field: '', value: '3' },
      ])
    })

    test('200 a value above the cap is cut, and says so', async () => {
      await raw.xadd('s', '1-0', 'large', 'x'.repeat(70_000), 'small', 'y')
      const fields = [
        { field: 'large', value: 'x'.repeat(65_536), truncated: true, size_bytes: 70_000 },
        { field: 'small', value: 'y' },
      ]
      expect((await get({ key: 's' })).body.data).toEqual([{ id: '1-0', fields }])
      expect((await get({ key: 's' }, '/info')).body).toMatchObject({ first_entry: { fields }, last_entry: { fields } })
    })

    test('200 a stream without entries; 404 a key that is not there; 400 one of another type', async () => {
      await raw.xadd('s', '1-0', 'a', '1')
      await raw.xdel('s', '1-0')
      await raw.set('text', 'x')
      expect((await get({ key: 's' })).body).toMatchObject({ data: [], length: 0 })
      expect((await get({ key: 's' }, '/info')).body).toMatchObject({ length: 0, first_entry: null, last_entry: null })
      for (const path of ['', '/info']) {
        const absent = await get({ key: 'absent' }, path)
        expect([absent.status, absent.body.error.code]).toEqual([404, 'NOT_FOUND'])
        const wrong = await get({ key: 'text' }, path)
        expect([wrong.status, wrong.body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
      }
    })

    test('400 a cursor of another key, range, direction or database, and a forged one', async () => {
      await fill(entries(30))
      const cursor = (await get({ key: 's', count: 3 })).body.pagination.next_cursor
      const answers = await Promise.all([
        get({ key: 'other', cursor }),
        get({ key: 's', start: '2', cursor }),
        get({ key: 's', end: '2', cursor }),
        get({ key: 's', reverse: true, cursor }),
        get({ key: 's', db: 7, cursor }),
        get({ key: 's', cursor }, '', readOnlyId()),
        get({ key: 's', cursor: '1-0' }),
      ])
      for (const { status, body } of answers) expect([status, body.error.details[0].field]).toEqual([400, 'cursor'])
    })

    const bad = [
      [{ count: 0 }, 'count'],
      [{ count: 1_001 }, 'count'],
      [{ start: 'now' }, 'start'],
      [{ start: '[5' }, 'start'],
      [{ end: '5-' }, 'end'],
      [{ end: '' }, 'end'],
      [{ reverse: 'maybe' }, 'reverse'],
      [{ encoding: 'hex' }, 'encoding'],
      [{ key: '!', encoding: 'base64' }, 'key'],
      [{ db: 99 }, 'db'],
    ] as const
    for (const [query, field] of bad) {
      test(`400 ${JSON.stringify(query)} names ${field}`, async () => {
        const { status, body } = await get({ key: 's', ...query })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }
  })

  test('200 info says what XINFO STREAM says', async () => {
    await fill(entries(5))
    await raw.xdel('s', '1-1')
    await raw.xgroup('CREATE', 's', 'g', '0')
    expect((await get({ key: 's' }, '/info')).body).toMatchObject({
      key: 's',
      length: 4,
      groups: 1,
      last_generated_id: '2-1',
      max_deleted_entry_id: '1-1',
      entries_added: '5',
      recorded_first_entry_id: '1-0',
      radix_tree_keys: 1,
      first_entry: { id: '1-0', fields: [{ field: 'n', value: '1-0' }] },
      last_entry: { id: '2-1', fields: [{ field: 'n', value: '2-1' }] },
    })
  })

  describe('POST /redis/{databaseId}/streams', () => {
    const field = [{ field: 'a', value: '1' }]

    test('200 any bytes in names and values come back as they were', async () => {
      const bytes = fc.uint8Array({ maxLength: 64 })
      const fields = fc.array(fc.record({ field: bytes, value: bytes }), { minLength: 1, maxLength: 10 })
      await fc.assert(
        fc.asyncProperty(bytes, fields, async (name, pairs) => {
          await raw.flushdb()
          const key = base64(name)
          const sent = pairs.map(({ field, value }) => ({ field: base64(field), value: base64(value) }))
          const added = await post('', { key, fields: sent })
          expect(added.body).toEqual({ key, id: expect.stringMatching(/^\d+-\d+$/) })
          const { body } = await get({ key: key.base64, encoding: 'base64' })
          expect([body.key, body.data]).toEqual([key, [{ id: added.body.id, fields: sent }]])
          const [stored] = await raw.xrangeBuffer(Buffer.from(name), '-', '+')
          expect(stored?.[1]).toEqual(pairs.flatMap(({ field, value }) => [Buffer.from(field), Buffer.from(value)]))
        }),
        { numRuns: 60 },
      )
    }, 30_000)

    test('200 the id that is given, and one whose sequence number is the server’s', async () => {
      expect((await post('', { key: 's', id: '5-3', fields: field })).body).toEqual({ key: 's', id: '5-3' })
      expect((await post('', { key: 's', id: '5-*', fields: field })).body.id).toBe('5-4')
      expect((await post('', { key: 's', id: '7', fields: field })).body.id).toBe('7-0')
      expect((await post('', { key: 's', id: `${maxId}-${maxId}`, fields: field })).status).toBe(200)
    })

    test('409 an id that is not above the last', async () => {
      await raw.xadd('s', '5-3', 'a', '1')
      for (const given of ['5-3', '4-9']) {
        const { status, body } = await post('', { key: 's', id: given, fields: field })
        expect([status, body.error.code, body.error.details]).toEqual([
          409,
          'DB_CONFLICT',
          { last_generated_id: '5-3' },
        ])
      }
      expect(await raw.xlen('s')).toBe(1)
    })

    test('400 an id above 64 bits, and 0-0, which can be none', async () => {
      for (const given of ['99999999999999999999-0', '0-0']) {
        const { status, body } = await post('', { key: 's', id: given, fields: field })
        expect([status, body.error.code]).toEqual([400, 'DB_QUERY_ERROR'])
      }
    })

    test('200 noMkStream makes no stream', async () => {
      expect((await post('', { key: 's', noMkStream: true, fields: field })).body).toEqual({ key: 's', id: null })
      expect(await raw.exists('s')).toBe(0)
    })

    test('200 trim keeps the newest entries, or those from an id on, when an entry is added and alone', async () => {
      await fill(entries(30))
      const add = (entry: string, trim: object) => post('', { key: 's', id: entry, fields: field, trim })
      expect((await add('50-0', { maxLength: 10, exact: true })).status).toBe(200)
      expect(await raw.xlen('s')).toBe(10)
      expect((await add('51-0', { minId: '50', exact: true })).status).toBe(200)
      expect(await raw.xlen('s')).toBe(2)
      expect((await post('/trim', { key: 's', maxLength: 1, exact: true })).body).toEqual({ key: 's', removed: 1 })
      expect((await post('/trim', { key: 's', minId: '100', exact: true })).body.removed).toBe(1)
      expect((await post('/trim', { key: 'absent', maxLength: 0 })).body.removed).toBe(0)
    })

    test('200 an approximate trim removes whole nodes, and no more than its limit', async () => {
      await fill(entries(1_000))
      expect((await post('/trim', { key: 's', maxLength: 950 })).body.removed).toBe(0)
      expect((await post('/trim', { key: 's', maxLength: 10, limit: 300 })).body.removed).toBe(300)
      expect((await post('/trim', { key: 's', minId: '330' })).body.removed).toBe(600)
    })

    test('200 delete counts what was there', async () => {
      await fill(entries(5))
      const { body } = await post('/delete', { key: 's', ids: ['1-0', '1-1', '99-0'] })
      expect(body).toEqual({ key: 's', removed: 2 })
      expect((await post('/delete', { key: 'absent', ids: ['1'] })).body.removed).toBe(0)
    })

    test('200 another logical database by db', async () => {
      expect((await post('', { key: 'only in 7', fields: field }, id(), '?db=7')).status).toBe(200)
      expect((await get({ key: 'only in 7', db: 7 })).body.length).toBe(1)
      expect((await get({ key: 'only in 7' })).status).toBe(404)
      await post('/trim', { key: 'only in 7', maxLength: 0, exact: true }, id(), '?db=7')
      await raw.select(7)
      await raw.del('only in 7')
      await raw.select(10)
    })

    const bad = [
      ['', { fields: [] }, 'fields'],
      ['', { fields: [{ field: 'a' }] }, 'fields.0.value'],
      ['', { fields: [{ field: 'a', value: 1 }] }, 'fields.0.value'],
      ['', { fields: Array.from({ length: 501 }, () => field[0]) }, 'fields'],
      ['', { fields: field, id: '$' }, 'id'],
      ['', { fields: field, id: '-5' }, 'id'],
      ['', { fields: field, trim: {} }, 'trim.maxLength'],
      ['', { fields: field, trim: { maxLength: 5, minId: '5' } }, 'trim.maxLength'],
      ['', { fields: field, trim: { maxLength: 5, exact: true, limit: 5 } }, 'trim.limit'],
      ['', { fields: field, more: 1 }, 'more'],
      ['/trim', {}, 'maxLength'],
      ['/trim', { maxLength: -1 }, 'maxLength'],
      ['/trim', { minId: '*' }, 'minId'],
      ['/delete', { ids: [] }, 'ids'],
      ['/delete', { ids: ['*'] }, 'ids.0'],
      ['/delete', { ids: Array.from({ length: 1_001 }, () => '1') }, 'ids'],
    ] as const
    for (const [path, body, name] of bad) {
      test(`400 ${path} ${JSON.stringify(body).slice(0, 60)} names ${name}`, async () => {
        const answer = await post(path, { key: 's', ...body })
        expect([answer.status, answer.body.error.details[0].field]).toEqual([400, name])
      })
    }

    const writes = { '': { fields: field }, '/trim': { maxLength: 0 }, '/delete': { ids: ['1-0'] } }
    for (const [path, body] of Object.entries(writes)) {
      test(`streams${path}: 400 another type; 403 a read-only database, and a key that may only read`, async () => {
        await raw.set('text', 'x')
        expect((await post(path, { key: 'text', ...body })).body.error.details).toEqual({ code: 'WRONGTYPE' })
        await raw.xadd('s', '1-0', 'a', '1')
        for (const query of ['', '?db=7']) {
          const refused = await post(path, { key: 's', ...body }, readOnlyId(), query)
          expect([refused.status, refused.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
        }
        const made = await app.request('POST', '/api/platform/api-keys', {
          body: { name: `reader${path.replace('/', '-')}`, projectRef: 'default', role: 'read' },
        })
        const options = { body: { key: 's', ...body }, key: made.body.secret }
        const byReader = await app.request('POST', `/api/platform/redis/${id()}/streams${path}`, options)
        expect([byReader.status, byReader.body.error.code]).toEqual([403, 'FORBIDDEN'])
        expect((await get({ key: 's' }, '', readOnlyId())).body.length).toBe(1)
      })
    }
  })
})
