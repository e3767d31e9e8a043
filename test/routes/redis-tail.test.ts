import { afterAll, beforeEach, describe, expect, test } from 'bun:test'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, nextOf, type SentEvent } from '#test/support/event-stream.ts'
import { redisApp } from '#test/support/redis-app.ts'
import { startOwnRedis } from '../faults/own-redis.ts'

describeWith('redis', 'following a stream', (store) => {
  const { app, raw, id } = redisApp(store, 12, { env: { MAX_RESPONSE_BYTES: '65536', MAX_VALUE_BYTES: '65536' } })
  beforeEach(() => raw.flushdb())

  const follow = (query: string, headers: Readonly<Record<string, string>> = {}, of = id()) =>
    app.stream('GET', `/api/platform/redis/${of}/streams/tail?${query}`, { headers })

  describe('GET /redis/{databaseId}/streams/tail', () => {
    test('200 from the end: what was there is not told, what comes is, fields in order and twice where they are', async () => {
      const before = await raw.xadd('s', '*', 'a', 'before')
      const events = eventsOf(await follow('key=s'))
      expect(await nextOf(events)).toEqual({ event: 'ready', id: before ?? '', data: { key: 's', from: before } })
      const added = await raw.xadd('s', '*', 'f', '1', 'g', 'grüße', 'f', '')
      expect(await nextOf(events)).toEqual({
        event: 'entry',
        id: added ?? '',
        data: {
          id: added,
          fields: [
            { field: 'f', value: '1' },
            { field: 'g', value: 'grüße' },
            { field: 'f', value: '' },
          ],
        },
      })
      await events.return(undefined)
    })

    test('200 from an id: all that is behind it', async () => {
      for (let n = 1; n <= 300; n++) await raw.xadd('s', `${n}-0`, 'n', String(n))
      const events = eventsOf(await follow('key=s&from=0'))
      const seen: (string | undefined)[] = []
      for await (const event of events) if (seen.push(event.id) === 301) break
      expect(seen).toEqual(['0', ...Array.from({ length: 300 }, (_, n) => `${n + 1}-0`)])
    })

    test('200 a key that is not there yet is waited for; bytes that are no UTF-8 are base64', async () => {
      const events = eventsOf(await follow('key=%2F%2F4A&encoding=base64'))
      expect((await nextOf(events)).data).toEqual({ key: { base64: '//4A' }, from: '0-0' })
      await raw.xadd(Buffer.from([0xff, 0xfe, 0x00]), '5-1', Buffer.from([0xff]), 'text')
      expect((await nextOf(events)).data).toEqual({
        id: '5-1',
        fields: [{ field: { base64: '/w==' }, value: { base64: 'dGV4dA==' } }],
      })
      await events.return(undefined)
    })

    test('200 a reader that connects again with Last-Event-ID gets every entry once while others write', async () => {
      const total = 3_000
      let written = 0
      const writing = (async () => {
        while (written < total) {
          const pipeline = raw.pipeline()
          for (let n = 0; n < 50; n++) pipeline.xadd('busy', '*', 'n', String(written++))
          await pipeline.exec()
        }
      })()
      const seen: string[] = []
      let last = '0'
      let connections = 0
      while (seen.length < total) {
        connections += 1
        const events = eventsOf(await follow('key=busy', { 'last-event-id': last }))
        expect(await nextOf(events)).toMatchObject({ event: 'ready', id: last })
        const until = seen.length + 1 + ((connections * 37) % 200)
        for await (const { id: entryId, data } of events) {
          last = entryId ?? ''
          seen.push(data.fields[0].value)
          if (seen.length >= until || seen.length >= total) break
        }
      }
      await writing
      expect(connections).toBeGreaterThan(10)
      expect(seen).toEqual(Array.from({ length: total }, (_, n) => String(n)))
    })

    test('200 another logical database', async () => {
      const events = eventsOf(await follow('key=s&db=13'))
      await nextOf(events)
      await raw.select(13)
      await raw.xadd('s', '1-1', 'a', 'of 13')
      expect((await nextOf(events)).id).toBe('1-1')
      await raw.flushdb()
      await raw.select(12)
      await events.return(undefined)
    })

    test('entries that are too much for one reply come one by one, one above the cap ends the stream', async () => {
      for (let n = 1; n <= 5; n++) await raw.xadd('s', `${n}-0`, 'v', 'x'.repeat(60_000))
      await raw.xadd('s', '6-0', 'v', 'x'.repeat(2_000_000))
      const events: SentEvent[] = []
      for await (const event of eventsOf(await follow('key=s&from=0'))) events.push(event)
      expect(events.map(({ event, id: eventId }) => [event, eventId])).toEqual([
        ['ready', '0'],
        ...Array.from({ length: 5 }, (_, n) => ['entry', `${n + 1}-0`]),
        ['error', undefined],
      ])
      expect(events.at(-1)?.data.error.code).toBe('RESULT_TOO_LARGE')
    })

    for (const from of ['$', '0']) {
      test(`400 a key of another type, from ${from}, before the stream begins`, async () => {
        await raw.set('text', 'x')
        const response = await follow(`key=text&from=${from}`)
        const error = await errorOf(response)
        expect([response.status, error.code, error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'WRONGTYPE' }])
      })
    }

    test('a reader who leaves frees its connection and the session within a second', async () => {
      const clients = async () =>
        ((await raw.client('LIST')) as string).split('\n').filter((line) => line.includes('xread')).length
      const events = eventsOf(await follow('key=left'))
      await nextOf(events)
      await eventually(async () => (await clients()) === 1)
      const started = performance.now()
      await events.return(undefined)
      await eventually(async () => (await clients()) === 0 && app.deps.connections.metrics().leased === 0)
      expect(performance.now() - started).toBeLessThan(1_000)
    })

    test('a server that hangs ends the stream with DB_TIMEOUT; a reader who leaves meanwhile is not waited for', async () => {
      await using own = await startOwnRedis()
      await using apart = await createTestApp({ env: { REDIS_COMMAND_TIMEOUT_MS: '300' } })
      const { id: hanging } = await apart.register({ name: 'hanging', type: 'redis', connectionString: own.url })
      const open = (path: string) => apart.stream('GET', `/api/platform/redis/${hanging}/${path}`)
      const [tailed, heard, left] = [
        eventsOf(await open('streams/tail?key=s')),
        eventsOf(await open('pubsub?channels=c')),
        eventsOf(await open('pubsub?channels=c')),
      ]
      for (const events of [tailed, heard, left]) await nextOf(events)
      own.freeze()
      const started = performance.now()
      await left.return(undefined)
      await eventually(() => apart.deps.connections.metrics().leased === 2)
      expect(performance.now() - started).toBeLessThan(1_000)
      expect([(await nextOf(tailed)).data.error.code, (await nextOf(heard)).data.error.code]).toEqual([
        'DB_TIMEOUT',
        'DB_TIMEOUT',
      ])
      own.thaw()
    })

    for (const [query, headers, field] of [
      ['', {}, 'key'],
      ['key=s&from=now', {}, 'from'],
      ['key=s&from=18446744073709551616-0', {}, 'from'],
      ['key=s', { 'last-event-id': '$' }, 'last-event-id'],
      ['key=no%20base64!&encoding=base64', {}, 'key'],
      ['key=s&db=16', {}, 'db'],
    ] as const) {
      test(`400 ${query} ${JSON.stringify(headers)} names ${field}`, async () => {
        const response = await follow(query, headers)
        const error = await errorOf(response)
        expect([response.status, error.code, error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }
  })

  describe('GET /redis/{databaseId}/keyspace-events', () => {
    const watch = (query = '', of = id()) => app.stream('GET', `/api/platform/redis/${of}/keyspace-events?${query}`)
    const setting = (flags: string) => raw.config('SET', 'notify-keyspace-events', flags)
    afterAll(async () => void (await setting('')))

    for (const [flags, query, needed] of [
      ['', '', 'EA'],
      ['', 'pattern=a*', 'KA'],
      ['KE', '', 'EA'],
      ['EA', 'pattern=a*', 'KA'],
    ] as const) {
      test(`400 says what to set where it is '${flags}' for '${query}', and sets nothing`, async () => {
        await setting(flags)
        const was = await raw.config('GET', 'notify-keyspace-events')
        const response = await watch(query)
        const error = await errorOf(response)
        expect([response.status, error.code, error.details]).toEqual([
          400,
          'DB_UNSUPPORTED',
          { setting: 'notify-keyspace-events', needed },
        ])
        expect(error.message).toContain(`notify-keyspace-events ${needed}`)
        expect(await raw.config('GET', 'notify-keyspace-events')).toEqual(was)
      })
    }

    for (const flags of ['KA', 'EA', 'KEA']) {
      test(`200 each event of each key of this logical database alone, with ${flags}`, async () => {
        await setting(flags)
        const events = eventsOf(await watch())
        expect(await nextOf(events)).toEqual({ event: 'ready', id: undefined, data: { database: 12 } })
        await raw.select(13)
        await raw.set('elsewhere', '1')
        await raw.del('elsewhere')
        await raw.select(12)
        await raw.set(Buffer.from([0xff]), '1', 'PX', 20)
        await raw.hset('hash', 'f', 'v')
        const seen: unknown[] = []
        for await (const { data } of events) if (seen.push(data) === 4) break
        expect(seen).toEqual([
          { key: { base64: '/w==' }, event: 'set' },
          { key: { base64: '/w==' }, event: 'expire' },
          { key: 'hash', event: 'hset' },
          { key: { base64: '/w==' }, event: 'expired' },
        ])
      })

      test(`200 only the events and keys that are asked for, with ${flags}`, async () => {
        await setting(flags)
        const pattern = flags.includes('K') ? 'pattern=a*&' : ''
        const events = eventsOf(await watch(`${pattern}events=del,expire`))
        await nextOf(events)
        await raw.set('a1', '1', 'EX', 100)
        if (pattern !== '') await raw.set('b1', '1', 'EX', 100)
        await raw.del('a1', 'b1')
        expect([(await nextOf(events)).data, (await nextOf(events)).data]).toEqual([
          { key: 'a1', event: 'expire' },
          { key: 'a1', event: 'del' },
        ])
        await events.return(undefined)
      })
    }

    test('200 a user who may not ask for the setting listens all the same', async () => {
      await setting('KEA')
      const { username, password } = store.limited
      const { id: limited } = await app.register({
        name: 'tail-limited',
        type: 'redis',
        connectionString: `redis://${username}:${password}@${store.host}:${store.port}/12`,
      })
      await raw.acl('SETUSER', username, '+@pubsub')
      const events = eventsOf(await watch('pattern=a*', limited))
      await nextOf(events)
      await raw.set('a1', '1')
      expect((await nextOf(events)).data).toEqual({ key: 'a1', event: 'set' })
      await events.return(undefined)
      await raw.acl('SETUSER', username, '-@pubsub')
      const refused = await watch('pattern=a*', limited)
      expect([refused.status, await errorOf(refused)]).toMatchObject([
        400,
        { code: 'DB_QUERY_ERROR', details: { code: 'NOPERM' } },
      ])
    })

    for (const [query, field] of [
      ['pattern=', 'pattern'],
      [`pattern=${'x'.repeat(257)}`, 'pattern'],
      ['events=SET', 'events'],
      ['events=set,,del', 'events'],
      ['db=99999', 'db'],
    ] as const) {
      test(`400 ${query.slice(0, 20)} names ${field}`, async () => {
        const response = await watch(query)
        expect([response.status, (await errorOf(response)).details[0].field]).toEqual([400, field])
      })
    }
  })
})
