import { afterEach, describe, expect, setSystemTime, test } from 'bun:test'
import { createKeyring } from '#src/credentials/keyring.ts'
import { createLog } from '#src/log.ts'
import { createSharedCache, registryNamespace, type SharedCache } from '#src/registry/shared-cache.ts'
import { type OwnRedis, startOwnRedis } from '#test/faults/own-redis.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { eventually, newName } from './registries.ts'

interface Value {
  readonly version: number
}
interface Place {
  readonly redis: OwnRedis
  readonly namespace: string
  readonly one: SharedCache
  readonly other: SharedCache
  readonly events: readonly string[]
}

const ttlMs = 60_000
const ringOf = (fill: number) => createKeyring({ current: new Uint8Array(32).fill(fill) })
const keyring = await ringOf(7)

function cacheOn(url: string, namespace: string, events: string[] = [], by = keyring, patienceMs = 8) {
  const log = createLog('info', { write: (line) => void events.push(String(JSON.parse(line).event)) })
  return createSharedCache({ url, namespace, log, ttlMs, keyring: by, patienceMs })
}

/** Two instances over one Redis. */
async function between(work: (place: Place) => Promise<void>, patienceMs?: number) {
  await using redis = await startOwnRedis()
  const namespace = newName('registry')
  const events: string[] = []
  await using one = cacheOn(redis.url, namespace, events, keyring, patienceMs)
  await using other = cacheOn(redis.url, namespace, [], keyring, patienceMs)
  // The one that connects last names the generation.
  await eventually(() => one.usable && other.usable)
  await work({ redis, namespace, one, other, events })
}

const read = async (cache: SharedCache, version: number, key = 'list', kind = 'test') => {
  const { value } = await cache.of<Value>(kind).through(key, async () => ({ version }))
  return value?.version
}
const find = (cache: SharedCache, key = 'list', kind = 'test') =>
  cache.of<Value>(kind).through(key, async () => undefined)
const found = async (cache: SharedCache, key = 'list', kind = 'test') => (await find(cache, key, kind)).value?.version
const kept = (redis: OwnRedis) => redis.use((client) => client.keys('*'))
const isEntry = (name: string) => !name.endsWith(':names')
const entries = async (redis: OwnRedis) => (await kept(redis)).filter(isEntry)
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
      const { value, ageMs, copied } = await find(other)
      expect([value, copied, ageMs >= 30, ageMs < 5_000]).toEqual([{ version: 1 }, true, true, true])
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
      const reading = one.of<Value>('test').through('list', () => promise)
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
      // A request may need a key, grants and a row.
      const request = async () => {
        for (const kind of ['key', 'grants', 'row']) await read(one, 2, 'list', kind)
      }
      const first = await msOf(() => Promise.all(Array.from({ length: 20 }, request)))
      const later = await msOf(() => Promise.all(Array.from({ length: 20 }, () => read(one, 2))))
      console.log(`a hanging Redis: ${first.toFixed(1)} ms at first, then ${later.toFixed(1)} ms`)
      expect([first < 20, later < 5, one.usable]).toEqual([true, true, false])
      await eventually(() => events.length === 1)
      redis.thaw()
      await eventually(() => one.usable)
      expect(events).toEqual(['shared cache is not used', 'shared cache is used again'])
    }))

  test('a process that stands still itself does not take Redis for slow', () =>
    between(async ({ redis, one, other }) => {
      await read(one, 1)
      await untilKept(redis, 2)
      for (let round = 0; round < 5; round++) {
        const finding = found(other)
        // Asked, with the answer on its way.
        await Bun.sleep(2)
        const until = performance.now() + 40
        while (performance.now() < until);
        expect([await finding, other.usable]).toEqual([1, true])
      }
    }))

  test('a connection that is lost makes nobody forget anything, unless a change was heard meanwhile', () =>
    between(async ({ redis, one, other }) => {
      await read(one, 1)
      await untilKept(redis, 2)
      for (const expected of [1, undefined]) {
        await redis.use((client) => client.call('client', 'kill', 'type', 'normal', 'skipme', 'yes'))
        await eventually(() => !one.usable && !other.usable)
        if (expected === undefined) one.outdate()
        await eventually(() => one.usable && other.usable)
        expect([await found(one), await found(other)]).toEqual([expected, expected])
      }
    }))

  test('killed and started again, flushed: what is answered is right', () =>
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
    between(async ({ redis, namespace, one }) => {
      await read(one, 1, 'http://localhost/list?search=caller')
      await untilKept(redis, 2)
      const strangers = [cacheOn(redis.url, newName('registry')), cacheOn(redis.url, namespace, [], await ringOf(8))]
      for (const stranger of strangers) {
        await using cache = stranger
        await eventually(() => cache.usable)
        await eventually(async () => (await read(cache, 2, 'http://localhost/list?search=caller')) === 2)
      }
      const lasting = await redis.use(async (client) => {
        const names = await client.keys('*')
        expect(names.join().includes('caller')).toBe(false)
        return (await Promise.all(names.map((name) => client.pttl(name)))).filter((ms) => ms <= 0)
      })
      expect(lasting).toEqual([])
    }))
})

