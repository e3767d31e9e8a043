import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, nextOf } from '#test/support/event-stream.ts'

describeWith('redis', 'publish and subscribe', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 11, lazyConnect: true })
  const url = store.url.replace(/\/0$/, '/11')
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_DATABASE_STREAMS: '6' } })
    id = (await app.register({ name: 'pubsub', type: 'redis', connectionString: url })).id
  })
  afterAll(async () => {
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const base64 = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('base64')
  const listen = (query: string, of = id) => app.stream('GET', `/api/platform/redis/${of}/pubsub?${query}`)
  const publish = (channel: unknown, message: unknown, of = id) =>
    app.request('POST', `/api/platform/redis/${of}/pubsub`, { body: { channel, message } })
  const subscribers = async (channel: string) => Number((await raw.pubsub('NUMSUB', channel))[1])

  describe('GET /redis/{databaseId}/pubsub', () => {
    test('200 tells what is subscribed, then each message by channel and by pattern', async () => {
      const response = await listen('channels=one,two&patterns=o*')
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
      const events = eventsOf(response)
      expect(await nextOf(events)).toEqual({
        event: 'ready',
        id: undefined,
        data: { channels: ['one', 'two'], patterns: ['o*'] },
      })
      expect((await publish('two', 'grüße\n\n"x"')).body).toEqual({ receivers: 1 })
      expect((await publish('one', '')).body).toEqual({ receivers: 2 })
      const messages = [await nextOf(events), await nextOf(events), await nextOf(events)]
      expect(messages.map(({ event, data }) => [event, data])).toEqual([
        ['message', { channel: 'two', message: 'grüße\n\n"x"' }],
        ['message', { channel: 'one', message: '' }],
        ['message', { channel: 'one', pattern: 'o*', message: '' }],
      ])
      await events.return(undefined)
    })

    test('200 any bytes in channel, pattern and message come as they were', async () => {
      const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 })
      await fc.assert(
        fc.asyncProperty(bytes, fc.uint8Array({ maxLength: 40 }), async (channel, message) => {
          const events = eventsOf(
            await listen(`channels=${encodeURIComponent(base64(channel))}&patterns=Kg%3D%3D&encoding=base64`),
          )
          expect((await nextOf(events)).data).toEqual({
            channels: [{ base64: base64(channel) }],
            patterns: [{ base64: base64('*') }],
          })
          await raw.publish(Buffer.from(channel) as never, Buffer.from(message))
          const shown = { channel: { base64: base64(channel) }, message: { base64: base64(message) } }
          expect([(await nextOf(events)).data, (await nextOf(events)).data]).toEqual([
            shown,
            { ...shown, pattern: { base64: base64('*') } },
          ])
          await events.return(undefined)
        }),
        { numRuns: 20 },
      )
    })

    test('a message of 3 MiB comes whole, one above the cap ends the stream with RESULT_TOO_LARGE', async () => {
      const events = eventsOf(await listen('channels=large'))
      await nextOf(events)
      await raw.publish('large', 'x'.repeat(3 << 20))
      expect((await nextOf(events)).data.message.length).toBe(3 << 20)
      await raw.publish('large', 'x'.repeat(10 << 20))
      expect(await nextOf(events)).toMatchObject({ event: 'error', data: { error: { code: 'RESULT_TOO_LARGE' } } })
      expect((await events.next()).done).toBe(true)
    })

    test('messages of 5,000 in a row come in order, all of them', async () => {
      const events = eventsOf(await listen('channels=many'))
      await nextOf(events)
      const seen: string[] = []
      const reading = (async () => {
        for await (const { data } of events) if (seen.push(data.message) === 5_000) return
      })()
      for (let start = 0; start < 5_000; start += 100) {
        const pipeline = raw.pipeline()
        for (let n = start; n < start + 100; n++) pipeline.publish('many', String(n))
        await pipeline.exec()
      }
      await reading
      expect(seen).toEqual(Array.from({ length: 5_000 }, (_, n) => String(n)))
    })

    test('a reader who is too slow is told that messages were lost, after those that were not', async () => {
      const response = await listen('channels=flood')
      const events = eventsOf(response)
      await nextOf(events)
      for (let round = 0; round < 30; round++) {
        const pipeline = raw.pipeline()
        for (let n = 0; n < 100; n++) pipeline.publish('flood', `${round * 100 + n}`)
        await pipeline.exec()
      }
      const seen: unknown[] = []
      for await (const { event, data } of events) seen.push(event === 'message' ? data.message : data.error)
      expect(seen.slice(0, -1)).toEqual(Array.from({ length: seen.length - 1 }, (_, n) => String(n)))
      expect(seen.length).toBeLessThan(3_000)
      expect(seen.at(-1)).toMatchObject({ code: 'OVERLOADED', retryable: true, details: { reason: 'slow_reader' } })
    })

    test('a connection that is lost ends the stream with an error event', async () => {
      const events = eventsOf(await listen('channels=killed'))
      await nextOf(events)
      await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      expect(await nextOf(events)).toMatchObject({ event: 'error', data: { error: { code: 'DB_CONNECTION_FAILED' } } })
      expect((await events.next()).done).toBe(true)
    })

    test('a reader who leaves is unsubscribed within a second, the session comes back, and nothing is kept', async () => {
      const kept = () => getEventListeners(app.deps.stopping.signal, 'abort').length
      const before = kept()
      const events = eventsOf(await listen('channels=left'))
      await nextOf(events)
      expect([await subscribers('left'), kept()]).toEqual([1, before + 1])
      const started = performance.now()
      await events.return(undefined)
      await eventually(async () => (await subscribers('left')) === 0 && app.deps.connections.metrics().leased === 0)
      expect(performance.now() - started).toBeLessThan(1_000)
      expect(kept()).toBe(before)
    })

    test('503 OVERLOADED for one stream more than a database may have, which leaves room when one ends', async () => {
      const open = await Promise.all(Array.from({ length: 6 }, (_, n) => listen(`channels=c${n}`)))
      const refused = await listen('channels=more')
      expect([refused.status, (await errorOf(refused)).code]).toEqual([503, 'OVERLOADED'])
      expect((await publish('c0', 'x')).status).toBe(200)
      await Promise.all(open.map((response) => response.body?.cancel()))
      await eventually(() => app.deps.connections.metrics().leased === 0)
      const again = await listen('channels=more')
      expect(again.status).toBe(200)
      await again.body?.cancel()
    })

    for (const [query, field] of [
      ['', 'channels'],
      ['channels=', 'channels'],
      ['channels=no%20base64!&encoding=base64', 'channels'],
      ['patterns=no%20base64!&encoding=base64', 'patterns'],
      [`channels=${'x'.repeat(257)}`, 'channels.0'],
      [`patterns=${Array.from({ length: 101 }, (_, n) => n).join(',')}`, 'patterns'],
      ['channels=a&encoding=hex', 'encoding'],
    ] as const) {
      test(`400 ${query.slice(0, 40)} names ${field}`, async () => {
        const response = await listen(query)
        const error = await errorOf(response)
        expect([response.status, error.code, error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('404 an unknown database', async () => {
      expect((await listen('channels=a', crypto.randomUUID())).status).toBe(404)
    })
  })

  describe('POST /redis/{databaseId}/pubsub', () => {
    test('200 reaches nobody where nobody listens', async () => {
      expect((await publish('nobody', 'x')).body).toEqual({ receivers: 0 })
    })

    test('200 bytes that are no UTF-8', async () => {
      const events = eventsOf(await listen('patterns=*'))
      await nextOf(events)
      await publish({ base64: '/w==' }, { base64: '//4A' })
      expect((await nextOf(events)).data).toEqual({
        channel: { base64: '/w==' },
        pattern: '*',
        message: { base64: '//4A' },
      })
      await events.return(undefined)
    })

    test('403 a database that is registered read-only, which still listens', async () => {
      const { id: readOnly } = await app.register({
        name: 'pubsub-read-only',
        type: 'redis',
        connectionString: url,
        config: { readOnly: true },
      })
      const { status, body } = await publish('a', 'b', readOnly)
      expect([status, body.error.code]).toEqual([403, 'DB_READ_ONLY'])
      const events = eventsOf(await listen('channels=a', readOnly))
      expect((await nextOf(events)).event).toBe('ready')
      await events.return(undefined)
    })

    test('403 a key that may only read', async () => {
      const { secret } = (
        await app.request('POST', '/api/platform/api-keys', {
          body: { name: 'reader', projectRef: 'default', role: 'read' },
        })
      ).body
      const asReader = (method: string, query: string, body?: unknown) =>
        app.stream(method, `/api/platform/redis/${id}/pubsub${query}`, { key: secret, body })
      expect((await asReader('POST', '', { channel: 'a', message: 'b' })).status).toBe(403)
      const listening = await asReader('GET', '?channels=a')
      expect(listening.status).toBe(200)
      await listening.body?.cancel()
    })

    for (const [wrong, field] of [
      [{ channel: 1, message: 'x' }, 'channel'],
      [{ channel: 'x' }, 'message'],
      [{ channel: 'x', message: 'x', more: 1 }, 'more'],
    ] as const) {
      test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
        const { status, body } = await app.request('POST', `/api/platform/redis/${id}/pubsub`, { body: wrong })
        expect([status, body.error.details[0].field]).toEqual([400, field])
      })
    }
  })
})
