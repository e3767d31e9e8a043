import { afterAll, beforeAll, describe, expect, setSystemTime, test } from 'bun:test'
import { createRateLimits, type RateLimits } from '#src/access/rate-limits.ts'
import type { User } from '#src/access/principal.ts'
import { loadConfig } from '#src/config.ts'
import { ApiError } from '#src/errors.ts'
import { createLog } from '#src/log.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { canary } from '#test/support/stores.ts'
import { type OwnRedis, startOwnRedis } from './own-redis.ts'

const env = { RATE_ANONYMOUS_MAX: '20', RATE_AUTH_FAILURES_PER_MIN: '5', RATE_READ_RPS: '10' }
/** What one answer may take: 20 ms for Redis, and a share of a busy machine. */
const answeredWithinMs = 20 + 30
const recoversWithinMs = 10_000
const user: User = { kind: 'user', id: 'one', expiresAt: Number.MAX_SAFE_INTEGER }

interface Instance extends AsyncDisposable {
  readonly limits: RateLimits
  readonly events: () => readonly string[]
}

function startInstance(url: string | undefined): Instance {
  const lines: string[] = []
  const log = createLog('debug', { write: (line) => void lines.push(line) })
  const limits = createRateLimits({ config: loadConfig(env), redisUrl: url, log })
  return {
    limits,
    events: () => lines.map((line) => String((JSON.parse(line) as { event: string }).event)),
    async [Symbol.asyncDispose]() {
      await limits[Symbol.asyncDispose]()
      expect(lines.filter((line) => line.includes(canary))).toEqual([])
    },
  }
}

let address = 0
/** One that nobody has counted yet. */
const newAddress = () => `192.0.${2 + (++address >> 8)}.${address & 255}`

/** How many of so many are let through. */
async function passed(asked: number, run: () => Promise<unknown>): Promise<number> {
  let through = 0
  for (let n = 0; n < asked; n++) {
    await run().then(
      () => through++,
      (error: unknown) => {
        if (!(error instanceof ApiError) || error.code !== 'RATE_LIMITED') throw error
      },
    )
  }
  return through
}

async function untilTrue(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + recoversWithinMs
  while (!(await check())) {
    if (performance.now() > until) throw new Error(`not within ${recoversWithinMs} ms: ${what}`)
    await Bun.sleep(20)
  }
}