describeWith('redis', 'a cache all instances share, and others write to', () => {
  afterEach(() => void setSystemTime())

  /** An entry of this moment, which both find. */
  async function prepared(work: (place: Place & { readonly name: string }) => Promise<void>) {
    await between(async (place) => {
      await eventually(async () => {
        await read(place.one, 1)
        return (await found(place.other)) === 1
      })
      const [name = ''] = await entries(place.redis)
      await work({ ...place, name })
    }, 1_000)
  }
  const buffer = (redis: OwnRedis, name: string) =>
    redis.use(async (client) => (await client.getBuffer(name)) ?? Buffer.alloc(0))
  const put = (redis: OwnRedis, name: string, entry: Buffer | string, ms = ttlMs) =>
    redis.use((client) => client.set(name, entry, 'PX', ms))

  test('changed, cut, made longer or replaced in any byte: not believed', () =>
    prepared(async ({ redis, other, name }) => {
      const entry = await buffer(redis, name)
      const forged: (Buffer | string)[] = [
        '',
        '{"version":2}',
        entry.subarray(0, -1),
        entry.subarray(1),
        entry.subarray(0, 27),
      ]
      forged.push(Buffer.concat([entry, Buffer.from([0])]), entry.subarray(0, 12))
      for (let at = 0; at < entry.length; at++) {
        const changed = Buffer.from(entry)
        changed[at] = (changed[at] ?? 0) ^ 1
        forged.push(changed)
      }
      const seen = new Set<unknown>()
      for (const bytes of forged) {
        await put(redis, name, bytes)
        seen.add(await found(other))
      }
      await put(redis, name, entry)
      expect([...seen, await found(other)]).toEqual([undefined, 1])
    }))

  test('moved to another key, or another kind: not believed', () =>
    prepared(async ({ redis, one, other, name }) => {
      await read(one, 5, 'another')
      await read(one, 6, 'list', 'another kind')
      await eventually(async () => (await entries(redis)).length === 3)
      const names = await entries(redis)
      const bytes = await Promise.all(names.map((each) => buffer(redis, each)))
      for (const [turn, target] of names.entries()) await put(redis, target, bytes[(turn + 1) % 3] ?? '')
      const all = [await found(other), await found(other, 'another'), await found(other, 'list', 'another kind')]
      await put(redis, name, bytes[names.indexOf(name)] ?? '')
      expect([...all, await found(other)]).toEqual([undefined, undefined, undefined, 1])
    }))

  test('put back after a change, also with the generation it was of: not believed by whoever knows of the change', () =>
    prepared(async ({ redis, one, other, name }) => {
      const entry = await buffer(redis, name)
      const [namesKey = ''] = (await kept(redis)).filter((each) => !isEntry(each))
      const before = await redis.use((client) => client.hgetall(namesKey))
      for (const cache of [one, other]) cache.outdate()
      await eventually(() => one.usable && other.usable)
      await put(redis, name, entry)
      expect([await found(one), await found(other)]).toEqual([undefined, undefined])
      // Whole, and each name of it.
      for (const names of [before, ...Object.entries(before).map(([instance, own]) => ({ [instance]: own }))]) {
        await eventually(() => one.usable && other.usable)
        await redis.use(async (client) => {
          await client.hset(namesKey, names)
        })
        await put(redis, name, entry)
        expect([await found(one), await found(other)]).toEqual([undefined, undefined])
      }
      await eventually(async () => {
        await read(one, 2)
        return (await found(other)) === 2
      })
    }))

  test('kept for longer than it may: not believed, whatever Redis says of its age', () =>
    prepared(async ({ redis, other, name }) => {
      const entry = await buffer(redis, name)
      const seen: unknown[] = []
      for (const ms of [ttlMs + 1_000, ttlMs * 1_000]) {
        await put(redis, name, entry, ms)
        seen.push(await found(other))
      }
      await redis.use((client) => client.persist(name))
      seen.push(await found(other))
      const at = Date.now()
      const ages = []
      for (const afterMs of [0, 30_000, ttlMs - 2_000, ttlMs + 1]) {
        await put(redis, name, entry)
        setSystemTime(new Date(at + afterMs))
        const { value, ageMs } = await find(other)
        seen.push(value?.version)
        if (value) ages.push(ageMs >= afterMs)
      }
      // A clock that was set back makes nothing younger.
      setSystemTime(new Date(at - 3_600_000))
      await put(redis, name, entry)
      seen.push(await found(other))
      expect([seen, ages]).toEqual([
        [undefined, undefined, undefined, 1, 1, 1, undefined, undefined],
        [true, true, true],
      ])
    }))

  test('names of a thousand instances, names that are none, none at all: it goes on', () =>
    prepared(async ({ redis, one, other }) => {
      const [namesKey = ''] = (await kept(redis)).filter((each) => !isEntry(each))
      const crowd = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`i-${n}`, 'x']))
      let version = 1
      for (const spoil of [
        () => redis.use((client) => client.hset(namesKey, crowd)),
        () => redis.use((client) => client.set(namesKey, 'x')),
        () => redis.use((client) => client.del(namesKey)),
      ]) {
        await spoil()
        version += 1
        expect([await read(one, version), await read(other, version)]).toEqual([version, version])
        await redis.use(async (client) => {
          if ((await client.type(namesKey)) === 'string') await client.del(namesKey)
        })
        await eventually(async () => {
          version += 1
          await read(one, version, `list-${version}`)
          return (await found(other, `list-${version}`)) === version
        })
      }
      expect((await redis.use((client) => client.hlen(namesKey))) <= 256).toBe(true)
    }))

  test('an instance that ends takes its name along', () =>
    between(async ({ redis, namespace, one, other }) => {
      await other.close()
      expect(await redis.use((client) => client.hlen(`bun-api:${namespace}:names`))).toBe(1)
      await eventually(() => one.usable)
    }))
})

test('each registry, user, sealing key and release, and nothing else, has a namespace of its own', () => {
  const of = (url: string, kid = 'a', release = '1.0.0') => registryNamespace(url, [kid, 'previous'], release)
  const names = [
    of('postgresql://u:p@h/d'),
    of('postgresql://v:p@h/d'),
    of('postgresql://u:p@i/d'),
    of('postgresql://u:p@h/e'),
  ]
  names.push(of('postgresql://u:p@h/d', 'b'), of('postgresql://u:p@h/d', 'a', '1.0.1'))
  expect([new Set(names).size, of('postgresql://u:other@h/d') === names[0]]).toEqual([6, true])
})

describe('a cache all instances share, without any Redis', () => {
  test('closing does not wait for a connection in the making', async () => {
    const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
    const cache = cacheOn(`redis://127.0.0.1:${listener.port}`, newName('registry'))
    expect(await msOf(() => cache.close())).toBeLessThan(500)
    listener.stop(true)
  })
})
