import { describe, expect, test } from 'bun:test'
import { createLog } from '#src/log.ts'
import { createSharedCache, type SharedCache } from '#src/registry/shared-cache.ts'
import { type OwnRedis, startOwnRedis } from '#test/faults/own-redis.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { eventually, newName } from './registries.ts'

interface Value {
  readonly version: number
}
interface Place {
  readonly redis: OwnRedis
  readonly one: SharedCache<Value>
  readonly other: SharedCache<Value>
  readonly events: readonly string[]
}
const isValue = (value: unknown): boolean => typeof (value as Value | null)?.version === 'number'

function cacheOn(url: string, namespace: string, events: string[] = []) {
  const log = createLog('info', { write: (line) => void events.push(String(JSON.parse(line).event)) })
  return createSharedCache<Value>({ url, namespace, log, ttlMs: 60_000, accepts: isValue })
}

/** Two instances over one Redis. */
async function between(work: (place: Place) => Promise<void>) {
  await using redis = await startOwnRedis()
  const namespace = newName('registry')
  const events: string[] = []
  await using one = cacheOn(redis.url, namespace, events)
  await using other = cacheOn(redis.url, namespace)
  // The one that connects last names the generation.
  await eventually(() => one.usable && other.usable)
  await work({ redis, one, other, events })
}

const read = async (cache: SharedCache<Value>, version: number, key = 'list') => {
  const { value } = await cache.through(key, async () => ({ version }))
  return value?.version
}
const found = async (cache: SharedCache<Value>) => (await cache.through('list', async () => undefined)).value?.version
const kept = (redis: OwnRedis) => redis.use((client) => client.keys('*'))
const untilKept = (redis: OwnRedis, count: number) => eventually(async () => (await kept(redis)).length === count)
const msOf = async (work: () => Promise<unknown>) => {
  const started = performance.now()
  await work()
  return performance.now() - started
}

describeWith('redis', 'a cache all instances share', () => {
  test('what one instance has read the other finds, with its age', () =>
    between(async ({ redis, one, other }) => {
      expect(await read(one, 1)).toBe(1)
      await untilKept(redis, 2)
      const until = performance.now() + 30
      await eventually(() => performance.now() > until)
      const { value, ageMs } = await other.through('list', async () => ({ version: 2 }))
      expect([value, ageMs >= 30, ageMs < 5_000]).toEqual([{ version: 1 }, true, true])
      expect(await read(other, 2, 'another')).toBe(2)
    }))

  test('a change told to either makes what was kept unreachable for both', () =>
    between(async ({ redis, one, other }) => {
      let version = 1
      for (const teller of [one, other, one]) {
        await read(one, version)
        await eventually(async () => (await found(other)) === version)
        version += 1
        teller.outdate()
        // Whoever knows of the change never finds what is older.
        expect(await read(teller, version)).toBe(version)
        await eventually(() => teller.usable)
        for (const reader of [teller, teller === one ? other : one]) expect(await read(reader, version)).toBe(version)
      }
      await untilKept(redis, 2)
    }))

  test('what was read before a change and is kept after it is found by nobody', () =>
    between(async ({ redis, one, other }) => {
      const { promise, resolve } = Promise.withResolvers<Value>()
      const reading = one.through('list', () => promise)
      await eventually(async () => (await read(other, 1, 'meanwhile')) === 1)
      other.outdate()
      await eventually(() => other.usable)
      resolve({ version: 1 })
      await reading
      await untilKept(redis, 3)
      expect([await read(one, 2), await read(other, 2)]).toEqual([2, 2])
    }))

  test('a change heard while Redis hung: nothing older is found afterwards', () =>
    between(async ({ redis, one }) => {
      await read(one, 1)
      await untilKept(redis, 2)
      redis.freeze()
      one.outdate()
      expect(await read(one, 2)).toBe(2)
      redis.thaw()
      await eventually(async () => {
        expect(await read(one, 2)).toBe(2)
        return one.usable
      })
      expect(await read(one, 3)).toBe(3)
    }))

  test('a Redis that hangs costs one wait of less than 20 ms, then none, and is used again when it answers', () =>
    between(async ({ redis, one, events }) => {
      await read(one, 1)
      redis.freeze()
      const first = await msOf(() => Promise.all(Array.from({ length: 20 }, () => read(one, 2))))
      const later = await msOf(() => Promise.all(Array.from({ length: 20 }, () => read(one, 2))))
      console.log(`a hanging Redis: ${first.toFixed(1)} ms at first, then ${later.toFixed(1)} ms`)
      expect([first < 20, later < 5, one.usable]).toEqual([true, true, false])
      await eventually(() => events.length === 1)
      redis.thaw()
      await eventually(() => one.usable)
      expect(events).toEqual(['shared cache is not used', 'shared cache is used again'])
    }))

  test('killed and started again, flushed, overwritten: what is answered is right', () =>
    between(async ({ redis, one, other }) => {
      await read(one, 1)
      await untilKept(redis, 2)
      await redis.kill()
      expect(await read(one, 2)).toBe(2)
      await redis.start()
      await eventually(() => one.usable && other.usable)
      expect(await read(one, 3)).toBe(3)
      await eventually(async () => (await found(other)) === 3)
      await redis.use((client) => client.flushall())
      expect(await read(one, 4)).toBe(4)
      await eventually(() => one.usable)
      expect(await read(one, 5)).toBe(5)
      await untilKept(redis, 2)
      await redis.use(async (client) => {
        const generation = await client.get(String((await client.keys('*:generation'))[0]))
        const [list] = (await client.keys('*')).filter((key) => !key.endsWith(':generation'))
        for (const text of ['{', '{"version":"1"}', 'null']) {
          await client.set(String(list), `${generation} ${text}`)
          expect(await read(other, 6)).toBe(6)
        }
      })
    }))

  test('a Redis that is not there: one line of log, and no wait', async () => {
    const redis = await startOwnRedis()
    await redis.kill()
    const events: string[] = []
    await using cache = cacheOn(redis.url, newName('registry'), events)
    await eventually(() => events.length === 1)
    expect(await msOf(() => read(cache, 1))).toBeLessThan(5)
    await redis.start()
    await eventually(() => cache.usable)
    expect(events).toEqual(['shared cache is not used', 'shared cache is used again'])
    await redis.kill()
  })

  test('no key is readable in Redis, another registry shares nothing, and all of it goes by itself', () =>
    between(async ({ redis, one }) => {
      await read(one, 1, 'http://localhost/list?search=caller')
      await untilKept(redis, 2)
      await using stranger = cacheOn(redis.url, newName('registry'))
      await eventually(() => stranger.usable)
      expect(await read(stranger, 2, 'http://localhost/list?search=caller')).toBe(2)
      await untilKept(redis, 4)
      const lasting = await redis.use(async (client) => {
        const names = await client.keys('*')
        expect(names.join().includes('caller')).toBe(false)
        return (await Promise.all(names.map((name) => client.pttl(name)))).filter((ms) => ms <= 0)
      })
      expect(lasting).toEqual([])
    }))
})

describe('a cache all instances share, without any Redis', () => {
  test('closing does not wait for a connection in the making', async () => {
    const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
    const cache = cacheOn(`redis://127.0.0.1:${listener.port}`, newName('registry'))
    expect(await msOf(() => cache.close())).toBeLessThan(500)
    listener.stop(true)
  })
})
