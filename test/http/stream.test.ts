import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { eventually } from '#test/engines/peers.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, linesOf, nextOf } from '#test/support/event-stream.ts'
import { stores } from '#test/support/stores.ts'
import { type Client, clientOf, productionEnvironment, type ServerProcess, startServer } from '../e2e/server.ts'

describeWith('redis', 'streams of a running server', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 15, lazyConnect: true })
  const url = store.url.replace(/\/0$/, '/15')
  const cleanup = new AsyncDisposableStack()
  const sockets = new Set<Socket>()
  let env: ReturnType<typeof productionEnvironment>
  let server: ServerProcess
  let client: Client
  let id: string

  /** A server whose pace is a test's, on the registry of all. */
  const start = async (pace: object, more: Readonly<Record<string, string>> = {}) => {
    const flags = ['--preload', join(import.meta.dir, 'stream-preload.ts')]
    const started = startServer({ env: { ...env, ...more, TEST_STREAM_PACE: JSON.stringify(pace) }, flags })
    await started.url
    return started
  }
  beforeAll(async () => {
    const registry = cleanup.use(await createScratchDatabase(stores().postgres18))
    env = productionEnvironment(registry.url)
    server = cleanup.use(
      await start({ heartbeatMs: 100 }, { MAX_STREAMS: '4', MAX_DATABASE_STREAMS: '3', REQUEST_TIMEOUT_MS: '500' }),
    )
    client = clientOf(await server.url, env.BUN_API_KEY)
    id = await register('streams')
    await raw.flushdb()
  }, 60_000)
  afterEach(() => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await cleanup.disposeAsync()
  })

  async function register(name: string): Promise<string> {
    const input = { projectRef: 'default', name, type: 'redis', connectionString: url }
    const answer = await client.request('POST', '/api/platform/databases', input)
    return ((await answer.json()) as { id: string }).id
  }
  const path = (of = id) => `/api/platform/redis/${of}`
  const listen = (channel: string, of = id, asked = client) =>
    asked.request('GET', `${path(of)}/pubsub?channels=${channel}`)
  const subscribers = async (channel: string) => Number((await raw.pubsub('NUMSUB', channel))[1])
  const residentMb = async (pid: number) =>
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024

  /** A request whose answer is read as the test likes. */
  function ask(method: string, target: string, port = Number(new URL(client.url).port)) {
    const socket = connect(port, '127.0.0.1')
    sockets.add(socket)
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    socket.on('error', () => undefined)
    socket.write(`${method} ${target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${env.BUN_API_KEY}\r\n\r\n`)
    return { socket, text: () => text }
  }

  test('200 with the headers of every answer, those of a stream, and a log line when it begins and when it ends', async () => {
    const response = await listen('headers')
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'x-request-id': expect.any(String),
    })
    expect(response.headers.has('content-length')).toBe(false)
    const request_id = response.headers.get('x-request-id') ?? ''
    const lines = () => server.lines.map((line) => JSON.parse(line)).filter((line) => line.request_id === request_id)
    await eventually(() => lines().length === 1)
    const events = eventsOf(response)
    await nextOf(events)
    await raw.publish('headers', 'x')
    await nextOf(events)
    await events.return(undefined)
    await eventually(() => lines().length === 2)
    expect(lines()).toMatchObject([
      { event: 'request', method: 'GET', status: 200, database_id: id, access: 'read' },
      { event: 'stream ended', database_id: id, items: 2, ms: expect.any(Number) },
    ])
  })

  test('what fails at once has its own status and the one error shape', async () => {
    await raw.set('text', 'x')
    for (const [target, status, code] of [
      [`${path(crypto.randomUUID())}/pubsub?channels=a`, 404, 'DB_NOT_FOUND'],
      [`${path()}/streams/tail?key=text`, 400, 'DB_QUERY_ERROR'],
      [`${path()}/export?db=90`, 400, 'VALIDATION_FAILED'],
    ] as const) {
      const response = await client.request('GET', target)
      expect([response.status, response.headers.get('content-type')]).toEqual([status, 'application/json'])
      expect(await errorOf(response)).toMatchObject({ code, requestId: response.headers.get('x-request-id') })
    }
  })

  test('what fails later is an error event with the request’s id, the last', async () => {
    const response = await listen('later')
    const events = eventsOf(response)
    await nextOf(events)
    await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    const last = await nextOf(events)
    expect([last.event, last.data]).toEqual([
      'error',
      {
        message: expect.any(String),
        error: {
          code: 'DB_CONNECTION_FAILED',
          message: expect.any(String),
          retryable: true,
          requestId: response.headers.get('x-request-id'),
          details: { reason: 'closed' },
        },
      },
    ])
    expect((await events.next()).done).toBe(true)
  })

  test('while nothing comes a comment says that the stream lives', async () => {
    const { text } = ask('GET', `${path()}/pubsub?channels=beat`)
    await eventually(() => text().split('\r\n:\n\n\r\n').length > 4)
    expect(text()).toContain('event: ready\n')
  })

  test('a stream outlives the time after which an idle connection is closed', async () => {
    const idleMs = 6_000
    const idle = ask('GET', '/health')
    const { socket, text } = ask('GET', `${path()}/pubsub?channels=quiet`)
    await eventually(() => text().includes('event: ready'))
    let isClosed = false
    socket.on('close', () => (isClosed = true))
    const started = performance.now()
    await new Promise((resolve) => idle.socket.on('close', resolve))
    await eventually(() => performance.now() - started > idleMs * 1.5, idleMs * 2)
    await raw.publish('quiet', 'still here')
    await eventually(() => text().includes('still here'))
    expect(isClosed).toBe(false)
  }, 30_000)

  test('a connection whose stream failed is closed when it is idle, as others are', async () => {
    const { socket, text } = ask('GET', `${path()}/streams/tail?key=text`)
    const closed = new Promise((resolve) => socket.on('close', resolve))
    await eventually(() => text().includes('DB_QUERY_ERROR'))
    await closed
  }, 30_000)

  test('a reader who leaves frees the subscription and the place of the stream within a second', async () => {
    for (let round = 0; round < 6; round++) {
      const { socket, text } = ask('GET', `${path()}/pubsub?channels=left`)
      await eventually(() => text().includes('event: ready'))
      const started = performance.now()
      socket.destroy()
      await eventually(async () => (await subscribers('left')) === 0)
      expect(performance.now() - started).toBeLessThan(1_000)
    }
    const open = await Promise.all([listen('left'), listen('left'), listen('left')])
    expect(open.map(({ status }) => status)).toEqual([200, 200, 200])
    await Promise.all(open.map((response) => response.body?.cancel()))
    await eventually(async () => (await subscribers('left')) === 0)
  })

  test('503 OVERLOADED above MAX_DATABASE_STREAMS and above MAX_STREAMS; other requests are served', async () => {
    const other = await register('others')
    const refused = async (response: Response) => [
      response.status,
      response.headers.get('retry-after'),
      (await errorOf(response)).code,
    ]
    const open = await Promise.all([listen('full'), listen('full'), listen('full')])
    expect(await refused(await listen('full'))).toEqual([503, '1', 'OVERLOADED'])
    open.push(await listen('full', other))
    expect(open.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(await refused(await listen('full', other))).toEqual([503, '1', 'OVERLOADED'])
    expect((await client.request('GET', `${path()}/keys`)).status).toBe(200)
    await Promise.all(open.map((response) => response.body?.cancel()))
    await eventually(async () => (await subscribers('full')) === 0)
  })

  test('a HEAD has the headers and no body, and leaves nothing open', async () => {
    for (let round = 0; round < 6; round++) {
      const { text } = ask('HEAD', `${path()}/pubsub?channels=head`)
      await eventually(() => text().includes('\r\n\r\n'))
      expect(text()).toStartWith('HTTP/1.1 200')
      expect(text().toLowerCase()).toContain('content-type: text/event-stream')
      await eventually(async () => (await subscribers('head')) === 0)
      expect(text()).toEndWith('\r\n\r\n')
    }
  })

  test('a reader who takes nothing holds the source up instead of filling memory, and gets all of it in the end', async () => {
    const value = 'x'.repeat(100_000)
    for (let n = 0; n < 800; n++) await raw.set(`large:${n}`, value)
    const before = await residentMb(server.pid)
    const { socket, text } = ask('GET', `${path()}/export?pattern=large:*`)
    socket.pause()
    let most = before
    const started = performance.now()
    await eventually(async () => {
      most = Math.max(most, await residentMb(server.pid))
      return performance.now() - started > 1_500
    })
    expect(most - before).toBeLessThan(48)
    expect(text().length).toBeLessThan(20_000_000)
    socket.resume()
    await eventually(() => text().includes('{"end":'), 20_000)
    expect(text()).toContain('{"end":{"keys":800,"failed":0}}')
    expect(text().length).toBeGreaterThan(80_000_000)
    await raw.flushdb()
  }, 60_000)

  test('a reader who takes nothing and leaves is noticed', async () => {
    for (let n = 0; n < 200; n++) await raw.set(`large:${n}`, 'x'.repeat(100_000))
    for (let round = 0; round < 4; round++) {
      const { socket, text } = ask('GET', `${path()}/export?pattern=large:*`)
      await eventually(() => text().length > 0)
      socket.pause()
      socket.destroy()
    }
    await eventually(async () => {
      const response = await listen('noticed')
      await response.body?.cancel()
      return response.status === 200
    })
    await raw.flushdb()
  })

  test('an event stream ends at its age, so that who may listen is asked anew', async () => {
    await using aging = await start({ heartbeatMs: 50, maxEventStreamMs: 300 })
    const asked = clientOf(await aging.url, env.BUN_API_KEY)
    const started = performance.now()
    const events = eventsOf(await listen('age', id, asked))
    expect((await nextOf(events)).event).toBe('ready')
    expect((await events.next()).done).toBe(true)
    expect(performance.now() - started).toBeWithin(300, 2_000)
    expect(await subscribers('age')).toBe(0)
  })

  describe('a server that is told to stop', () => {
    test('ends every stream with an error to connect again, also of a reader who takes nothing, and is gone at once', async () => {
      for (let n = 0; n < 300; n++) await raw.set(`large:${n}`, 'x'.repeat(100_000))
      await using stopping = await start({}, { SHUTDOWN_DRAIN_MS: '8000' })
      const asked = clientOf(await stopping.url, env.BUN_API_KEY)
      const events = eventsOf(await listen('stop', id, asked))
      await nextOf(events)
      const lines = linesOf(await asked.request('GET', `${path()}/export?pattern=large:*`))
      await nextOf(lines)
      const started = performance.now()
      stopping.kill('SIGTERM')
      const over = { code: 'OVERLOADED', retryable: true }
      expect(await nextOf(events)).toMatchObject({ event: 'error', data: { error: over } })
      expect((await events.next()).done).toBe(true)
      let last: unknown
      for await (const line of lines) last = line
      expect(last).toMatchObject({ error: over })
      expect(await stopping.exited).toBe(0)
      expect(performance.now() - started).toBeLessThan(4_000)
      expect(await stopping.logged('stopped')).toMatchObject({ drained: true, closed: true })
      await raw.flushdb()
    }, 30_000)
  })
})
