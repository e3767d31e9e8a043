import { describe, expect, test } from 'bun:test'
import { ApiError, codeOf } from '#src/errors.ts'
import type { DatabaseRow } from '#src/registry/database.ts'
import { type Asker, ReadCache } from '#src/registry/read-cache.ts'

const row = (version: number, id = 'one') => ({ id, version }) as DatabaseRow
const cacheOf = (ttlMs: number, live = () => true) => new ReadCache<DatabaseRow>({ ttlMs, maxSize: 100, live })

/** A registry of one row: each read waits until it is answered. */
function registry() {
  const reads: ((row: DatabaseRow | undefined) => void)[] = []
  const load = () => new Promise<DatabaseRow | undefined>((resolve) => void reads.push(resolve))
  return { reads, load }
}
const versionOf = async (reading: Promise<DatabaseRow | undefined>) => (await reading)?.version

describe('ReadCache', () => {
  test('reads a row once until its time is over', async () => {
    const cache = cacheOf(40)
    let reads = 0
    const get = () => versionOf(cache.get('one', async () => row(++reads)))
    expect([await get(), await get(), cache.size]).toEqual([1, 1, 1])
    const until = performance.now() + 45
    while (performance.now() < until) await Bun.sleep(5)
    expect([await get(), await get()]).toEqual([2, 2])
  })

  test('keeps nothing with a time of 0, nor a row that is not there', async () => {
    const cache = cacheOf(0)
    let reads = 0
    const get = () => versionOf(cache.get('one', async () => row(++reads)))
    expect([await get(), await get()]).toEqual([1, 2])
    const other = cacheOf(1_000)
    await other.get('none', async () => undefined)
    expect(other.size).toBe(0)
  })

  test('reads a changed row anew, and no other', async () => {
    const cache = cacheOf(10_000)
    let version = 2
    const get = () => versionOf(cache.get('one', async () => row(version)))
    expect(await get()).toBe(2)
    version = 3
    cache.forget('other')
    expect(await get()).toBe(2)
    cache.forget('one')
    expect(await get()).toBe(3)
    version = 4
    cache.forget('one')
    expect(await get()).toBe(4)
    version = 5
    cache.clear()
    expect(await get()).toBe(5)
  })

  test('a change told while the row is read: it is read again', async () => {
    for (const tell of [
      (cache: ReadCache<DatabaseRow>) => cache.forget('one'),
      (cache: ReadCache<DatabaseRow>) => cache.clear(),
    ]) {
      const cache = cacheOf(10_000)
      const { reads, load } = registry()
      const reading = versionOf(cache.get('one', load))
      tell(cache)
      tell(cache)
      reads[0]?.(row(1))
      await Bun.sleep(0)
      expect([reads.length, cache.size]).toEqual([2, 0])
      reads[1]?.(row(2))
      expect([await reading, await versionOf(cache.get('one', load)), reads.length]).toEqual([2, 2, 2])
    }
  })

  test('a change of another row makes nobody read again', async () => {
    const cache = cacheOf(10_000)
    const { reads, load } = registry()
    const reading = versionOf(cache.get('one', load))
    cache.forget('other')
    reads[0]?.(row(1))
    expect([await reading, reads.length, cache.size]).toEqual([1, 1, 1])
  })

  test('a row removed while it is read is gone', async () => {
    const cache = cacheOf(10_000)
    const { reads, load } = registry()
    const reading = cache.get('one', load)
    cache.forget('one')
    reads[0]?.(row(1))
    await Bun.sleep(0)
    reads[1]?.(undefined)
    expect([await reading, cache.size]).toEqual([undefined, 0])
  })

  test('while changes are not heard every row is read, and none is believed later', async () => {
    let live = true
    const cache = cacheOf(10_000, () => live)
    let reads = 0
    const get = () => versionOf(cache.get('one', async () => row(++reads)))
    expect(await get()).toBe(1)
    live = false
    expect([await get(), await get()]).toEqual([2, 3])
    live = true
    expect([cache.peek('one'), await get(), await get()]).toEqual([undefined, 4, 4])
  })

  test('what was read before changes may have been missed is read again, also what is just being read', async () => {
    const cache = cacheOf(10_000)
    const { reads, load } = registry()
    expect(await versionOf(cache.get('one', async () => row(1)))).toBe(1)
    cache.doubt()
    expect(cache.peek('one')).toBeUndefined()
    const reading = versionOf(cache.get('one', load))
    cache.doubt()
    reads[0]?.(row(2))
    await Bun.sleep(0)
    reads[1]?.(row(3))
    expect([await reading, cache.peek('one')?.version]).toEqual([3, 3])
  })

  test('a failed read is told, and tried again by the next', async () => {
    const cache = cacheOf(10_000)
    expect(await cache.get('one', () => Promise.reject(new Error('down'))).catch((error: Error) => error.message)).toBe(
      'down',
    )
    expect(await versionOf(cache.get('one', async () => row(1)))).toBe(1)
  })

  test('readers of one key share one read, and another key has its own', async () => {
    const cache = cacheOf(10_000)
    const { reads, load } = registry()
    const readings = [cache.get('one', load), cache.get('one', load), cache.get('two', load)].map(versionOf)
    expect(reads.length).toBe(2)
    reads[0]?.(row(1))
    reads[1]?.(row(2, 'two'))
    expect(await Promise.all(readings)).toEqual([1, 1, 2])
  })

  test('while changes are not heard nobody shares a read that began before', async () => {
    const cache = cacheOf(10_000, () => false)
    const { reads, load } = registry()
    const readings = [cache.get('one', load), cache.get('one', load)].map(versionOf)
    reads[0]?.(row(1))
    reads[1]?.(row(2))
    expect(await Promise.all(readings)).toEqual([1, 2])
  })

  test('drops the value read longest ago when it is full', async () => {
    const cache = new ReadCache<DatabaseRow>({
      ttlMs: 10_000,
      maxSize: 3,
      sizeOf: (kept) => kept.version,
      live: () => true,
    })
    await cache.get('one', async () => row(1))
    await cache.get('two', async () => row(2, 'two'))
    await cache.get('three', async () => row(1, 'three'))
    expect([cache.peek('one'), cache.peek('two')?.id, cache.peek('three')?.id]).toEqual([undefined, 'two', 'three'])
    await cache.get('large', async () => row(4, 'large'))
    expect(cache.peek('large')).toBeUndefined()
  })
})

