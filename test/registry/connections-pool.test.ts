import { describe, expect, test } from 'bun:test'
import { callWithin } from '#src/engines/engine.ts'
import { Pool, type PoolOptions } from '#src/engines/pool.ts'
import { ApiError } from '#src/errors.ts'
import { eventually } from './registries.ts'

class Thing {
  closed = false
  async close() {
    this.closed = true
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'lent',
    (error: unknown) => (error instanceof ApiError ? error.code : error),
  )

function createPool(options: Partial<PoolOptions<Thing>> = {}) {
  const made: Thing[] = []
  const pool = new Pool<Thing>({
    create: async () => {
      const thing = new Thing()
      made.push(thing)
      return thing
    },
    max: 3,
    waitTimeoutMs: 200,
    idleTimeoutMs: 60_000,
    ...options,
  })
  return { pool, made }
}

describe('Pool', () => {
  test('a value whose cleaning hangs loses its place after two seconds', async () => {
    const { pool, made } = createPool({ max: 1, reset: () => new Promise(() => undefined) })
    using call = callWithin(10_000)
    await (await pool.acquire(call))[Symbol.asyncDispose]()
    expect(await codeOf(pool.acquire(call))).toBe('POOL_EXHAUSTED')
    await eventually(() => pool.size === 0)
    await using borrowed = await pool.acquire(call)
    expect([made.length, made[0]?.closed, borrowed.value === made[1]]).toEqual([2, true, true])
  })

  test('until one connection is there, one is dialled at a time, and its failure is everybody’s', async () => {
    let dials = 0
    const { pool } = createPool({
      create: async () => {
        dials += 1
        await Bun.sleep(20)
        throw new ApiError('DB_CONNECTION_FAILED', 'It is gone.')
      },
    })
    using call = callWithin(10_000)
    const codes = await Promise.all(Array.from({ length: 7 }, () => codeOf(pool.acquire(call))))
    expect([codes, dials, pool.size]).toEqual([Array(7).fill('DB_CONNECTION_FAILED'), 1, 0])
  })

  test('once one is there the others are dialled at once, and every waiter is served', async () => {
    let dialling = 0
    let most = 0
    const { pool, made } = createPool({
      create: async () => {
        most = Math.max(most, ++dialling)
        await Bun.sleep(20)
        dialling -= 1
        made.push(new Thing())
        return made.at(-1) as Thing
      },
      waitTimeoutMs: 2_000,
    })
    using call = callWithin(10_000)
    const work = async () => {
      await using _ = await pool.acquire(call)
      await Bun.sleep(20)
    }
    await Promise.all(Array.from({ length: 7 }, work))
    expect([made.length <= 3, most <= 2, pool.size <= 3]).toEqual([true, true, true])
  })

  test('after lost connections one shows whether the server is back', async () => {
    let fails = false
    let dials = 0
    const { pool, made } = createPool({
      create: async () => {
        dials += 1
        await Bun.sleep(10)
        if (fails) throw new ApiError('DB_CONNECTION_FAILED', 'It is gone.')
        made.push(new Thing())
        return made.at(-1) as Thing
      },
    })
    using call = callWithin(10_000)
    const borrowed = [await pool.acquire(call), await pool.acquire(call), await pool.acquire(call)]
    await Promise.all(borrowed.map((one) => one[Symbol.asyncDispose]()))
    fails = true
    for (const thing of made) thing.closed = true
    dials = 0
    const codes = await Promise.all(Array.from({ length: 3 }, () => codeOf(pool.acquire(call))))
    expect([codes, dials, pool.size]).toEqual([Array(3).fill('DB_CONNECTION_FAILED'), 1, 0])
  })

  test('a dial that ran out of time is remembered, one whose caller left is not', async () => {
    const hang: PoolOptions<Thing>['create'] = (call) =>
      new Promise((_, reject) =>
        call.signal.addEventListener('abort', () => reject(new ApiError('DB_TIMEOUT', 'It hangs.')), { once: true }),
      )
    const { pool } = createPool({ create: hang })
    const leaving = new AbortController()
    using left = callWithin(10_000, leaving.signal)
    const first = codeOf(pool.acquire(left))
    leaving.abort()
    expect(await first).toBe('DB_TIMEOUT')
    using late = callWithin(50)
    const started = performance.now()
    await codeOf(pool.acquire(late))
    expect(performance.now() - started).toBeGreaterThan(40)
    using next = callWithin(10_000)
    const asked = performance.now()
    expect(await codeOf(pool.acquire(next))).toBe('DB_TIMEOUT')
    expect(performance.now() - asked).toBeLessThan(40)
  })

  test('closing wakes who waits, ends what is idle, and what is lent when it returns', async () => {
    const { pool, made } = createPool({ max: 2, waitTimeoutMs: 2_000 })
    using call = callWithin(10_000)
    const lent = await pool.acquire(call)
    await (await pool.acquire(call))[Symbol.asyncDispose]()
    await eventually(() => made.length === 2)
    const holding = await pool.acquire(call)
    const waiting = codeOf(pool.acquire(call))
    await holding[Symbol.asyncDispose]()
    expect(await waiting).toBe('lent')
    await pool.close()
    expect(await codeOf(pool.acquire(call))).toBe('DB_CONNECTION_FAILED')
    await lent[Symbol.asyncDispose]()
    await eventually(() => made[0]?.closed === true)
  })
})
