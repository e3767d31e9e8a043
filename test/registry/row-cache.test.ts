import { describe, expect, test } from 'bun:test'
import type { DatabaseRow } from '#src/registry/database.ts'
import { RowCache } from '#src/registry/row-cache.ts'

const row = (version: number, id = 'one') => ({ id, version }) as DatabaseRow

/** A registry of one row: each read waits until it is answered. */
function registry() {
  const reads: ((row: DatabaseRow | undefined) => void)[] = []
  const load = () => new Promise<DatabaseRow | undefined>((resolve) => void reads.push(resolve))
  return { reads, load }
}
const versionOf = async (reading: Promise<DatabaseRow | undefined>) => (await reading)?.version

describe('RowCache', () => {
  test('reads a row once until its time is over', async () => {
    const cache = new RowCache(40, () => true)
    let reads = 0
    const get = () => versionOf(cache.get('one', async () => row(++reads)))
    expect([await get(), await get(), cache.size]).toEqual([1, 1, 1])
    const until = performance.now() + 45
    while (performance.now() < until) await Bun.sleep(5)
    expect([await get(), await get()]).toEqual([2, 2])
  })

  test('keeps nothing with a time of 0, nor a row that is not there', async () => {
    const cache = new RowCache(0, () => true)
    let reads = 0
    const get = () => versionOf(cache.get('one', async () => row(++reads)))
    expect([await get(), await get()]).toEqual([1, 2])
    const other = new RowCache(1_000, () => true)
    await other.get('none', async () => undefined)
    expect(other.size).toBe(0)
  })

  test('reads a changed row anew, and one that is new enough not', async () => {
    const cache = new RowCache(10_000, () => true)
    let version = 2
    const get = () => versionOf(cache.get('one', async () => row(version)))
    expect(await get()).toBe(2)
    version = 3
    cache.forget('other')
    cache.forget('one', 2)
    expect(await get()).toBe(2)
    cache.forget('one', 3)
    expect(await get()).toBe(3)
    version = 4
    cache.forget('one')
    expect(await get()).toBe(4)
    version = 5
    cache.clear()
    expect(await get()).toBe(5)
  })

  test('a change told while the row is read: it is read again', async () => {
    for (const tell of [(cache: RowCache) => cache.forget('one', 2), (cache: RowCache) => cache.clear()]) {
      const cache = new RowCache(10_000, () => true)
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
    const cache = new RowCache(10_000, () => true)
    const { reads, load } = registry()
    const reading = versionOf(cache.get('one', load))
    cache.forget('other')
    reads[0]?.(row(1))
    expect([await reading, reads.length, cache.size]).toEqual([1, 1, 1])
  })

  test('a row removed while it is read is gone', async () => {
    const cache = new RowCache(10_000, () => true)
    const { reads, load } = registry()
    const reading = cache.get('one', load)
    cache.forget('one')
    reads[0]?.(row(1))
    await Bun.sleep(0)
    reads[1]?.(undefined)
    expect([await reading, cache.size]).toEqual([undefined, 0])
  })

  test('while changes are not heard every row is read, and none is kept', async () => {
    let live = true
    const cache = new RowCache(10_000, () => live)
    let reads = 0
    const get = () => versionOf(cache.get('one', async () => row(++reads)))
    expect(await get()).toBe(1)
    live = false
    expect([await get(), await get()]).toEqual([2, 3])
    const { reads: pending, load } = registry()
    const reading = versionOf(cache.get('two', load))
    pending[0]?.(row(1, 'two'))
    expect([await reading, cache.size]).toEqual([1, 1])
  })

  test('a failed read is told, and tried again by the next', async () => {
    const cache = new RowCache(10_000, () => true)
    expect(await cache.get('one', () => Promise.reject(new Error('down'))).catch((error: Error) => error.message)).toBe(
      'down',
    )
    expect(await versionOf(cache.get('one', async () => row(1)))).toBe(1)
  })
})
