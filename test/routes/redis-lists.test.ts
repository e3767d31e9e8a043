import { beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'lists', (store) => {
  const { app, raw, id, url } = redisApp(store, 14, { env: { MAX_VALUE_BYTES: '65536', MAX_RESPONSE_BYTES: '524288' } })
  beforeEach(() => raw.flushdb())

  const base64 = (bytes: Uint8Array | string) => ({ base64: Buffer.from(bytes).toString('base64') })
  const list = (query: Readonly<Record<string, string>>, of = id()) =>
    app.request('GET', `/api/platform/redis/${of}/lists?${new URLSearchParams(query)}`)
  const post = (path: string, body: unknown, of = id(), query = '') =>
    app.request('POST', `/api/platform/redis/${of}/lists/${path}${query}`, { body })
  const values = () => raw.lrange('l', 0, -1)

  // oxlint-disable-next-line typescript/no-explicit-any
  async function all(query: Readonly<Record<string, string>>): Promise<any[]> {
    const pages = []
    let more: Readonly<Record<string, string>> = query
    do {
      const { status, body, text } = await list(more)
      expect([status, status === 200 ? '' : text]).toEqual([200, ''])
      expect(body.pagination.next_cursor === null).toBe(!body.pagination.has_more)
      pages.push(body)
      const { start: _, ...rest } = query
      more = { ...rest, cursor: body.pagination.next_cursor }
    } while (pages.at(-1).pagination.has_more && pages.length < 2_000)
    return pages
  }

  describe('GET /redis/{databaseId}/lists', () => {
    test('200 every element in order, in pages of exactly count', async () => {
      const elements = Array.from({ length: 2_500 }, (_, n) => `element ${n}`)
      await raw.rpush('l', ...elements)
      for (const count of ['333', '1000']) {
        const pages = await all({ key: 'l', count })
        expect(pages.flatMap(({ data }) => data)).toEqual(elements.map((value, index) => ({ index, value })))
        expect(pages.map(({ length }) => length)).toEqual(pages.map(() => 2_500))
        expect(pages.slice(0, -1).every(({ data }) => data.length === Number(count))).toBe(true)
      }
    })

    test('200 from a position, and from the end where it is negative', async () => {
      await raw.rpush('l', 'a', 'b', 'c', 'd')
      const read = async (start: string, count: string) => {
        const { data, pagination } = (await list({ key: 'l', start, count })).body
        return [
          data.map(({ index, value }: { index: number; value: string }) => `${index}${value}`).join(),
          pagination.has_more,
        ]
      }
      expect(await read('1', '2')).toEqual(['1b,2c', true])
      expect(await read('-2', '10')).toEqual(['2c,3d', false])
      expect(await read('-3', '1')).toEqual(['1b', true])
      expect(await read('-9', '1')).toEqual(['0a', true])
      expect(await read('4', '1')).toEqual(['', false])
      expect(await read('999999999999999', '1')).toEqual(['', false])
      const pages = await all({ key: 'l', start: '-3', count: '2' })
      expect(pages.map(({ data }) => data.length)).toEqual([2, 1])
    })

    test('200 an element above the cap is left out and its size told', async () => {
      await raw.rpush('l', 'x'.repeat(65_536), 'y'.repeat(65_537), '')
      expect((await all({ key: 'l' })).flatMap(({ data }) => data)).toEqual([
        { index: 0, value: 'x'.repeat(65_536) },
        { index: 1, value: null, truncated: true, size_bytes: 65_537 },
        { index: 2, value: '' },
      ])
    })

    test('200 elements that no reply may hold are passed over, and none of their neighbours lost', async () => {
      const small = Array.from({ length: 300 }, (_, n) => `small ${n}`)
      await raw.rpush('l', ...small, 'w'.repeat(5_000_000), ...small, 'w'.repeat(5_000_000))
      const entries = (await all({ key: 'l', count: '1000' })).flatMap(({ data }) => data)
      expect(entries).toEqual([
        ...small.map((value, index) => ({ index, value })),
        { index: 300, value: null, truncated: true },
        ...small.map((value, index) => ({ index: 301 + index, value })),
        { index: 601, value: null, truncated: true },
      ])
      const elsewhere = await app.register({
        name: 'from-another',
        type: 'redis',
        connectionString: store.url.replace(/\/0$/, '/13'),
      })
      expect((await list({ key: 'l', start: '300', db: '14' }, elsewhere.id)).body.data[0]).toEqual({
        index: 300,
        value: null,
        truncated: true,
      })
    })

    test('200 a page of large elements is shorter, and its answer bounded', async () => {
      const elements = Array.from({ length: 60 }, (_, n) => (n % 2 === 0 ? 'x' : '\u0001').repeat(40_000))
      await raw.rpush('l', ...elements)
      const pages = await all({ key: 'l', count: '1000' })
      expect(pages.flatMap(({ data }) => data.map(({ value }: { value: string }) => value))).toEqual(elements)
      expect(pages.every((page) => JSON.stringify(page).length < 524_288 + 65_536)).toBe(true)
    })

    test('200 another caller is not disturbed by a reply that is too large', async () => {
      await raw.rpush('l', 'w'.repeat(5_000_000))
      await raw.set('greeting', 'hello')
      const get = () => app.request('GET', `/api/platform/redis/${id()}/get?key=greeting`)
      const answers = await Promise.all([list({ key: 'l' }), ...Array.from({ length: 50 }, get)])
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    })

    test('404 a key that is not there, 400 one of another type', async () => {
      expect((await list({ key: 'absent' })).body.error.code).toBe('NOT_FOUND')
      await raw.set('text', 'x')
      const { status, body } = await list({ key: 'text' })
      expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'WRONGTYPE' }])
    })

    test('400 a cursor of another list or logical database, a forged one, and one with a start', async () => {
      await raw.rpush('l', 'a', 'b')
      await raw.rpush('other', 'a', 'b')
      const { next_cursor: cursor } = (await list({ key: 'l', count: '1' })).body.pagination
      for (const query of [
        { key: 'other', cursor },
        { key: 'l', db: '14', cursor },
        { key: 'l', cursor: `${cursor}x` },
        { key: 'l', cursor: '1' },
      ]) {
        const { status, body } = await list(query)
        expect([status, body.error.details[0].field]).toEqual([400, 'cursor'])
      }
      expect((await list({ key: 'l', cursor, start: '0' })).body.error.details[0].field).toBe('start')
    })

    for (const [query, field] of [
      [{ start: 'x' }, 'start'],
      [{ start: '1.5' }, 'start'],
      [{ start: '9999999999999999' }, 'start'],
      [{ count: '0' }, 'count'],
      [{ count: '1001' }, 'count'],
      [{ encoding: 'base64', key: '!' }, 'key'],
      [{ db: 'x' }, 'db'],
    ] as const) {
      test(`400 ${JSON.stringify(query)} names ${field}`, async () => {
        const { status, body } = await list({ key: 'l', ...query })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }
  })

  describe('POST /redis/{databaseId}/lists/push', () => {
    test('200 to the right and to the left', async () => {
      expect((await post('push', { key: 'l', values: ['a', 'b'] })).body).toEqual({ key: 'l', pushed: 2, length: 2 })
      await post('push', { key: 'l', values: ['x', 'y'], side: 'left' })
      expect(await values()).toEqual(['y', 'x', 'a', 'b'])
    })

    test('200 mustExist makes no list, onlyNew adds to none', async () => {
      const refused = { key: 'l', pushed: 0, length: 0 }
      expect((await post('push', { key: 'l', values: ['a'], mustExist: true })).body).toEqual(refused)
      expect((await post('push', { key: 'l', values: ['a'], mustExist: true, side: 'left' })).body).toEqual(refused)
      expect(await raw.exists('l')).toBe(0)
      expect((await post('push', { key: 'l', values: ['a', 'b'], onlyNew: true })).body.pushed).toBe(2)
      expect((await post('push', { key: 'l', values: ['c'], onlyNew: true })).body).toEqual({
        key: 'l',
        pushed: 0,
        length: 2,
      })
      expect((await post('push', { key: 'l', values: ['c'], mustExist: true })).body).toEqual({
        key: 'l',
        pushed: 1,
        length: 3,
      })
      expect(await values()).toEqual(['a', 'b', 'c'])
    })

    test('200 of many that push only to a new list, one does', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => post('push', { key: 'l', values: [`${n}`], onlyNew: true })),
      )
      expect(answers.map(({ body }) => body.pushed).filter((pushed) => pushed === 1)).toEqual([1])
      expect(await raw.llen('l')).toBe(1)
    })

    test('200 1,000 at once, 400 one more or none, both conditions, and a key of another type', async () => {
      const many = Array.from({ length: 1_001 }, (_, n) => `${n}`)
      expect((await post('push', { key: 'l', values: many.slice(1) })).body.length).toBe(1_000)
      expect((await post('push', { key: 'l', values: many })).body.error.details[0].field).toBe('values')
      expect((await post('push', { key: 'l', values: [] })).body.error.details[0].field).toBe('values')
      const both = { key: 'l', values: ['a'], onlyNew: true, mustExist: true }
      expect((await post('push', both)).body.error.details[0].field).toBe('onlyNew')
      await raw.set('text', 'x')
      for (const more of [{}, { onlyNew: true }, { mustExist: true }])
        expect((await post('push', { key: 'text', values: ['a'], ...more })).body.error.details).toEqual({
          code: 'WRONGTYPE',
        })
    })

    test('200 any bytes come back as they were, and leave as they came', async () => {
      const bytes = fc.uint8Array({ maxLength: 48 })
      await fc.assert(
        fc.asyncProperty(bytes, fc.array(bytes, { minLength: 1, maxLength: 20 }), async (key, elements) => {
          const [name, forms] = [base64(key), elements.map(base64)]
          await raw.del(Buffer.from(key))
          await post('push', { key: name, values: forms })
          const pages = await all({ key: name.base64, encoding: 'base64', count: '7' })
          expect(pages[0].key).toEqual(name)
          expect(pages.flatMap(({ data }) => data.map(({ value }: { value: unknown }) => value))).toEqual(forms)
          expect(await raw.lrangeBuffer(Buffer.from(key), 0, -1)).toEqual(elements.map((part) => Buffer.from(part)))
          await post('set', { key: name, index: -1, value: forms[0], expected: forms.at(-1) })
          const popped = await post(
            'pop',
            { key: name, count: elements.length, side: 'right' },
            id(),
            '?encoding=base64',
          )
          expect(popped.body).toEqual({ key: name, data: [forms[0], ...forms.slice(0, -1).toReversed()], length: 0 })
          expect(await raw.exists(Buffer.from(key))).toBe(0)
        }),
        { numRuns: 60 },
      )
    })
  })

  describe('POST /redis/{databaseId}/lists/set', () => {
    test('200 from either end', async () => {
      await raw.rpush('l', 'a', 'b', 'c')
      expect((await post('set', { key: 'l', index: 0, value: 'A' })).body).toEqual({
        key: 'l',
        index: 0,
        written: true,
        length: 3,
      })
      await post('set', { key: 'l', index: -1, value: 'C', expected: 'c' })
      expect(await values()).toEqual(['A', 'b', 'C'])
    })

    test('409 another element than the expected, which stays', async () => {
      await raw.rpush('l', 'a', 'b')
      const { status, body } = await post('set', { key: 'l', index: 1, value: 'x', expected: 'a' })
      expect([status, body.error.code]).toEqual([409, 'DB_CONFLICT'])
      expect(await values()).toEqual(['a', 'b'])
    })

    test('404 a key or a position that is not there', async () => {
      await raw.rpush('l', 'a')
      for (const expected of [{}, { expected: 'a' }]) {
        for (const where of [
          { key: 'l', index: 1 },
          { key: 'l', index: -2 },
          { key: 'absent', index: 0 },
        ]) {
          const { status, body } = await post('set', { ...where, value: 'x', ...expected })
          expect([status, body.error.code]).toEqual([404, 'NOT_FOUND'])
        }
      }
    })

    test('400 a key of another type, and an index that is none', async () => {
      await raw.set('text', 'x')
      for (const more of [{}, { expected: 'a' }])
        expect((await post('set', { key: 'text', index: 0, value: 'x', ...more })).body.error.details).toEqual({
          code: 'WRONGTYPE',
        })
      expect((await post('set', { key: 'l', index: 0.5, value: 'x' })).body.error.details[0].field).toBe('index')
    })

    test('200 or 409 of many that change one element from the same value, one does', async () => {
      await raw.rpush('l', 'before')
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, n) => post('set', { key: 'l', index: 0, value: `by ${n}`, expected: 'before' })),
      )
      expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array.from({ length: 11 }, () => 409)])
      expect(await values()).toEqual([`by ${answers.findIndex(({ status }) => status === 200)}`])
    })
  })

  describe('POST /redis/{databaseId}/lists/insert', () => {
    test('200 before and after the first that equals the pivot', async () => {
      await raw.rpush('l', 'a', 'b', 'b')
      expect((await post('insert', { key: 'l', where: 'before', pivot: 'b', value: 'x' })).body).toEqual({
        key: 'l',
        length: 4,
      })
      await post('insert', { key: 'l', where: 'after', pivot: 'b', value: 'y' })
      expect(await values()).toEqual(['a', 'x', 'b', 'y', 'b'])
    })

    test('404 a pivot or a key that is not there, 400 another type', async () => {
      await raw.rpush('l', 'a')
      await raw.set('text', 'x')
      const insert = (key: string) => post('insert', { key, where: 'after', pivot: 'b', value: 'x' })
      expect([(await insert('l')).status, (await insert('absent')).status, (await insert('text')).status]).toEqual([
        404, 404, 400,
      ])
    })
  })

  describe('POST /redis/{databaseId}/lists/remove', () => {
    test('200 by value: the first, the last so many, all', async () => {
      await raw.rpush('l', 'x', 'a', 'x', 'b', 'x', 'c', 'x')
      expect((await post('remove', { key: 'l', value: 'x' })).body).toEqual({ key: 'l', removed: 1, length: 6 })
      expect((await post('remove', { key: 'l', value: 'x', count: -1 })).body.removed).toBe(1)
      expect(await values()).toEqual(['a', 'x', 'b', 'x', 'c'])
      expect((await post('remove', { key: 'l', value: 'x', count: 0 })).body).toEqual({
        key: 'l',
        removed: 2,
        length: 3,
      })
      expect((await post('remove', { key: 'l', value: 'x' })).body).toEqual({ key: 'l', removed: 0, length: 3 })
    })

    test('200 by position, among equal elements, and the list is gone with the last', async () => {
      await raw.rpush('l', 'x', 'x', 'y', 'x')
      expect((await post('remove', { key: 'l', index: 2 })).body).toEqual({ key: 'l', removed: 1, length: 3 })
      expect((await post('remove', { key: 'l', index: -1, expected: 'x' })).body).toEqual({
        key: 'l',
        removed: 1,
        length: 2,
      })
      expect(await values()).toEqual(['x', 'x'])
      await post('remove', { key: 'l', index: 1 })
      expect((await post('remove', { key: 'l', index: 0 })).body).toEqual({ key: 'l', removed: 1, length: 0 })
      expect(await raw.exists('l')).toBe(0)
    })

    test('409 another element than the expected; 404 no such position or key; 400 another type', async () => {
      await raw.rpush('l', 'a', 'b')
      await raw.set('text', 'x')
      const status = async (body: object) => (await post('remove', { key: 'l', ...body })).status
      expect(await status({ index: 0, expected: 'b' })).toBe(409)
      for (const more of [{}, { expected: 'a' }]) {
        expect(await status({ index: 2, ...more })).toBe(404)
        expect(await status({ index: -3, ...more })).toBe(404)
        expect(await status({ key: 'absent', index: 0, ...more })).toBe(404)
        expect(await status({ key: 'text', index: 0, ...more })).toBe(400)
      }
      expect(await values()).toEqual(['a', 'b'])
    })

    test('never removes another element, nor shows a marker, while others push at both ends', async () => {
      const wanted = Array.from({ length: 80 }, (_, n) => `wanted ${n}`)
      await raw.rpush('l', ...wanted)
      const others = raw.duplicate()
      const pushed: string[] = []
      const seen = new Set<string>()
      const push = async (side: 'lpush' | 'rpush', times: number) => {
        for (let n = 0; n < times; n++) {
          const element = `pushed ${pushed.length}`
          pushed.push(element)
          await others[side]('l', element)
          for (const found of await others.lrange('l', 0, -1)) seen.add(found)
        }
      }
      const removed: string[] = []
      for (const [n, element] of wanted.entries()) {
        const index = (await values()).indexOf(element)
        const removal = post('remove', { key: 'l', index, expected: element })
        // At the end positions stay; at the beginning they move before the removal, while it is made, or after it.
        const [{ status, body }] = await Promise.all([removal, n % 4 === 0 ? push('lpush', 2) : push('rpush', 2)])
        if (status === 200) removed.push(element)
        else expect([status, body.error.code]).toEqual([409, 'DB_CONFLICT'])
      }
      others.disconnect()
      const left = new Set(await values())
      expect([...wanted, ...pushed].filter((element) => !left.has(element)).toSorted()).toEqual(removed.toSorted())
      expect(removed.length).toBeGreaterThanOrEqual(20)
      expect([...seen].filter((element) => !/^(wanted|pushed) \d+$/.test(element))).toEqual([])
    })

    for (const [wrong, field] of [
      [{}, 'value'],
      [{ value: 'a', index: 0 }, 'value'],
      [{ index: 0, count: 1 }, 'count'],
      [{ value: 'a', expected: 'a' }, 'expected'],
      [{ index: '0' }, 'index'],
      [{ value: 'a', count: 1.5 }, 'count'],
    ] as const) {
      test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
        const { status, body } = await post('remove', { key: 'l', ...wrong })
        expect([status, body.error.details[0].field]).toEqual([400, field])
      })
    }
  })

  describe('POST /redis/{databaseId}/lists/trim', () => {
    test('200 keeps a range, and no list of an empty one', async () => {
      await raw.rpush('l', 'a', 'b', 'c', 'd', 'e')
      expect((await post('trim', { key: 'l', start: 1, stop: -2 })).body).toEqual({ key: 'l', removed: 2, length: 3 })
      expect(await values()).toEqual(['b', 'c', 'd'])
      expect((await post('trim', { key: 'l', start: 5, stop: 9 })).body).toEqual({ key: 'l', removed: 3, length: 0 })
      expect((await post('trim', { key: 'l', start: 0, stop: 0 })).status).toBe(404)
    })
  })

  describe('POST /redis/{databaseId}/lists/pop', () => {
    test('200 from either end, in the order they were taken', async () => {
      await raw.rpush('l', 'a', 'b', 'c', 'd', 'e')
      expect((await post('pop', { key: 'l' })).body).toEqual({ key: 'l', data: ['a'], length: 4 })
      expect((await post('pop', { key: 'l', side: 'right', count: 2 })).body).toEqual({
        key: 'l',
        data: ['e', 'd'],
        length: 2,
      })
      expect((await post('pop', { key: 'l', count: 10 })).body).toEqual({ key: 'l', data: ['b', 'c'], length: 0 })
      expect((await post('pop', { key: 'l' })).body.error.code).toBe('NOT_FOUND')
    })

    test('413 elements that can not be answered are not taken', async () => {
      for (const elements of [
        ['x'.repeat(65_537)],
        Array.from({ length: 20 }, () => 'x'.repeat(60_000)),
        ['w'.repeat(5_000_000)],
      ]) {
        await raw.del('l')
        await raw.rpush('l', ...elements)
        const { status, body } = await post('pop', { key: 'l', count: 1_000 })
        expect([status, body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
        expect(await raw.llen('l')).toBe(elements.length)
      }
    })

    test('200 many callers take each element once while others push', async () => {
      const elements = Array.from({ length: 60 }, (_, n) => `job ${n}`)
      await raw.rpush('l', ...elements)
      const pop = async (side: 'left' | 'right'): Promise<string[]> => {
        const taken: string[] = []
        for (;;) {
          const { status, body } = await post('pop', { key: 'l', side, count: 2 })
          if (status === 404) return taken
          if (status === 200) taken.push(...body.data)
          else expect(body.error.code).toBe('DB_CONFLICT')
        }
      }
      const taken = await Promise.all([pop('left'), pop('right'), pop('left'), pop('left'), pop('right')])
      expect(taken.flat().toSorted()).toEqual(elements.toSorted())
    })

    for (const count of [0, 1_001, 1.5, '1']) {
      test(`400 a count of ${JSON.stringify(count)}`, async () => {
        expect((await post('pop', { key: 'l', count })).body.error.details[0].field).toBe('count')
      })
    }
  })

  describe('POST /redis/{databaseId}/lists/move', () => {
    test('200 between lists, and within one', async () => {
      await raw.rpush('l', 'a', 'b')
      expect((await post('move', { source: 'l', destination: 'done' })).body).toEqual({
        source: 'l',
        destination: 'done',
        value: 'a',
        source_length: 1,
        destination_length: 1,
      })
      await post('move', { source: 'l', destination: 'done', from: 'right', to: 'left' })
      expect([await raw.exists('l'), await raw.lrange('done', 0, -1)]).toEqual([0, ['b', 'a']])
      expect((await post('move', { source: 'done', destination: 'done' })).body).toMatchObject({
        value: 'b',
        source_length: 2,
      })
      expect(await raw.lrange('done', 0, -1)).toEqual(['a', 'b'])
    })

    test('404 a source that is not there; 400 a destination of another type, and nothing moved', async () => {
      expect((await post('move', { source: 'absent', destination: 'done' })).status).toBe(404)
      await raw.rpush('l', 'a')
      await raw.set('text', 'x')
      expect((await post('move', { source: 'l', destination: 'text' })).body.error.details).toEqual({
        code: 'WRONGTYPE',
      })
      expect(await values()).toEqual(['a'])
    })

    test('200 an element above the cap moves, and is left out of the answer; 413 one no reply may hold stays', async () => {
      await raw.rpush('l', 'x'.repeat(65_537), 'w'.repeat(5_000_000))
      expect((await post('move', { source: 'l', destination: 'done' })).body).toMatchObject({
        value: null,
        truncated: true,
        size_bytes: 65_537,
      })
      expect((await post('move', { source: 'l', destination: 'done' })).status).toBe(413)
      expect([await raw.llen('l'), await raw.llen('done')]).toEqual([1, 1])
    })
  })

  describe('who may only read, and where', () => {
    const writes = [
      ['push', { key: 'l', values: ['x'] }],
      ['push', { key: 'new', values: ['x'], onlyNew: true }],
      ['set', { key: 'l', index: 0, value: 'x' }],
      ['set', { key: 'l', index: 0, value: 'x', expected: 'a' }],
      ['insert', { key: 'l', where: 'after', pivot: 'a', value: 'x' }],
      ['remove', { key: 'l', value: 'a' }],
      ['remove', { key: 'l', index: 0 }],
      ['remove', { key: 'l', index: 0, expected: 'a' }],
      ['trim', { key: 'l', start: 1, stop: 1 }],
      ['pop', { key: 'l' }],
      ['move', { source: 'l', destination: 'done' }],
    ] as const

    test('403 every write to a database that is registered read-only, also from another logical one', async () => {
      const config = { readOnly: true }
      const { id: of } = await app.register({ name: 'read-only', type: 'redis', connectionString: url(), config })
      const zero = await app.register({ name: 'read-only-of-0', type: 'redis', connectionString: store.url, config })
      await raw.rpush('l', 'a')
      for (const [path, body] of writes) {
        const answers = [await post(path, body, of), await post(path, body, zero.id, '?db=14')]
        expect(answers.map(({ status, body: { error } }) => [path, status, error.code])).toEqual(
          answers.map(() => [path, 403, 'DB_READ_ONLY']),
        )
      }
      expect([await values(), await raw.dbsize()]).toEqual([['a'], 1])
      expect((await list({ key: 'l' }, of)).status).toBe(200)
    })

    test('403 every write with a key of the role read, which still reads', async () => {
      const made = await app.request('POST', '/api/platform/api-keys', {
        body: { name: 'reader of lists', projectRef: 'default', role: 'read' },
      })
      const key = made.body.secret as string
      await raw.rpush('l', 'a')
      for (const [path, body] of writes) {
        const answer = await app.request('POST', `/api/platform/redis/${id()}/lists/${path}`, { key, body })
        expect([answer.status, answer.body.error.code]).toEqual([403, 'FORBIDDEN'])
      }
      expect([await values(), await raw.dbsize()]).toEqual([['a'], 1])
      expect((await app.request('GET', `/api/platform/redis/${id()}/lists?key=l`, { key })).status).toBe(200)
    })

    test('200 every write in another logical database', async () => {
      const other = raw.duplicate({ db: 13 })
      await other.del('l', 'done')
      try {
        const steps = [
          ['push', { key: 'l', values: ['a', 'b', 'c', 'd'], onlyNew: true }],
          ['set', { key: 'l', index: 0, value: 'A', expected: 'a' }],
          ['insert', { key: 'l', where: 'after', pivot: 'A', value: 'i' }],
          ['remove', { key: 'l', index: 1 }],
          ['trim', { key: 'l', start: 0, stop: 2 }],
          ['pop', { key: 'l', side: 'right' }],
          ['move', { source: 'l', destination: 'done' }],
        ] as const
        for (const [path, body] of steps)
          expect([path, (await post(path, body, id(), '?db=13')).status]).toEqual([path, 200])
        expect([await other.lrange('l', 0, -1), await other.lrange('done', 0, -1)]).toEqual([['b'], ['A']])
        expect(await raw.dbsize()).toBe(0)
        expect((await list({ key: 'l', db: '13' })).body.data).toEqual([{ index: 0, value: 'b' }])
      } finally {
        await other.del('l', 'done')
        other.disconnect()
      }
    })

    test('an ACL user who may not use MULTI writes nothing by a route that needs it', async () => {
      const user = `lists-${crypto.randomUUID().slice(0, 8)}`
      await raw.call('ACL', 'SETUSER', user, 'on', '>secret', '~*', '+@all', '-multi')
      try {
        const connectionString = `redis://${user}:secret@${store.host}:${store.port}/14`
        const { id: of } = await app.register({ name: user, type: 'redis', connectionString })
        await raw.rpush('l', 'a', 'b')
        for (const [path, body] of [
          ['remove', { key: 'l', index: 0 }],
          ['remove', { key: 'l', index: 0, expected: 'a' }],
          ['trim', { key: 'l', start: 1, stop: 1 }],
          ['pop', { key: 'l' }],
        ] as const) {
          const answer = await post(path, body, of)
          expect([answer.status, answer.body.error.details]).toEqual([400, { code: 'NOPERM' }])
        }
        expect(await values()).toEqual(['a', 'b'])
      } finally {
        await raw.call('ACL', 'DELUSER', user)
      }
    })
  })
})
