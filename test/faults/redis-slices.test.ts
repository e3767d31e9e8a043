import { afterAll, beforeAll, expect, test } from 'bun:test'
import { connect, createServer, type Server } from 'node:net'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { linesOf } from '#test/support/event-stream.ts'
import { type OwnRedis, startOwnRedis } from './own-redis.ts'

const total = 2_000
const keysASlice = 50
// TYPE, PTTL and MEMORY USAGE of each key, and DBSIZE.
const commandsASlice = keysASlice * 3 + 1

describeWith('redis', 'work on many keys goes in slices', () => {
  let own: OwnRedis
  let app: TestApp
  let relay: Awaited<ReturnType<typeof startRelay>>
  let base: string

  beforeAll(async () => {
    own = await startOwnRedis()
    relay = await startRelay(own.port)
    app = await createTestApp()
    const connectionString = own.url.replace(`:${own.port}/`, `:${relay.port}/`)
    const { id } = await app.register({ name: 'sliced', type: 'redis', connectionString })
    base = `/api/platform/redis/${id}`
    await own.use(async (redis) => {
      await redis.mset(Array.from({ length: total }, (_, n) => [`session:${n}`, 'x']).flat())
    })
    // Connections, and what is asked once for each.
    expect((await app.request('GET', `${base}/keys`)).status).toBe(200)
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await relay?.[Symbol.asyncDispose]()
    await own?.[Symbol.asyncDispose]()
  })

  const keys = Array.from({ length: 1_000 }, (_, n) => `session:${n}`)
  const pattern = 'session:*'
  const works: readonly (readonly [name: string, method: 'GET' | 'POST', path: string, body?: unknown])[] = [
    ['a long page', 'GET', 'keys?count=1000'],
    ['a long page with memory', 'GET', 'keys?count=1000&memory=true'],
    ['a tree', 'GET', 'keys/tree?prefix=session:'],
    ['a memory report', 'GET', 'memory?samples=1000'],
    ['a typed export', 'GET', 'export'],
    ['an export of dumps', 'GET', 'export?form=dump'],
    ['TTLs of a list', 'POST', 'keys/ttl', { keys, persist: true }],
    ['TTLs by pattern', 'POST', 'keys/ttl', { pattern, ttlMs: 86_400_000 }],
    ['a deletion of a list', 'POST', 'keys/delete', { keys }],
    ['a deletion by pattern', 'POST', 'keys/delete', { pattern }],
  ]
  for (const [name, method, path, body] of works) {
    test(`${name}: Redis is never sent more than is asked of ${keysASlice} keys`, async () => {
      relay.clear()
      const answer = await app.stream(method, `${base}/${path}`, body === undefined ? {} : { body })
      expect(answer.status).toBe(200)
      if (path.startsWith('export')) expect(await Array.fromAsync(linesOf(answer))).toHaveLength(total + 1)
      else await answer.text()
      expect(relay.most).toBeGreaterThan(keysASlice / 2)
      expect(relay.most).toBeLessThanOrEqual(commandsASlice)
    })
  }

  test('and a page that is the work of a moment takes a millisecond, for its rest', async () => {
    const took: number[] = []
    for (let n = 0; n < 10; n++) {
      const started = performance.now()
      await app.request('GET', `${base}/keys?count=1`)
      took.push(performance.now() - started)
    }
    expect(Math.min(...took)).toBeGreaterThan(1)
  })
})

/** Passes everything on, and counts the commands that a connection is sent until Redis answers the next time. */
async function startRelay(to: number) {
  let most = 0
  const server: Server = createServer((client) => {
    const redis = connect(to, '127.0.0.1')
    let waiting = 0
    client.on('data', (chunk: Buffer) => {
      waiting += chunk.toString('latin1').match(/\*\d+\r\n/g)?.length ?? 0
      most = Math.max(most, waiting)
      redis.write(chunk)
    })
    redis.on('data', (chunk: Buffer) => {
      waiting = 0
      client.write(chunk)
    })
    client.on('error', () => redis.destroy()).on('close', () => redis.destroy())
    redis.on('error', () => client.destroy()).on('close', () => client.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the relay has no port')
  return {
    port: address.port,
    get most() {
      return most
    },
    clear() {
      most = 0
    },
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}
