import { afterAll, beforeAll, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { readMonitorLine } from '#src/engines/redis/watch/monitor.ts'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, nextOf, type SentEvent } from '#test/support/event-stream.ts'

describeWith('redis', 'GET /redis/{databaseId}/monitor', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 14, lazyConnect: true })
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_RESPONSE_BYTES: '65536' } })
    const connectionString = store.url.replace(/\/0$/, '/14')
    id = (await app.register({ name: 'monitor', type: 'redis', connectionString })).id
  })
  afterAll(async () => {
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const watch = (query = '', key?: string) =>
    app.stream('GET', `/api/platform/redis/${id}/monitor?${query}`, key === undefined ? {} : { key })
  const monitors = async () =>
    ((await raw.client('LIST')) as string).split('\n').filter((line) => / flags=O/.test(line)).length
  const all = async (events: AsyncIterable<SentEvent>) => {
    const seen: SentEvent[] = []
    for await (const event of events) seen.push(event)
    return seen
  }

  test('200 what others run: time, database, client and every argument', async () => {
    await raw.ping()
    const port = /addr=127\.0\.0\.1:(\d+)/.exec((await raw.client('INFO')) as string)?.[1]
    const events = eventsOf(await watch())
    expect(await nextOf(events)).toEqual({ event: 'ready', id: undefined, data: { seconds: 10, max: 1_000 } })
    await raw.set('grüße "x"\n', '')
    expect(await nextOf(events)).toEqual({
      event: 'command',
      id: undefined,
      data: {
        time: expect.stringMatching(/^\d{10}\.\d{6}$/),
        database: 14,
        client: `127.0.0.1:${port}`,
        command: ['set', 'grüße "x"\n', ''],
      },
    })
    await events.return(undefined)
  })

  test('200 any bytes of an argument as they were sent', async () => {
    const events = eventsOf(await watch('max=10000'))
    await nextOf(events)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 }), { minLength: 1, maxLength: 5 }), async (args) => {
        await raw.echo(Buffer.concat(args))
        await raw.mget(...args.map((bytes) => Buffer.from(bytes)))
        const [echoed, got] = [await nextOf(events), await nextOf(events)]
        const bytesOf = (value: string | { base64: string }) =>
          typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.base64, 'base64')
        expect(bytesOf(echoed.data.command[1])).toEqual(Buffer.concat(args))
        expect(got.data.command.slice(1).map(bytesOf)).toEqual(args.map((bytes) => Buffer.from(bytes)))
      }),
      { numRuns: 60 },
    )
    await events.return(undefined)
  })

  test('200 ends by itself: after max commands, after the seconds, above the bytes of an answer', async () => {
    const few = eventsOf(await watch('max=3'))
    await nextOf(few)
    await raw.pipeline().ping().ping().ping().ping().exec()
    expect((await all(few)).map(({ event, data }) => [event, data.reason])).toEqual([
      ['command', undefined],
      ['command', undefined],
      ['command', undefined],
      ['end', 'max'],
    ])
    const started = performance.now()
    expect((await all(eventsOf(await watch('seconds=1')))).at(-1)).toMatchObject({
      event: 'end',
      data: { reason: 'seconds' },
    })
    expect(performance.now() - started).toBeLessThan(2_000)
    const large = eventsOf(await watch())
    await nextOf(large)
    for (let n = 0; n < 4; n++) await raw.echo('x'.repeat(20_000))
    const seen = await all(large)
    expect([seen.length, seen.at(-1)?.data]).toEqual([4, { reason: 'bytes' }])
    await eventually(async () => (await monitors()) === 0)
  })

  test('200 nothing of a password is shown', async () => {
    const events = eventsOf(await watch('max=4'))
    await nextOf(events)
    const other = raw.duplicate()
    await other.auth('default', store.password)
    await other.ping()
    other.disconnect()
    await raw.pipeline().ping().ping().ping().ping().exec()
    const text = JSON.stringify(await all(events))
    expect(text).toContain('(redacted)')
    expect(text).not.toContain(store.password)
  })

  test('a reader who leaves ends it on the server within a second', async () => {
    const events = eventsOf(await watch())
    await nextOf(events)
    expect(await monitors()).toBe(1)
    const started = performance.now()
    await events.return(undefined)
    await eventually(async () => (await monitors()) === 0 && app.deps.connections.metrics().leased === 0)
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  for (const role of ['read', 'write']) {
    test(`403 a key with the role ${role}`, async () => {
      const body = { name: role, projectRef: 'default', role }
      const { secret } = (await app.request('POST', '/api/platform/api-keys', { body })).body
      const response = await watch('', secret)
      expect([response.status, (await errorOf(response)).code]).toEqual([403, 'FORBIDDEN'])
    })
  }

  for (const [query, field] of [
    ['seconds=31', 'seconds'],
    ['seconds=0', 'seconds'],
    ['max=10001', 'max'],
    ['max=x', 'max'],
  ] as const) {
    test(`400 ${query} names ${field}`, async () => {
      const response = await watch(query)
      expect([response.status, (await errorOf(response)).details[0].field]).toEqual([400, field])
    })
  }
})

test('a line of MONITOR of a script and of a socket file', () => {
  const of = (line: string) => readMonitorLine(Buffer.from(line, 'latin1'))
  expect(of('1.5 [3 lua] "get" "a\\x00\\"\\\\"')).toEqual({
    time: '1.5',
    database: 3,
    client: 'lua',
    command: [Buffer.from('get'), Buffer.from('a\0"\\')],
  })
  expect(of('1.5 [0 unix:/run/a] b.sock] "ping"').client).toBe('unix:/run/a] b.sock')
  for (const line of ['OK', '1.5 [0 lua] get', '1.5 [0 lua] "get', '1.5 [x lua] "get"'])
    expect(() => of(line)).toThrow()
})
