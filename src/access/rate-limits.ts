import type { Config } from '../config.ts'
import { addressKey } from '../http/client-address.ts'
import type { Declaration } from '../http/contract.ts'
import type { Log } from '../log.ts'
import { createBudget, type RateHeaders } from './budget.ts'
import { openLimitStore } from './limit-store.ts'
import type { Principal } from './principal.ts'

export type { RateHeaders }

export interface RateLimitOptions {
  readonly config: Pick<
    Config,
    | 'RATE_READ_RPS'
    | 'RATE_WRITE_RPS'
    | 'RATE_TESTS_PER_MIN'
    | 'RATE_AUTH_FAILURES_PER_MIN'
    | 'RATE_ANONYMOUS_MAX'
    | 'RATE_ANONYMOUS_WINDOW_MS'
  >
  /** `CACHE_REDIS_URL`: instances share their counters. */
  readonly redisUrl?: string | undefined
  readonly log: Log
}

/** Who may ask how often. All that refuses throws `RATE_LIMITED`. */
export interface RateLimits extends AsyncDisposable {
  /**
   * Takes what a matched route costs its principal, and resolves with the headers of the answer. `undefined` for those that have no
   * budget of their own: the service key, which sends everybody's traffic, and anonymous callers, who are counted by address.
   * `target` is what a connection test dials.
   */
  check(principal: Principal, declaration: Declaration, target?: string): Promise<RateHeaders> | undefined
  /** Takes what an anonymous request costs its address. */
  anonymous(address: string): Promise<RateHeaders>
  /** Before a credential is verified that is not known yet: refused while too many with its `prefix` failed from there, also the right one. */
  admit(address: string, prefix: string): Promise<void>
  /** Counts a credential that turned out wrong, for its address and prefix and as an anonymous request. */
  failed(address: string, prefix: string): Promise<void>
}

const minute = 60
/** Twice the rate at once, and no more than the rate in the long run. */
const burstSeconds = 2

export function createRateLimits({ config, redisUrl, log }: RateLimitOptions): RateLimits {
  const store = redisUrl === undefined ? undefined : openLimitStore(redisUrl, log)
  const budget = (name: string, quota: number, seconds: number) => createBudget({ name, quota, seconds, store })
  const reads = budget('read', config.RATE_READ_RPS * burstSeconds, burstSeconds)
  const writes = budget('write', config.RATE_WRITE_RPS * burstSeconds, burstSeconds)
  const tests = budget('test', config.RATE_TESTS_PER_MIN, minute)
  const failures = budget('auth', config.RATE_AUTH_FAILURES_PER_MIN, minute)
  const strangers = budget('anonymous', config.RATE_ANONYMOUS_MAX, Math.ceil(config.RATE_ANONYMOUS_WINDOW_MS / 1000))
  const failureKey = (address: string, prefix: string) => `${addressKey(address)} ${prefix}`

  return {
    check({ kind, id }, { operation }, target = '') {
      if (kind === 'service' || kind === 'anonymous') return undefined
      const caller = `${kind}:${id}`
      if (operation === 'read') return reads.take(caller)
      const taken = writes.take(caller)
      return operation === 'connect' ? taken.then(() => tests.take(`${caller} ${target}`)) : taken
    },
    anonymous: (address) => strangers.take(addressKey(address)),
    admit: (address, prefix) => failures.look(failureKey(address, prefix)),
    async failed(address, prefix) {
      // First by address: who tries ever new prefixes makes no new counter.
      await strangers.take(addressKey(address))
      await failures.take(failureKey(address, prefix))
    },
    async [Symbol.asyncDispose]() {
      await store?.[Symbol.asyncDispose]()
    },
  }
}
