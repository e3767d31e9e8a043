import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, linesOf } from '#test/support/event-stream.ts'
import { startOwnRedis } from '../faults/own-redis.ts'
import { contentOf } from './redis-contents.ts'

describeWith('redis', 'POST /redis/{databaseId}/import', (store) => {
  const connect = (db: number) =>
    new Redis({ host: store.host, port: store.port, password: store.password, db, lazyConnect: true, protocol: 2 })
  const [raw, source] = [connect(8), connect(10)]
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_IMPORT_BYTES: '2097152' } })
    id = (await app.register({ name: 'import', type: 'redis', connectionString: store.url.replace(/\/0$/, '/8') })).id
  })
  beforeEach(async () => {
    await raw.flushdb()
    await source.flushdb()
  })
  afterAll(async () => {
    await raw.flushdb()
    await source.flushdb()
    raw.disconnect()
    source.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const headers = { 'content-type': 'application/x-ndjson' }
  const post = (body: unknown, query = '', of = id) =>
    app.stream('POST', `/api/platform/redis/${of}/import${query}`, { body, headers })
  const send = async (given: readonly unknown[] | string, query = '', of = id) => {
    const text = typeof given === 'string' ? given : given.map((line) => JSON.stringify(line)).join('\n')
    const all = await Array.fromAsync(linesOf(await post(text, query, of)))
    return all.at(-1)
  }
  const counts = { read: 0, written: 0, skipped: 0, failed: 0, keys: 0, stopped: false, errors: [] }

  test('200 writes every type as it is said, with and without an expiry', async () => {
    const at = Date.now() + 600_000
    expect(
      await send([
        { key: 'string', type: 'string', value: 'ÿ', expires_at_ms: at },
        { key: 'list', type: 'list', elements: ['a', { base64: '/w==' }, 'a'], ttl_ms: 600_000 },
        { key: 'set', type: 'set', members: ['a', 'b'], expires_at_ms: null },
        {
          key: 'zset',
          type: 'zset',
          members: [
            ['a', '1.5'],
            ['b', '-inf'],
            ['c', '9007199254740993'],
          ],
        },
        {
          key: 'hash',
          type: 'hash',
          fields: [
            ['f', '1'],
            [{ base64: '/w==' }, ''],
          ],
        },
        {
          key: 'stream',
          type: 'stream',
          entries: [
            {
              id: '5-1',
              fields: [
                ['a', '1'],
                ['a', '2'],
              ],
            },
          ],
          last_id: '9-0',
          groups: [{ name: 'g', last_delivered_id: '5-1' }],
        },
        { key: 'empty', type: 'stream', entries: [], last_id: '7-7', groups: [] },
      ]),
    ).toEqual({ ...counts, read: 7, written: 7, keys: 7 })
    expect(await raw.pexpiretime('string')).toBeWithin(at, at + 1_000)
    expect(await raw.pttl('list')).toBeGreaterThan(500_000)
    expect(await raw.pttl('set')).toBe(-1)
    expect(await contentOf(raw)).toEqual({
      string: ['string', '\xc3\xbf'],
      list: ['list', ['a', '\xff', 'a']],
      set: ['set', ['a', 'b']],
      zset: [
        'zset',
        [
          ['a', '1.5'],
          ['b', '-inf'],
          ['c', '9007199254740992'],
        ],
      ],
      hash: [
        'hash',
        [
          ['f', '1'],
          ['\xff', ''],
        ],
      ],
      stream: ['stream', [['5-1', ['a', '1', 'a', '2']]], '9-0', [['g', '5-1']]],
      empty: ['stream', [], '7-7', []],
    } as never)
  })

  describe('a key that is there already', () => {
    const given = [
      { key: 'string', type: 'string', value: 'new' },
      { key: 'list', type: 'list', elements: ['new'] },
      { key: 'list', type: 'list', elements: ['more'], part: 1 },
      { key: 'other', type: 'set', members: ['new'] },
    ]
    beforeEach(async () => {
      await raw.set('string', 'old', 'EX', 100)
      await raw.rpush('list', 'old')
      await raw.expire('list', 100)
    })

    test('200 fails unless said otherwise, and the rest of it with it', async () => {
      const CONFLICT = { code: 'CONFLICT', message: expect.any(String) }
      const expected = { read: 4, written: 1, skipped: 1, failed: 2, keys: 1 }
      const errors = [
        { line: 1, ...CONFLICT },
        { line: 2, ...CONFLICT },
      ]
      expect(await send(given)).toEqual({ ...counts, ...expected, errors })
      expect([await raw.get('string'), await raw.lrange('list', 0, -1)]).toEqual(['old', ['old']])
    })

    test('200 is left as it is with onConflict=skip', async () => {
      expect(await send(given, '?onConflict=skip')).toEqual({ ...counts, read: 4, written: 1, skipped: 3, keys: 1 })
      expect([await raw.get('string'), await raw.lrange('list', 0, -1)]).toEqual(['old', ['old']])
    })

    test('200 is replaced with its expiry with onConflict=replace', async () => {
      expect(await send(given, '?onConflict=replace')).toEqual({ ...counts, read: 4, written: 4, keys: 3 })
      expect([await raw.get('string'), await raw.lrange('list', 0, -1)]).toEqual(['new', ['new', 'more']])
      expect([await raw.ttl('string'), await raw.ttl('list')]).toEqual([-1, -1])
    })

    test('200 the same for the form of DUMP', async () => {
      await source.set('x', 'dumped')
      const dump = ((await source.dumpBuffer('x')) ?? Buffer.alloc(0)).toString('base64')
      const line = [{ key: 'string', dump, expires_at_ms: null }]
      expect((await send(line)).errors).toEqual([{ line: 1, code: 'CONFLICT', message: expect.any(String) }])
      expect(await send(line, '?onConflict=skip')).toMatchObject({ skipped: 1, failed: 0 })
      expect(await raw.get('string')).toBe('old')
      expect(await send(line, '?onConflict=replace')).toMatchObject({ written: 1 })
      expect([await raw.get('string'), await raw.ttl('string')]).toEqual(['dumped', -1])
    })

    test('200 the same key twice: the first is written, the second meets it', async () => {
      const twice = [
        { key: 'k', type: 'set', members: ['1'] },
        { key: 'k', type: 'set', members: ['2'] },
      ]
      expect(await send(twice, '?onConflict=skip')).toMatchObject({ written: 1, skipped: 1 })
      expect(await raw.smembers('k')).toEqual(['1'])
    })
  })

  test('200 what has expired where it came from is passed over, in all its lines', async () => {
    const given = [
      { key: 'gone', type: 'list', elements: ['1'], expires_at_ms: 1 },
      { key: 'gone', type: 'list', elements: ['2'], expires_at_ms: 1, part: 1 },
      { key: 'there', type: 'string', value: '1' },
    ]
    expect(await send(given)).toEqual({ ...counts, read: 3, written: 1, skipped: 2, keys: 1 })
    expect(await raw.keys('*')).toEqual(['there'])
  })

  const wrong: readonly (readonly [name: string, line: string, code: string, message: RegExp])[] = [
    ['no JSON', '{"key":', 'VALIDATION_FAILED', /not valid JSON/],
    ['a list', '[1]', 'VALIDATION_FAILED', /no JSON object/],
    ['no key', '{"type":"string","value":"x"}', 'VALIDATION_FAILED', /^key:/],
    ['an unknown type', '{"key":"k","type":"hyperlog","value":"x"}', 'VALIDATION_FAILED', /^type:/],
    ['an unknown field', '{"key":"k","type":"string","value":"x","ttl":1}', 'VALIDATION_FAILED', /ttl/],
    ['a list without elements', '{"key":"k","type":"list","elements":[]}', 'VALIDATION_FAILED', /^elements:/],
    [
      'a score that is none',
      '{"key":"k","type":"zset","members":[["a","1x"]]}',
      'VALIDATION_FAILED',
      /^members\.0\.1:/,
    ],
    ['bytes that are no base64', '{"key":"k","dump":"!"}', 'VALIDATION_FAILED', /^dump:/],
    ['half a character', '{"key":"k","type":"string","value":"\\ud800"}', 'VALIDATION_FAILED', /^value:/],
    [
      'both expiries',
      '{"key":"k","type":"string","value":"x","ttl_ms":1,"expires_at_ms":1}',
      'VALIDATION_FAILED',
      /ttl_ms/,
    ],
    [
      'a part without its beginning',
      '{"key":"k","type":"list","elements":["x"],"part":1}',
      'VALIDATION_FAILED',
      /^part:/,
    ],
    [
      'what an export could not read',
      '{"key":"k","type":"x","error":{"code":"DB_UNSUPPORTED","message":"x"}}',
      'VALIDATION_FAILED',
      /export/,
    ],
    ['a damaged dump', '{"key":"k","dump":"AAAA"}', 'DB_QUERY_ERROR', /damaged/],
    [
      'entries out of order',
      '{"key":"k","type":"stream","entries":[{"id":"5-0","fields":[["a","b"]]},{"id":"4-0","fields":[["a","b"]]}]}',
      'DB_QUERY_ERROR',
      /ERR/,
    ],
  ]
  for (const [name, line, code, message] of wrong) {
    test(`200 tells ${name} with its line, and writes the others`, async () => {
      const fine = (key: string) => JSON.stringify({ key, type: 'string', value: 'x' })
      const answer = await send(`${fine('before')}\n\n${line}\r\n${fine('after')}`)
      expect(answer).toEqual({
        ...counts,
        read: 3,
        written: 2,
        failed: 1,
        keys: 2,
        errors: [{ line: 3, code, message: expect.stringMatching(message) }],
      })
      expect(await raw.mget('before', 'after')).toEqual(['x', 'x'])
    })
  }

  test('200 a line that is no UTF-8 is told, never changed', async () => {
    const line = Buffer.concat([
      Buffer.from('{"key":"k","type":"string","value":"'),
      Buffer.from([0xff]),
      Buffer.from('"}\n'),
    ])
    const all = await Array.fromAsync(linesOf(await post(line)))
    expect(all).toEqual([
      {
        ...counts,
        read: 1,
        failed: 1,
        errors: [{ line: 1, code: 'VALIDATION_FAILED', message: expect.stringContaining('UTF-8') }],
      },
    ])
    expect(await raw.dbsize()).toBe(0)
  })

  test('200 counts all that failed and tells the first hundred', async () => {
    const answer = await send('no json\n'.repeat(250))
    expect([answer.read, answer.failed, answer.errors.length, answer.errors[99].line]).toEqual([250, 250, 100, 100])
  })

  test('200 stops at the first failure when it is asked to', async () => {
    const fine = (key: string) => ({ key, type: 'string', value: 'x' })
    const answer = await send([fine('a'), { key: 'bad' }, fine('b')], '?stopOnError=true')
    expect(answer).toMatchObject({ read: 2, written: 1, failed: 1, stopped: true })
    expect(await raw.keys('*')).toEqual(['a'])
  })

  test('200 no line at all, and an export’s last one', async () => {
    expect(await send('')).toEqual(counts)
    expect(await send('\n\n  \n{"end":{"keys":0,"failed":0}}\n')).toEqual(counts)
  })

  test('413 a body above the limit, with what was written so far; a declared one before anything is', async () => {
    const lines = Array.from({ length: 400 }, (_, n) =>
      JSON.stringify({ key: `k${n}`, type: 'string', value: 'x'.repeat(8_000) }),
    )
    const chunks = lines.map((line) => Buffer.from(`${line}\n`))
    const response = await post(
      new ReadableStream({ pull: (c) => (chunks.length === 0 ? c.close() : c.enqueue(chunks.shift())) }),
    )
    const error = await errorOf(response)
    expect([response.status, error.code, error.details.import.written]).toEqual([
      413,
      'PAYLOAD_TOO_LARGE',
      await raw.dbsize(),
    ])
    expect(error.details.import.written).toBeGreaterThan(100)
  })

  test('415 JSON, 400 what onConflict is not, 404 an unknown database', async () => {
    const json = await app.request('POST', `/api/platform/redis/${id}/import`, { body: {} })
    expect([json.status, json.body.error.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE'])
    expect((await errorOf(await post('', '?onConflict=merge'))).details[0].field).toBe('onConflict')
    expect((await post('', '', crypto.randomUUID())).status).toBe(404)
  })

  test('403 a database that is registered read-only, and a key that may only read', async () => {
    const line = JSON.stringify({ key: 'k', type: 'string', value: 'x' })
    const connectionString = store.url.replace(/\/0$/, '/8')
    const config = { readOnly: true }
    const readOnly = await app.register({ name: 'import-read-only', type: 'redis', connectionString, config })
    const response = await post(line, '', readOnly.id)
    expect([response.status, (await errorOf(response)).code]).toEqual([403, 'DB_READ_ONLY'])
    const body = { name: 'reader', projectRef: 'default', role: 'read' }
    const { secret } = (await app.request('POST', '/api/platform/api-keys', { body })).body
    const path = `/api/platform/redis/${id}/import`
    expect((await app.stream('POST', path, { body: line, headers, key: secret })).status).toBe(403)
    expect(await raw.dbsize()).toBe(0)
  })

  test('503 a replica, and an error that says how far it came where a server becomes one', async () => {
    await using own = await startOwnRedis()
    const replica = await app.register({ name: 'import-replica', type: 'redis', connectionString: own.url })
    const line = (n: number) => `${JSON.stringify({ key: `k${n}`, type: 'string', value: 'x' })}\n`
    const many = Array.from({ length: 150 }, (_, n) => line(n))
    let sent = 0
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (sent === 100) {
          await eventually(() => own.use(async (redis) => (await redis.dbsize()) === 100))
          await own.use((redis) => redis.replicaof('127.0.0.1', 1))
        }
        const next = many[sent++]
        if (next === undefined) controller.close()
        else controller.enqueue(Buffer.from(next))
      },
    })
    const response = await post(body, '', replica.id)
    const error = await errorOf(response)
    expect([response.status, error.code, error.retryable]).toEqual([503, 'DB_NOT_PRIMARY', true])
    expect(error.details.import).toMatchObject({ written: 100, failed: 50, keys: 100 })
    expect((await post(line(1), '', replica.id)).status).toBe(503)
  })

  test('a caller who leaves stops it, and the session comes back', async () => {
    const leaving = new AbortController()
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await Bun.sleep(1)
        const line = JSON.stringify({ key: `endless:${sent++}`, type: 'string', value: 'x' })
        controller.enqueue(Buffer.from(`${line}\n`.repeat(50)))
      },
    })
    const answer = app
      .stream('POST', `/api/platform/redis/${id}/import?onConflict=replace`, {
        body: endless,
        headers,
        signal: leaving.signal,
      })
      .then((response) => response.text())
      .catch(() => undefined)
    await eventually(async () => (await raw.dbsize()) > 0)
    leaving.abort()
    await answer
    await eventually(() => app.deps.connections.metrics().leased === 0)
    const size = await raw.dbsize()
    await raw.ping()
    expect(await raw.dbsize()).toBe(size)
  })

  test('200 what was exported is there again: every type, any bytes, expiries', async () => {
    const exported = await app.register({
      name: 'export-source',
      type: 'redis',
      connectionString: store.url.replace(/\/0$/, '/10'),
    })
    const bytes = fc.uint8Array({ maxLength: 30 }).map((array) => Buffer.from(array))
    const many = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 20 })
    const score = fc.oneof(fc.double({ noNaN: true }), fc.integer())
    const value = fc.oneof(
      bytes.map((text) => ['set', text] as const),
      many(bytes).map((items) => ['rpush', ...items] as const),
      many(bytes).map((items) => ['sadd', ...items] as const),
      many(fc.tuple(score, bytes)).map(
        (items) =>
          [
            'zadd',
            ...items.flatMap(([n, m]) => [n === Infinity ? 'inf' : n === -Infinity ? '-inf' : String(n), m]),
          ] as const,
      ),
      many(fc.tuple(bytes, bytes)).map((items) => ['hset', ...items.flat()] as const),
      many(many(fc.tuple(bytes, bytes))).map((entries) => ['xadd', entries] as const),
    )
    const keys = fc.uniqueArray(fc.tuple(bytes, value, fc.option(fc.integer({ min: 100_000, max: 1e9 }))), {
      minLength: 1,
      maxLength: 15,
      selector: ([key]) => key.toString('latin1'),
    })
    await fc.assert(
      fc.asyncProperty(keys, fc.constantFrom('typed', 'dump'), async (given, form) => {
        await source.flushdb()
        await raw.flushdb()
        for (const [key, [command, ...args], ttl] of given) {
          if (command === 'xadd') {
            const [entries] = args as [readonly (readonly [Buffer, Buffer][])[]]
            for (const fields of entries) await source.callBuffer('xadd', key, '*', ...fields.flat())
            await source.callBuffer('xgroup', 'CREATE', key, 'group', '0')
          } else await source.callBuffer(command, key, ...(args as (Buffer | string)[]))
          if (ttl !== null) await source.pexpire(key, ttl)
        }
        const text = await (await app.stream('GET', `/api/platform/redis/${exported.id}/export?form=${form}`)).text()
        expect(await send(text)).toMatchObject({ keys: given.length, failed: 0, skipped: 0 })
        expect(await contentOf(raw)).toEqual(await contentOf(source))
        for (const [key] of given) {
          const expiry = await source.pexpiretime(key)
          expect(await raw.pexpiretime(key)).toBeWithin(expiry, expiry + (form === 'dump' ? 1 : 1_000))
          // The order in a set's table is its own.
          if (form === 'dump' && (await raw.type(key)) !== 'set')
            expect(await raw.dumpBuffer(key)).toEqual(await source.dumpBuffer(key))
        }
      }),
      { numRuns: 60 },
    )
  })

  test('200 large values of every type are there again', async () => {
    const exported = await app.register({
      name: 'export-large',
      type: 'redis',
      connectionString: store.url.replace(/\/0$/, '/10'),
    })
    const wide = await createTestApp()
    await using _wide = wide
    const target = await wide.register({
      name: 'wide',
      type: 'redis',
      connectionString: store.url.replace(/\/0$/, '/8'),
    })
    await source.set('string', Buffer.alloc(2_500_000, 'ß\xff'))
    const pipeline = source.pipeline()
    for (let n = 0; n < 5_000; n++) {
      pipeline.rpush('list', `element ${n}`)
      pipeline.sadd('set', `member ${n}`)
      pipeline.zadd('zset', n / 7, `member ${n}`)
      pipeline.hset('hash', `field ${n}`, 'x'.repeat(n % 700))
      pipeline.xadd('stream', `${n + 1}-0`, 'n', String(n))
    }
    for (let n = 0; n < 30; n++) pipeline.rpush('wide', randomBytes(700_000))
    pipeline.expire('hash', 1_000)
    await pipeline.exec()
    for (const form of ['typed', 'dump']) {
      await raw.flushdb()
      const response = await app.stream('GET', `/api/platform/redis/${exported.id}/export?form=${form}`)
      const lines = await Array.fromAsync(linesOf(response))
      expect(Math.max(...lines.map((line) => JSON.stringify(line).length))).toBeLessThan(16_777_216)
      const { failed } = lines.at(-1).end
      const text = lines
        .filter((line) => !('error' in line))
        .map((line) => JSON.stringify(line))
        .join('\n')
      const answer = await wide.stream('POST', `/api/platform/redis/${target.id}/import`, { body: text, headers })
      expect((await Array.fromAsync(linesOf(answer))).at(-1)).toMatchObject({ failed: 0, skipped: 0 })
      // A DUMP of 21 MB is above what a reply may be.
      if (form === 'dump') await source.del('wide')
      expect(failed).toBe(form === 'dump' ? 1 : 0)
      expect(Bun.deepEquals(await contentOf(raw), await contentOf(source))).toBe(true)
      expect(await raw.pexpiretime('hash')).toBe(await source.pexpiretime('hash'))
    }
  }, 60_000)
})
