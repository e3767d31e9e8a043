import { beforeEach, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { eventually } from '#test/engines/peers.ts'
import { clientOf, productionEnvironment, startServer } from '#test/e2e/server.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, linesOf, nextOf } from '#test/support/event-stream.ts'
import { redisApp } from '#test/support/redis-app.ts'
import { stores } from '#test/support/stores.ts'

const megabytes = process.env['TEST_FULL'] === '1' ? 1_024 : 192

describeWith('redis', 'GET /redis/{databaseId}/export', (store) => {
  const { app, raw, id, url } = redisApp(store, 7, { env: { MAX_RESPONSE_BYTES: '65536', MAX_VALUE_BYTES: '65536' } })
  beforeEach(() => raw.flushdb())

  const open = (query = '', of = id()) => app.stream('GET', `/api/platform/redis/${of}/export?${query}`)
  const read = async (query = '', of = id()) => {
    const lines = await Array.fromAsync(linesOf(await open(query, of)))
    const { end } = lines.pop()
    return { lines: lines.toSorted((a, b) => (JSON.stringify(a.key) < JSON.stringify(b.key) ? -1 : 1)), end }
  }

  test('200 a line for each key of every type, bytes as they are, then the counts', async () => {
    const at = Date.now() + 600_000
    await raw.set('a', '', 'PXAT', at)
    await raw.rpush('b', 'x', Buffer.from([0xff]), 'x')
    await raw.sadd('c', 'only')
    await raw.zadd('d', '1.5', 'x', 'inf', 'y', '9007199254740993', 'z')
    await raw.hset('e', { grüße: '1' })
    await raw.xadd('f', '5-1', 'n', '1', 'n', '2')
    await raw.xgroup('CREATE', 'f', 'g', '0')
    await raw.set(Buffer.from([0xfe]), Buffer.from([0xff]))
    const response = await open()
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/x-ndjson'])
    await response.body?.cancel()
    const never = { expires_at_ms: null }
    expect(await read()).toEqual({
      lines: [
        { key: 'a', type: 'string', expires_at_ms: at, value: '' },
        { key: 'b', type: 'list', ...never, elements: ['x', { base64: '/w==' }, 'x'] },
        { key: 'c', type: 'set', ...never, members: ['only'] },
        {
          key: 'd',
          type: 'zset',
          ...never,
          members: [
            ['x', '1.5'],
            ['z', '9007199254740992'],
            ['y', 'inf'],
          ],
        },
        { key: 'e', type: 'hash', ...never, fields: [['grüße', '1']] },
        {
          key: 'f',
          type: 'stream',
          ...never,
          entries: [
            {
              id: '5-1',
              fields: [
                ['n', '1'],
                ['n', '2'],
              ],
            },
          ],
          last_id: '5-1',
          groups: [{ name: 'g', last_delivered_id: '0-0' }],
        },
        { key: { base64: '/g==' }, type: 'string', ...never, value: { base64: '/w==' } },
      ],
      end: { keys: 7, failed: 0 },
    })
  })

  test('200 what DUMP says with form=dump', async () => {
    await raw.zadd('z', '1', 'a')
    expect(await read('form=dump')).toEqual({
      lines: [{ key: 'z', type: 'zset', expires_at_ms: null, dump: (await raw.dumpBuffer('z'))?.toString('base64') }],
      end: { keys: 1, failed: 0 },
    })
  })

  test('200 only keys of the pattern, of the type, of the logical database', async () => {
    await raw.mset('a:1', '1', 'a:2', '2', 'b:1', '3')
    await raw.sadd('a:3', 'x')
    const keysOf = async (query: string) => (await read(query)).lines.map(({ key }) => key)
    expect(await keysOf('pattern=a:*')).toEqual(['a:1', 'a:2', 'a:3'])
    expect(await keysOf('pattern=a:*&type=set')).toEqual(['a:3'])
    expect(await keysOf('pattern=nothing')).toEqual([])
    await raw.select(6)
    await raw.flushdb()
    await raw.set('of 6', 'x')
    expect(await keysOf('db=6')).toEqual(['of 6'])
    await raw.flushdb()
    await raw.select(7)
  })

  test('200 5,000 keys, each once', async () => {
    const pipeline = raw.pipeline()
    for (let n = 0; n < 5_000; n++) pipeline.set(`key:${n}`, `value of ${n}`)
    await pipeline.exec()
    const { lines, end } = await read()
    expect(new Map(lines.map(({ key, value }) => [key, value]))).toEqual(
      new Map(Array.from({ length: 5_000 }, (_, n) => [`key:${n}`, `value of ${n}`])),
    )
    expect([lines.length, end]).toEqual([5_000, { keys: 5_000, failed: 0 }])
  })

  test('200 a collection of 4,500 in several lines that are numbered, none above 1,000 members', async () => {
    await raw.rpush('long', ...Array.from({ length: 4_500 }, (_, n) => String(n)))
    const all = await Array.fromAsync(linesOf(await open()))
    const lines = all.slice(0, -1)
    expect(lines.map(({ part }) => part)).toEqual([
      undefined,
      ...Array.from({ length: lines.length - 1 }, (_, n) => n + 1),
    ])
    expect(lines.flatMap(({ elements }) => elements)).toEqual(Array.from({ length: 4_500 }, (_, n) => String(n)))
    expect(Math.max(...lines.map(({ elements }) => elements.length))).toBeLessThanOrEqual(1_000)
    expect(all.at(-1)).toEqual({ end: { keys: 1, failed: 0 } })
  })

  test('200 a value above what a reply may be is a line with an error, and the others go on', async () => {
    for (let n = 0; n < 50; n++) await raw.set(`before:${n}`, 'x')
    await raw.hset('huge', 'field', randomBytes(1_500_000))
    await raw.rpush('wide', ...Array.from({ length: 40 }, () => randomBytes(50_000)))
    const { lines, end } = await read()
    const problem = { code: 'RESULT_TOO_LARGE', message: expect.any(String) }
    expect(lines.filter(({ error }) => error !== undefined)).toEqual([{ key: 'huge', type: 'hash', error: problem }])
    expect(lines.filter(({ key }) => key === 'wide').flatMap(({ elements }) => elements)).toHaveLength(40)
    expect(end).toEqual({ keys: 51, failed: 1 })
    const dumped = await read('form=dump')
    expect(dumped.lines.filter(({ error }) => error !== undefined).map(({ key }) => key)).toEqual(['huge', 'wide'])
    expect(dumped.end).toEqual({ keys: 50, failed: 2 })
  })

  test('200 keys that an ACL does not allow are lines with an error', async () => {
    await raw.mset('mine:1', 'x', 'other:1', 'y')
    const { username, password } = store.limited
    await raw.acl('SETUSER', username, 'resetkeys', '~mine:*')
    const connectionString = `redis://${username}:${password}@${store.host}:${store.port}/7`
    const limited = await app.register({ name: 'export-limited', type: 'redis', connectionString })
    const { lines, end } = await read('', limited.id)
    await raw.acl('SETUSER', username, 'allkeys')
    expect(lines).toEqual([
      { key: 'mine:1', type: 'string', expires_at_ms: null, value: 'x' },
      { key: 'other:1', type: 'unknown', error: { code: 'DB_QUERY_ERROR', message: expect.stringContaining('ACL') } },
    ])
    expect(end).toEqual({ keys: 1, failed: 1 })
  })

  test('200 from a database that is registered read-only, and for a key that may only read', async () => {
    await raw.set('k', 'v')
    const config = { readOnly: true }
    const readOnly = await app.register({ name: 'export-read-only', type: 'redis', connectionString: url(), config })
    expect((await read('', readOnly.id)).end.keys).toBe(1)
    const body = { name: 'reader', projectRef: 'default', role: 'read' }
    const { secret } = (await app.request('POST', '/api/platform/api-keys', { body })).body
    const response = await app.stream('GET', `/api/platform/redis/${id()}/export?form=dump`, { key: secret })
    expect((await Array.fromAsync(linesOf(response))).at(-1)).toEqual({ end: { keys: 1, failed: 0 } })
  })

  test('a reader who leaves ends it, and the session comes back within a second', async () => {
    const pipeline = raw.pipeline()
    for (let n = 0; n < 20_000; n++) pipeline.set(`key:${n}`, 'x'.repeat(100))
    await pipeline.exec()
    const lines = linesOf(await open())
    await nextOf(lines)
    const started = performance.now()
    await lines.return(undefined)
    await eventually(() => app.deps.connections.metrics().leased === 0)
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  for (const [query, field] of [
    ['form=csv', 'form'],
    ['pattern=', 'pattern'],
    [`pattern=${'x'.repeat(257)}`, 'pattern'],
    ['type=a%20b', 'type'],
    ['db=16', 'db'],
  ] as const) {
    test(`400 ${query.slice(0, 20)} names ${field}`, async () => {
      const response = await open(query)
      const error = await errorOf(response)
      expect([response.status, error.code, error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    })
  }

  test(`200 ${megabytes} MB go through a running server and back in little memory`, async () => {
    await using registry = await createScratchDatabase(stores().postgres18)
    const env = productionEnvironment(registry.url)
    await using server = startServer({ env })
    const client = clientOf(await server.url, env.BUN_API_KEY)
    const register = async (name: string, db: number): Promise<string> => {
      const connectionString = store.url.replace(/\/0$/, `/${db}`)
      const answer = await client.request('POST', '/api/platform/databases', {
        projectRef: 'default',
        name,
        type: 'redis',
        connectionString,
      })
      return ((await answer.json()) as { id: string }).id
    }
    const [from, to] = [await register('from', 7), await register('to', 6)]
    const filler = 'x'.repeat(50_000)
    for (let n = 0; n < megabytes; n++) {
      const pipeline = raw.pipeline()
      for (let m = 0; m < 10; m++) pipeline.set(`s:${n}:${m}`, filler)
      pipeline.rpush('list', ...Array.from({ length: 10 }, () => filler))
      await pipeline.exec()
    }
    const residentMb = async () =>
      Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1_024
    const exportOf = () => client.request('GET', `/api/platform/redis/${from}/export`)
    const drain = async (response: Response) => {
      let bytes = 0
      for await (const chunk of response.body ?? []) bytes += chunk.length
      return bytes
    }
    // What its code and a first page take is there before.
    const warm = linesOf(await exportOf())
    await nextOf(warm)
    await warm.return(undefined)
    const before = await residentMb()
    const seen: number[] = []
    const sampling = setInterval(() => void residentMb().then((now) => seen.push(now)), 50)
    const bytes = await drain(await exportOf())
    const moved = await client.request('POST', `/api/platform/redis/${to}/import`, undefined, {
      headers: { authorization: `Bearer ${env.BUN_API_KEY}`, 'content-type': 'application/x-ndjson' },
      body: (await exportOf()).body,
    })
    const summary = (await Array.fromAsync(linesOf(moved))).at(-1)
    clearInterval(sampling)
    const mostOf = (part: number) =>
      Math.round(Math.max(...seen.slice((part * seen.length) / 8, ((part + 1) * seen.length) / 8)))
    if (process.env['TEST_VERBOSE'] === '1')
      console.log({ before: Math.round(before), mostByEighth: Array.from({ length: 8 }, (_, part) => mostOf(part)) })
    expect(bytes).toBeGreaterThan(megabytes * 1_000_000)
    expect(summary).toMatchObject({ failed: 0, keys: megabytes * 10 + 1 })
    // What the collector leaves lying about does not grow with what is moved.
    expect(Math.max(...seen) - before).toBeLessThan(2 * 192)
    await raw.select(6)
    expect(await raw.llen('list')).toBe(megabytes * 10)
    await raw.flushdb()
    await raw.select(7)
  }, 600_000)
})
