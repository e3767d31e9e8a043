import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { linesOf } from '#test/support/event-stream.ts'

const minute = 60_000

describeWith('valkey', 'TTLs of hash fields', (store) => {
  const connect = (db: number) =>
    new Redis({ host: store.host, port: store.port, password: store.password, db, lazyConnect: true })
  const [raw, other] = [connect(8), connect(9)]
  const url = store.url.replace(/\/0$/, '/8')
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp()
    id = (await app.register({ name: 'field-ttl', type: 'redis', connectionString: url })).id
  })
  beforeEach(async () => {
    await raw.flushdb()
    await other.flushdb()
  })
  afterAll(async () => {
    await raw.flushdb()
    await other.flushdb()
    raw.disconnect()
    other.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const path = (route: string, of = id) => `/api/platform/redis/${of}/${route}`
  const post = (route: string, body: unknown, of = id) => app.request('POST', path(route, of), { body })
  const setTtl = (body: object, of = id) =>
    post('hashes/ttl', { key: 'h', fields: ['a', 'b', 'absent'], ttlMs: minute, ...body }, of)
  const list = (query: Readonly<Record<string, string>>, of = id) =>
    app.request('GET', path(`hashes?${new URLSearchParams(query)}`, of))
  const run = (...command: readonly (string | number)[]) => post('command', { command })
  const expire = (key: string, ms: number, ...fields: string[]) =>
    raw.call('HPEXPIRE', key, ms, 'FIELDS', fields.length, ...fields)
  /** By field: null lives for ever, true has at most a minute left, of which most. */
  const ttls = async (key = 'h', redis = raw): Promise<unknown> => {
    const names = (await redis.hkeys(key)).toSorted()
    const left = (await redis.call('HPTTL', key, 'FIELDS', names.length, ...names)) as number[]
    return Object.fromEntries(
      names.map((name, at) => [name, left[at] === -1 ? null : within(left[at] ?? Number.NaN)] as const),
    )
  }
  const within = (left: number) => (left > minute / 2 && left <= minute ? true : left)
  const told = ({ body }: Awaited<ReturnType<typeof list>>) =>
    body.data.map((entry: { field: unknown; ttl_ms: number | null }) => [
      entry.field,
      entry.ttl_ms === null ? null : within(entry.ttl_ms),
    ])

  describe('POST /redis/{databaseId}/hashes/ttl', () => {
    test('200 sets and removes them, and tells what became of each field', async () => {
      await raw.hset('h', { a: '1', b: '2', c: '3' })
      expect((await setTtl({})).body).toEqual({
        key: 'h',
        data: [
          { field: 'a', outcome: 'changed' },
          { field: 'b', outcome: 'changed' },
          { field: 'absent', outcome: 'absent' },
        ],
        changed: 2,
      })
      expect(await ttls()).toEqual({ a: true, b: true, c: null })
      expect((await setTtl({ fields: ['a', 'c', 'absent'], ttlMs: null })).body).toEqual({
        key: 'h',
        data: [
          { field: 'a', outcome: 'changed' },
          { field: 'c', outcome: 'unchanged' },
          { field: 'absent', outcome: 'absent' },
        ],
        changed: 1,
      })
      expect(await ttls()).toEqual({ a: null, b: true, c: null })
    })

    for (const [condition, changed] of [
      ['nx', ['never']],
      ['xx', ['long', 'short']],
      ['gt', ['short']],
      ['lt', ['long', 'never']],
    ] as const) {
      test(`200 ${condition} changes only ${changed.join(' and ')}`, async () => {
        await raw.hset('h', { never: '', long: '', short: '' })
        await expire('h', 2 * minute, 'long')
        await expire('h', minute / 4, 'short')
        const { body } = await setTtl({ fields: ['long', 'never', 'short'], condition })
        const expected = ['long', 'never', 'short'].map((field) => ({
          field,
          outcome: (changed as readonly string[]).includes(field) ? 'changed' : 'unchanged',
        }))
        expect(body).toEqual({ key: 'h', data: expected, changed: changed.length })
      })
    }

    test('200 for fields and keys of any bytes, told in base64 where that is asked for', async () => {
      const [key, field] = [Buffer.from([0xff, 0]), Buffer.from([0xfe, 0x0a])]
      const inBase64 = (bytes: Buffer) => ({ base64: bytes.toString('base64') })
      await raw.hset(key, field as never, Buffer.from([0x80]))
      const { body } = await post('hashes/ttl?encoding=base64', {
        key: inBase64(key),
        fields: [inBase64(field)],
        ttlMs: minute,
      })
      expect(body).toEqual({
        key: inBase64(key),
        data: [{ field: inBase64(field), outcome: 'changed' }],
        changed: 1,
      })
      expect(told(await list({ key: key.toString('base64'), encoding: 'base64' }))).toEqual([[inBase64(field), true]])
    })

    test('200 the longest TTL there is', async () => {
      await raw.hset('h', 'a', '1')
      expect((await setTtl({ fields: ['a'], ttlMs: 2 ** 46 })).body.changed).toBe(1)
      expect((await list({ key: 'h', field: 'a' })).body.data[0].ttl_ms).toBeGreaterThan(2 ** 46 - minute)
    })

    test('404 no such hash, 400 a key of another type', async () => {
      expect([(await setTtl({})).status, (await setTtl({ ttlMs: null })).status]).toEqual([404, 404])
      await raw.set('h', 'text')
      const { status, body } = await setTtl({})
      expect([status, body.error.details]).toEqual([400, { code: 'WRONGTYPE' }])
    })

    test('403 a database that is registered read-only, by this route as by a command', async () => {
      const config = { readOnly: true }
      const { id: of } = await app.register({ name: 'read-only', type: 'redis', connectionString: url, config })
      await raw.hset('h', 'a', '1')
      const answers = [
        await setTtl({}, of),
        await setTtl({ ttlMs: null }, of),
        ...(await Promise.all(
          [
            ['HSETEX', 'h', 'FIELDS', 1, 'a', '2'],
            ['HGETEX', 'h', 'EX', 1, 'FIELDS', 1, 'a'],
            ['HEXPIREAT', 'h', 1, 'FIELDS', 1, 'a'],
            ['HGETDEL', 'h', 'FIELDS', 1, 'a'],
          ].map((command) => post('command', { command }, of)),
        )),
      ]
      expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(
        answers.map(() => [403, 'DB_READ_ONLY']),
      )
      expect(await ttls()).toEqual({ a: null })
      expect((await post('command', { command: ['HTTL', 'h', 'FIELDS', 1, 'a'] }, of)).body.result).toEqual([-1])
    })
  })

  describe('GET /redis/{databaseId}/hashes', () => {
    test('200 tells the TTL of every field, by name, sorted and by HSCAN', async () => {
      for (const count of [10, 3_000]) {
        await raw.del('h')
        const names = Array.from({ length: count }, (_, n) => `f${String(n).padStart(4, '0')}`)
        await raw.hset('h', Object.fromEntries(names.map((name) => [name, 'x'])))
        await expire('h', minute, ...names.slice(0, count / 2))
        const found: unknown[] = []
        for (let cursor: string | null = ''; cursor !== null;) {
          const page = await list({ key: 'h', count: '1000', ...(cursor === '' ? {} : { cursor }) })
          found.push(...told(page))
          cursor = page.body.pagination.next_cursor
        }
        expect(Object.fromEntries(found as [string, unknown][])).toEqual(
          Object.fromEntries(names.map((name, at) => [name, at < count / 2 ? true : null])),
        )
      }
      expect(told(await list({ key: 'h', field: 'f0000' }))).toEqual([['f0000', true]])
      expect(told(await list({ key: 'h', field: 'f2999' }))).toEqual([['f2999', null]])
    })

    test('200 a field is on no page once its TTL is over, and 404 by its name; 404 a hash whose last one went', async () => {
      await raw.hset('h', { a: '1', b: '2' })
      await setTtl({ fields: ['a'], ttlMs: 1 })
      await eventually(async () => (await list({ key: 'h', field: 'a' })).status === 404)
      expect((await list({ key: 'h' })).body.data).toEqual([{ field: 'b', value: '2', ttl_ms: null }])
      await setTtl({ fields: ['b'], ttlMs: 1 })
      await eventually(async () => (await list({ key: 'h' })).status === 404)
      expect((await app.request('GET', path('keys?key=h'))).body.data).toEqual([])
    })

    test('200 the fields without their TTLs for an ACL user without HPTTL', async () => {
      const password = testPassword()
      await raw.call('ACL', 'SETUSER', 'no-hpttl', 'on', `>${password}`, '~*', '+@all', '-hpttl')
      const connectionString = url.replace(/\/\/[^@]*@/, `//no-hpttl:${password}@`)
      const { id: of } = await app.register({ name: 'no-hpttl', type: 'redis', connectionString })
      await raw.hset('h', 'a', '1')
      await setTtl({ fields: ['a'] })
      const answers = await Promise.all([list({ key: 'h' }, of), list({ key: 'h', field: 'a' }, of)])
      expect(answers.map(({ status, body }) => [status, body.data])).toEqual(
        answers.map(() => [200, [{ field: 'a', value: '1' }]]),
      )
      await raw.call('ACL', 'DELUSER', 'no-hpttl')
    })
  })

  test('a field that is set anew lives for ever; one that is incremented or kept by onlyNew keeps its TTL', async () => {
    await raw.hset('h', { set: '1', incremented: '1', float: '1', kept: '1' })
    await expire('h', minute, 'set', 'incremented', 'float', 'kept')
    await post('hashes', { key: 'h', set: [{ field: 'set', value: '2' }] })
    await post('hashes', { key: 'h', set: [{ field: 'kept', value: '2' }], onlyNew: true })
    await post('hashes/increment', { key: 'h', field: 'incremented' })
    await post('hashes/increment', { key: 'h', field: 'float', by: 0.5 })
    expect(await ttls()).toEqual({ set: null, incremented: true, float: true, kept: true })
    expect(await raw.hgetall('h')).toEqual({ set: '2', incremented: '2', float: '1.5', kept: '1' })
  })

  test('they go along with a rename and a copy, also to another database', async () => {
    const patch = (body: object) => app.request('PATCH', path('key'), { body })
    await raw.hset('h', { a: '1', b: '2' })
    await expire('h', minute, 'a')
    const steps = [
      { key: 'h', rename: { to: 'renamed' } },
      { key: 'renamed', copy: { to: 'copied' } },
      { key: 'renamed', copy: { to: 'elsewhere', db: 9 } },
    ]
    for (const step of steps) expect((await patch(step)).status).toBe(200)
    const kept = { a: true, b: null }
    expect([await ttls('renamed'), await ttls('copied'), await ttls('elsewhere', other)]).toEqual([kept, kept, kept])
  })

  test('PUT key, which replaces the whole hash, drops them', async () => {
    await raw.hset('h', { a: '1', b: '2' })
    await expire('h', minute, 'a')
    const value = [{ field: 'a', value: '3' }]
    expect((await app.request('PUT', path('key'), { body: { key: 'h', type: 'hash', value } })).status).toBe(200)
    expect([await raw.hgetall('h'), await ttls()]).toEqual([{ a: '3' }, { a: null }])
  })

  test('an export brings them along as a dump, and the fields alone as typed lines', async () => {
    await raw.hset('h', { a: '1', b: '2' })
    await expire('h', minute, 'a')
    const headers = { 'content-type': 'application/x-ndjson' }
    const moved = async (form: string) => {
      const exported = await app.stream('GET', path(`export?form=${form}`))
      const body = (await Array.fromAsync(linesOf(exported))).map((line) => JSON.stringify(line)).join('\n')
      const imported = await app.stream('POST', path('import?db=9&onConflict=replace'), { body, headers })
      expect((await Array.fromAsync(linesOf(imported))).at(-1)).toMatchObject({ written: 1, failed: 0 })
      return await ttls('h', other)
    }
    expect([await moved('dump'), await moved('typed')]).toEqual([
      { a: true, b: null },
      { a: null, b: null },
    ])
    expect(await other.hgetall('h')).toEqual({ a: '1', b: '2' })
  })

  test('commands of the server itself are run as they are', async () => {
    expect((await run('HSETEX', 'h', 'PX', minute, 'FIELDS', 2, 'a', '1', 'b', '2')).body.result).toBe(1)
    expect((await run('HGETEX', 'h', 'PERSIST', 'FIELDS', 2, 'a', 'absent')).body.result).toEqual(['1', null])
    expect(await ttls()).toEqual({ a: null, b: true })
    expect((await run('HTTL', 'h', 'FIELDS', 3, 'a', 'b', 'absent')).body.result).toEqual([-1, expect.any(Number), -2])
  })
})