describeWith('redis', 'counters on CACHE_REDIS_URL', () => {
  let redis: OwnRedis
  beforeAll(async () => {
    redis = await startOwnRedis()
  }, 30_000)
  afterAll(() => redis[Symbol.asyncDispose]())

  /** Two instances that count together already. */
  const startPair = async () => {
    await using cleanup = new AsyncDisposableStack()
    const one = cleanup.use(startInstance(redis.url))
    const two = cleanup.use(startInstance(redis.url))
    const isShared = () =>
      untilTrue('what one instance takes of an address, the other no longer has', async () => {
        const from = newAddress()
        const first = await passed(12, () => one.limits.anonymous(from))
        return first + (await passed(12, () => two.limits.anonymous(from))) === 20
      })
    await isShared()
    const owned = cleanup.move()
    return { one, two, isShared, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  test('two instances share one budget of an address, of a user, and of a prefix that fails', async () => {
    await using pair = await startPair()
    const { one, two } = pair
    const sharedAddress = newAddress()
    const from = newAddress()
    const both = async (run: (limits: RateLimits) => Promise<unknown> | undefined, asked: number) =>
      (await passed(asked, async () => run(one.limits))) + (await passed(asked, async () => run(two.limits)))
    const counts = {
      anonymous: await both((limits) => limits.anonymous(sharedAddress), 15),
      failed: await both((limits) => limits.failed(from, 'bak_one'), 4),
      read: await both((limits) => limits.check(user, { access: 'read', operation: 'read' }), 15),
    }
    expect(counts).toEqual({ anonymous: 20, failed: 5, read: 20 })
    expect(await passed(1, () => one.limits.admit(from, 'bak_one'))).toBe(0)
    expect(await passed(1, () => two.limits.admit(from, 'bak_one'))).toBe(0)
  })

  test('a Redis that hangs adds 20 ms at the most, then nothing; the limits hold, and are shared again by themselves', async () => {
    await using pair = await startPair()
    const { one } = pair
    redis.freeze()
    try {
      const from = newAddress()
      const took: number[] = []
      const through = await passed(40, async () => {
        const started = performance.now()
        await one.limits.anonymous(from).finally(() => took.push(performance.now() - started))
      })
      expect(through).toBe(20)
      expect(Math.max(...took)).toBeLessThan(answeredWithinMs)
      // Once it is known, nobody waits any more.
      expect(took.slice(5).filter((ms) => ms > 10)).toEqual([])
      expect(one.events()).toEqual(['rate limits local'])
    } finally {
      redis.thaw()
    }
    await untilTrue('shared again', () => one.events().length > 1)
    await pair.isShared()
    expect(one.events()).toEqual(['rate limits local', 'rate limits shared'])
  })

  test('a Redis that is killed and comes back: local limits meanwhile, one line for each change', async () => {
    await using pair = await startPair()
    const { one } = pair
    await redis.kill()
    try {
      const [asking, failing] = [newAddress(), newAddress()]
      expect(await passed(30, () => one.limits.anonymous(asking))).toBe(20)
      expect(await passed(9, () => one.limits.failed(failing, 'bak_one'))).toBe(5)
      expect(await passed(1, () => one.limits.admit(failing, 'bak_one'))).toBe(0)
      await untilTrue('known to be away', () => one.events().length === 1)
    } finally {
      await redis.start()
    }
    await untilTrue('shared again', () => one.events().length > 1)
    await pair.isShared()
    expect(one.events()).toEqual(['rate limits local', 'rate limits shared'])
  })

  test('a Redis that hangs for longer than its connection is kept is found again', async () => {
    await using pair = await startPair()
    redis.freeze()
    try {
      expect(await passed(5, () => pair.one.limits.anonymous(newAddress()))).toBe(5)
      await Bun.sleep(3_000)
      const from = newAddress()
      expect(await passed(30, () => pair.one.limits.anonymous(from))).toBe(20)
    } finally {
      redis.thaw()
    }
    await untilTrue('shared again', () => pair.one.events().length > 1)
    await pair.isShared()
    expect(pair.one.events()).toEqual(['rate limits local', 'rate limits shared'])
  })

  const notFrozen = async (limits: RateLimits) => {
    const caller: User = { ...user, id: crypto.randomUUID() }
    const reads = () => passed(30, async () => limits.check(caller, { access: 'read', operation: 'read' }))
    try {
      expect([await reads(), await reads()]).toEqual([20, 0])
      setSystemTime(Date.now() - 7_200_000)
      await untilTrue('full again', async () => (await reads()) > 0)
    } finally {
      setSystemTime()
    }
  }

  test('a clock that is set back two hours does not freeze what is used up', async () => {
    await using pair = await startPair()
    await notFrozen(pair.one.limits)
    await using alone = startInstance(undefined)
    await notFrozen(alone.limits)
  })

  test('an emptied Redis starts the counts anew, scripts too, and limits them again', async () => {
    await using pair = await startPair()
    const { one } = pair
    const from = newAddress()
    expect(await passed(10, () => one.limits.anonymous(from))).toBe(10)
    await redis.use(async (client) => {
      await client.flushall()
      await client.script('FLUSH')
    })
    expect(await passed(30, () => one.limits.anonymous(from))).toBe(20)
    expect(one.events()).toEqual([])
  })

  test('what is used up is refused without asking Redis', async () => {
    await using pair = await startPair()
    const { one } = pair
    const from = newAddress()
    await passed(20, () => one.limits.anonymous(from))
    const asked = () =>
      redis.use(async (client) => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats'))?.[1]))
    const before = await asked()
    expect(await passed(50, () => one.limits.anonymous(from))).toBe(0)
    expect(await asked()).toBe(before)
  })

  test('counters expire with their window and name this server', async () => {
    await using pair = await startPair()
    const { one } = pair
    const from = newAddress()
    await one.limits.anonymous(from)
    await redis.use(async (client) => {
      const key = `bun-api:rate:anonymous:${from}`
      const seconds = await client.ttl(key)
      expect(seconds > 0 && seconds <= 900).toBe(true)
    })
  })
})

describe('a Redis that is not there', () => {
  test('limits are local from the first request on, and the log says so once', async () => {
    await using instance = startInstance(`redis://:${canary}@127.0.0.1:1/0`)
    const from = newAddress()
    expect(await passed(30, () => instance.limits.anonymous(from))).toBe(20)
    await untilTrue('said', () => instance.events().length > 0)
    await Bun.sleep(1_200)
    expect(instance.events()).toEqual(['rate limits local'])
  })
})

describeWith('redis', 'servers on one CACHE_REDIS_URL', () => {
  test('limit by themselves while it hangs, and count an anonymous caller together when it answers', async () => {
    await using redis = await startOwnRedis()
    const options = { env: { CACHE_REDIS_URL: redis.url, RATE_ANONYMOUS_MAX: '20' } }
    await using one = await createTestApp(options)
    await using two = await createTestApp(options)
    const ask = async (app: TestApp) => (await app.request('GET', '/openapi.json', { key: null })).status
    const ok = (seen: readonly number[]) => seen.filter((status) => status === 200).length
    const counted = () => redis.use(async (client) => Number(await client.get('bun-api:rate:anonymous:unknown')))
    const countsInRedis = (app: TestApp) =>
      untilTrue('counted in Redis', async () => {
        const before = await counted()
        await ask(app)
        return (await counted()) > before
      })
    for (const app of [one, two]) await countsInRedis(app)
    redis.freeze()
    try {
      const seen: number[] = []
      for (let n = 0; n < 40; n++) seen.push(await ask(two))
      expect([ok(seen) > 0, ok(seen) <= 20, seen.at(-1)]).toEqual([true, true, 429])
    } finally {
      redis.thaw()
    }
    await countsInRedis(two)
    await redis.use((client) => client.flushall())
    const seen: number[] = []
    for (let n = 0; n < 12; n++) seen.push(await ask(one), await ask(two))
    expect([ok(seen), new Set(seen)]).toEqual([20, new Set([200, 429])])
  })
})

describeWith('redis', 'a Redis with another password', () => {
  test('limits are local, and the log says so', async () => {
    await using redis = await startOwnRedis()
    await using instance = startInstance(redis.url.replace(/:[^:@]+@/, `:${canary}-wrong@`))
    await untilTrue('said', () => instance.events().length > 0)
    const from = newAddress()
    expect(await passed(30, () => instance.limits.anonymous(from))).toBe(20)
    expect(instance.events()).toEqual(['rate limits local'])
  })
})
