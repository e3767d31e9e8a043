import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { ApiError } from '../errors.ts'
import { type LimitStore, unanswered } from './limit-store.ts'

/** `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) of one answer. */
export type RateHeaders = Readonly<Record<string, string>>

export interface BudgetOptions {
  /** As the headers name it. */
  readonly name: string
  /** What one key may take in a window of so many seconds. */
  readonly quota: number
  readonly seconds: number
  /** Shared counters; without it, and while it is away, this process counts for itself. */
  readonly store?: LimitStore | undefined
}

/** So much of something for each key and window of time. */
export interface Budget {
  /** Takes one; throws `RATE_LIMITED` when nothing is left. */
  take(key: string): Promise<RateHeaders>
  /** Throws `RATE_LIMITED` when nothing is left, and takes nothing. */
  look(key: string): Promise<void>
}

/** Keys of one window that are counted each for itself; those that come after share this many counters. */
const maxKeys = 65_536
const clockJumpMs = 1_000

export function createBudget({ name, quota, seconds, store }: BudgetOptions): Budget {
  const options = { points: quota, duration: seconds }
  const local = new RateLimiterMemory({ ...options, keyPrefix: name })
  const shared =
    store &&
    new RateLimiterRedis({
      ...options,
      storeClient: store.client,
      keyPrefix: `bun-api:rate:${name}`,
      rejectIfRedisNotReady: true,
      // What is used up is refused without a question.
      inMemoryBlockOnConsumed: quota,
    })
  const policy = `"${name}";q=${quota};w=${seconds}`
  const crowd = createCrowd(seconds)
  const clock = createClock()

  const headersOf = ({ remainingPoints, msBeforeNext }: RateLimiterRes): RateHeaders => ({
    'ratelimit-policy': policy,
    ratelimit: `"${name}";r=${remainingPoints};t=${secondsLeft(msBeforeNext, seconds)}`,
  })
  const refusal = (state: RateLimiterRes): ApiError => {
    const wait = Math.max(1, secondsLeft(state.msBeforeNext, seconds))
    const message = `More than ${quota} requests in ${seconds} s. Try again in ${wait} s.`
    return new ApiError('RATE_LIMITED', message, { headers: { ...headersOf(state), 'retry-after': String(wait) } })
  }
  const askShared = async <T>(limiter: (redis: RateLimiterRedis) => Promise<T>, own: () => Promise<T>): Promise<T> => {
    if (store === undefined || shared === undefined || !store.up) return own()
    // The library notes by the wall clock until when a key is used up; a clock that was set back would keep it so.
    if (clock.jumped()) shared.deleteInMemoryBlockedAll()
    try {
      return await store.ask(() => limiter(shared))
    } catch (reason) {
      if (reason === unanswered) return own()
      throw reason
    }
  }

  return {
    async take(key) {
      const counted = crowd.keyOf(key)
      const taken = askShared(
        (redis) => redis.consume(counted),
        () => local.consume(counted),
      )
      const state = await taken.catch((reason: unknown) => {
        throw reason instanceof RateLimiterRes ? refusal(reason) : reason
      })
      if (state.isFirstInDuration) crowd.joined()
      return headersOf(state)
    },
    async look(key) {
      const counted = crowd.keyOf(key)
      const state = await askShared(
        (redis) => redis.get(counted),
        () => local.get(counted),
      )
      if (state !== null && state.consumedPoints >= quota) throw refusal(state)
    },
  }
}

function secondsLeft(ms: number, seconds: number): number {
  return Math.min(seconds, Math.max(0, Math.ceil(ms / 1000)))
}

/** Bounds the memory that callers with ever new keys can take. */
function createCrowd(seconds: number) {
  const salt = crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n
  let members = 0
  let until = 0
  return {
    keyOf(key: string): string {
      if (performance.now() >= until) {
        until = performance.now() + seconds * 1000
        members = 0
      }
      return members < maxKeys ? key : `crowd:${Bun.hash.wyhash(key, salt) % BigInt(maxKeys)}`
    },
    joined() {
      members++
    },
  }
}

function createClock() {
  let offset = Date.now() - performance.now()
  return {
    jumped(): boolean {
      const now = Date.now() - performance.now()
      const jumped = Math.abs(now - offset) > clockJumpMs
      if (jumped) offset = now
      return jumped
    },
  }
}
