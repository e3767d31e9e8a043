import { afterAll, beforeAll, expect, test } from 'bun:test'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary } from '#test/support/stores.ts'
import { startOwnRedis } from './own-redis.ts'

describeWith('redis', 'Redis that fails', (store) => {
  let app: TestApp
  let otherId: string
  beforeAll(async () => {
    app = await createTestApp()
    otherId = (await app.register({ name: 'other', type: 'redis', connectionString: store.url })).id
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
  })

  const get = (id: string, key = 'a') => app.request('GET', `/api/platform/redis/${id}/get?key=${key}`)
  const set = (id: string, key: string, value: string) =>
    app.request('POST', `/api/platform/redis/${id}/set`, { body: { key, value } })
  const timed = async <T>(work: Promise<T>): Promise<[T, number]> => {
    const started = performance.now()
    return [await work, performance.now() - started]
  }
  const recovers = (id: string, withinMs: number) => eventually(async () => (await get(id)).status === 200, withinMs)

  test('504 after 2 s when it hangs; other databases are not slower; it recovers within 10 s', async () => {
    await using own = await startOwnRedis()
    const { id } = await app.register({ name: 'hangs', type: 'redis', connectionString: own.url })
    await set(id, 'a', 'before')
    own.freeze()
    const reads = Promise.all(Array.from({ length: 20 }, () => timed(get(id))))
    const writing = timed(set(id, 'written', 'during the hang'))
    const others: number[] = []
    const until = performance.now() + 1_500
    while (performance.now() < until) {
      const [answer, ms] = await timed(get(otherId, 'absent'))
      expect(answer.status).toBe(404)
      others.push(ms)
    }
    for (const [{ status, body }, ms] of await reads) {
      expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', true])
      expect(Math.abs(ms - 2_000)).toBeLessThan(250)
    }
    const [{ status, body }, ms] = await writing
    expect([status, body.error.code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', false])
    expect(body.message).toContain('unknown')
    expect(Math.abs(ms - 2_000)).toBeLessThan(250)
    expect(others.toSorted((a, b) => a - b).at(Math.floor(others.length * 0.99))).toBeLessThan(100)
    own.thaw()
    await recovers(id, 10_000)
  }, 30_000)

  test('503 when it is killed, and 200 within 5 s of its restart', async () => {
    await using own = await startOwnRedis()
    const { id } = await app.register({ name: 'dies', type: 'redis', connectionString: own.url })
    await own.kill()
    for (let request = 0; request < 30; request++) {
      const [{ status, body, headers }, ms] = await timed(get(id))
      expect([status, body.error.code, body.error.retryable, headers.get('retry-after')]).toEqual([
        503,
        'DB_CONNECTION_FAILED',
        true,
        '2',
      ])
      expect(ms).toBeLessThan(1_000)
      await Bun.sleep(100)
    }
    await own.start()
    await eventually(async () => (await get(id)).status === 404, 5_000)
  }, 30_000)

  test('503 for a RST in the middle of a reply: a read may be repeated, a write is unknown', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const connectionString = store.url.replace(`:${store.port}/`, `:${proxy.port}/`)
    const { id } = await app.register({ name: 'resets', type: 'redis', connectionString })
    await set(id, 'reset', 'x'.repeat(10_000))
    proxy.cutAfterBytes(5_000)
    const read = await get(id, 'reset')
    expect([read.status, read.body.error.code, read.body.error.retryable]).toEqual([503, 'DB_CONNECTION_FAILED', true])
    await eventually(async () => (await get(id, 'reset')).status === 200, 5_000)
    proxy.mode = 'blackhole'
    const writing = set(id, 'reset', 'y')
    await Bun.sleep(50)
    proxy.resetAll()
    proxy.mode = 'pass'
    const { status, body } = await writing
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'DB_CONNECTION_FAILED', false])
    expect(body.message).toContain('unknown')
    await eventually(async () => (await get(id, 'reset')).status === 200, 5_000)
  })

  test('200 when every chunk is 300 ms late', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const connectionString = store.url.replace(`:${store.port}/`, `:${proxy.port}/`)
    const { id } = await app.register({ name: 'slow', type: 'redis', connectionString })
    await set(id, 'slow', 'value')
    proxy.setDelay(300)
    const [{ status }, ms] = await timed(get(id, 'slow'))
    expect(status).toBe(200)
    expect(ms).toBeGreaterThan(500)
  })

  test('504 at the deadline though a byte comes now and then', async () => {
    await using server = await startFakeServer((socket) => {
      let commands = 0
      socket.on('data', () => {
        if (commands++ === 0) return void socket.write('+OK\r\n')
        socket.write('$60000\r\n')
        const timer = setInterval(() => socket.write('x'), 20)
        socket.on('close', () => clearInterval(timer))
      })
    })
    const body = {
      projectRef: 'default',
      name: 'trickles',
      type: 'redis',
      connectionString: `redis://:${canary}@127.0.0.1:${server.port}`,
    }
    const { id } = (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
    const [{ status, body: answer }, ms] = await timed(get(id))
    expect([status, answer.error.code]).toEqual([504, 'DB_TIMEOUT'])
    expect(Math.abs(ms - 2_000)).toBeLessThan(250)
  })

  test('503 DB_NOT_PRIMARY for a write to a replica, and 200 within 5 s of its promotion', async () => {
    await using own = await startOwnRedis()
    const { id } = await app.register({ name: 'replica', type: 'redis', connectionString: own.url })
    await own.use((redis) => redis.call('REPLICAOF', '127.0.0.1', '1'))
    const { status, body } = await set(id, 'a', 'b')
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'DB_NOT_PRIMARY', true])
    await own.use((redis) => redis.call('REPLICAOF', 'NO', 'ONE'))
    await eventually(async () => (await set(id, 'a', 'b')).status === 200, 5_000)
  })

  test('each of 200 callers, a third of whom leave, gets its own answer', async () => {
    await Promise.all(Array.from({ length: 50 }, (_, n) => set(otherId, `nonce:${n}`, `nonce ${n}`)))
    const own = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const leaving = new AbortController()
        if (n % 3 === 0) setTimeout(() => leaving.abort(), n % 7)
        const answer = await app
          .request('GET', `/api/platform/redis/${otherId}/get?key=nonce:${n % 50}`, { signal: leaving.signal })
          .catch(() => undefined)
        return answer?.status !== 200 || answer.body.value === `nonce ${n % 50}`
      }),
    )
    expect(own).toEqual(Array(200).fill(true))
    expect((await get(otherId, 'nonce:1')).body.value).toBe('nonce 1')
  })
})
