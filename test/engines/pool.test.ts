import { describe, expect, test } from 'bun:test'
import { Backoff } from '#src/engines/backoff.ts'
import { callWithin } from '#src/engines/engine.ts'
import { Pool, type PoolOptions } from '#src/engines/pool.ts'
import { ApiError, codeOf } from '#src/errors.ts'
import { eventually } from './peers.ts'

interface Thing {
  readonly id: number
  closed: boolean
  close(): Promise<void>
}

function things(options: Partial<PoolOptions<Thing>> = {}) {
  const made: Thing[] = []
  const pool = new Pool<Thing>({
    async create() {
      const thing: Thing = {
        id: made.length,
        closed: false,
        async close() {
          thing.closed = true
        },
      }
      made.push(thing)
      return thing
    },
    max: 2,
    waitTimeoutMs: 100,
    idleTimeoutMs: 60_000,
    ...options,
  })
  return { pool, made }
}
const call = () => callWithin(5_000)
const refused = (work: Promise<unknown>) => work.then(() => 'nothing', codeOf)

describe('a pool', () => {
  test('lends one to one at a time, and a returned one again', async () => {
    const { pool, made } = things()
    for (let round = 0; round < 5; round++) {
      await using borrowed = await pool.acquire(call())
      expect(borrowed.value.id).toBe(0)
    }
    const both = await Promise.all([pool.acquire(call()), pool.acquire(call())])
    expect(new Set(both.map(({ value }) => value.id)).size).toBe(2)
    expect([made.length, pool.size]).toEqual([2, 2])
  })

  test('POOL_EXHAUSTED for who waited too long, and at once for one waiter too many', async () => {
    const { pool } = things()
    await Promise.all([pool.acquire(call()), pool.acquire(call())])
    const waiting = Array.from({ length: 4 }, () => refused(pool.acquire(call())))
    const started = performance.now()
    expect(await refused(pool.acquire(call()))).toBe('POOL_EXHAUSTED')
    expect(performance.now() - started).toBeLessThan(50)
    expect(await Promise.all(waiting)).toEqual(Array(4).fill('POOL_EXHAUSTED'))
  })

  test('a waiter gets what is returned, the first of them first', async () => {
    const { pool } = things({ max: 1, waitTimeoutMs: 1_000 })
    const first = await pool.acquire(call())
    const order: string[] = []
    const take = async (name: string) => {
      await using _ = await pool.acquire(call())
      order.push(name)
    }
    const waiting = [take('a'), take('b')]
    await first[Symbol.asyncDispose]()
    await Promise.all(waiting)
    expect(order).toEqual(['a', 'b'])
  })

  test('a waiter who leaves takes no place and wakes nobody', async () => {
    const { pool } = things({ max: 1, waitTimeoutMs: 5_000 })
    const first = await pool.acquire(call())
    const leaving = new AbortController()
    const left = refused(pool.acquire(callWithin(5_000, leaving.signal)))
    leaving.abort()
    expect(await left).toBe('POOL_EXHAUSTED')
    await first[Symbol.asyncDispose]()
    await using again = await pool.acquire(call())
    expect(again.value.id).toBe(0)
  })

  test('what is closed, or can not be made fit again, is not lent again', async () => {
    let fit = true
    const { pool, made } = things({ reset: async () => void (fit || (await Promise.reject(new Error('unfit')))) })
    {
      await using borrowed = await pool.acquire(call())
      borrowed.value.closed = true
    }
    {
      await using borrowed = await pool.acquire(call())
      expect(borrowed.value.id).toBe(1)
      fit = false
    }
    await eventually(() => made[1]?.closed === true)
    await using borrowed = await pool.acquire(call())
    expect([borrowed.value.id, pool.size]).toEqual([2, 1])
  })
})

describe('the backoff', () => {
  test('answers the last failure until its delay is over', () => {
    const backoff = new Backoff()
    const failure = new ApiError('DB_CONNECTION_FAILED', 'down')
    expect(() => backoff.check()).not.toThrow()
    backoff.failed(failure)
    expect(() => backoff.check()).toThrow(failure)
    backoff.succeeded()
    expect(() => backoff.check()).not.toThrow()
  })
})