describe('ReadCache while the registry is down', () => {
  const down = () => Promise.reject(new ApiError('REGISTRY_UNAVAILABLE', 'down'))
  const hanging = () => new Promise<never>(() => undefined)
  const codeOfRead = (reading: Promise<unknown>) => reading.then(() => 'read', codeOf)
  /** A cache that holds a row nobody may believe any more, and what was told of its age. */
  async function doubted(ttlMs = 10_000) {
    const cache = cacheOf(ttlMs)
    await cache.get('one', async () => row(1))
    cache.doubt()
    const told: number[] = []
    return { cache, told, asker: { stale: (seconds: number) => void told.push(seconds) } }
  }

  test('an old value stands in, and the asker is told its age', async () => {
    const { cache, told, asker } = await doubted()
    expect([await versionOf(cache.get('one', down, asker)), told, cache.holds]).toEqual([1, [1], true])
  })

  test('an old value stands in for a registry that hangs, within a second', async () => {
    const { cache, told, asker } = await doubted()
    const started = performance.now()
    expect([await versionOf(cache.get('one', hanging, asker)), told]).toEqual([1, [1]])
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  test('a registry that answers within a second is believed instead', async () => {
    const { cache, told, asker } = await doubted()
    const { reads, load } = registry()
    const reading = versionOf(cache.get('one', load, asker))
    reads[0]?.(row(2))
    expect([await reading, told]).toEqual([2, []])
  })

  test('an asker who can not be told, or refuses, gets no old value', async () => {
    const { cache } = await doubted()
    const refusing = {
      stale: () => {
        throw new ApiError('FORBIDDEN', 'no old value')
      },
    }
    expect([
      await codeOfRead(cache.get('one', down)),
      await codeOfRead(cache.get('one', down, {})),
      await codeOfRead(cache.get('one', down, refusing)),
    ]).toEqual(['REGISTRY_UNAVAILABLE', 'REGISTRY_UNAVAILABLE', 'FORBIDDEN'])
  })

  test('what is unknown, changed, gone or past its time has no old value', async () => {
    const { cache, told, asker } = await doubted()
    expect(await codeOfRead(cache.get('two', down, asker))).toBe('REGISTRY_UNAVAILABLE')
    await cache.get('one', async () => undefined)
    expect(await codeOfRead(cache.get('one', down, asker))).toBe('REGISTRY_UNAVAILABLE')
    await cache.get('one', async () => row(1))
    cache.doubt()
    const { promise, reject } = Promise.withResolvers<never>()
    const reading = codeOfRead(cache.get('one', () => promise, asker))
    cache.forget('one')
    reject(new ApiError('REGISTRY_UNAVAILABLE', 'down'))
    expect([await reading, told, cache.holds]).toEqual(['REGISTRY_UNAVAILABLE', [], false])
    const short = await doubted(20)
    const until = performance.now() + 25
    while (performance.now() < until) await Bun.sleep(5)
    expect([await codeOfRead(short.cache.get('one', down, short.asker)), short.cache.holds]).toEqual([
      'REGISTRY_UNAVAILABLE',
      false,
    ])
  })

  test('another failure is told as it is', async () => {
    const { cache, told, asker } = await doubted()
    const failing = () => Promise.reject(new ApiError('INTERNAL', 'a fault of ours'))
    expect([await codeOfRead(cache.get('one', failing, asker)), told]).toEqual(['INTERNAL', []])
  })
})

describe('ReadCache over a shared cache', () => {
  test('asks it before the registry while changes are heard, and counts the age of what it has', async () => {
    let live = true
    const asked: string[] = []
    const behind = {
      through: async (key: string) => {
        asked.push(key)
        return { value: row(7), ageMs: 59_000, copied: true }
      },
    }
    const cache = new ReadCache<DatabaseRow>({ ttlMs: 60_000, maxSize: 10, live: () => live, behind })
    const get = (asker?: Asker) => versionOf(cache.get('one', async () => row(1), asker))
    expect([await get(), await get(), asked]).toEqual([7, 7, ['one']])
    live = false
    const told: number[] = []
    const down = () => Promise.reject(new ApiError('REGISTRY_UNAVAILABLE', 'down'))
    const old = cache.get('one', down, { stale: (seconds) => void told.push(seconds) })
    expect([await versionOf(old), told, await get(), asked]).toEqual([7, [60], 1, ['one']])
  })

  test('tells those who asked, and wait for the same read, when the registry was not', async () => {
    for (const copied of [true, false]) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const behind = {
        through: async () => {
          await promise
          return { value: row(7), ageMs: 0, copied }
        },
      }
      const cache = new ReadCache<DatabaseRow>({ ttlMs: 60_000, maxSize: 10, live: () => true, behind })
      const told: string[] = []
      const asks = ['one', 'two'].map((name) =>
        versionOf(cache.get('one', async () => row(1), { copied: () => void told.push(name) })),
      )
      resolve()
      expect([await Promise.all(asks), told]).toEqual([[7, 7], copied ? ['one', 'two'] : []])
    }
  })
})
