import { Redis } from 'ioredis'
import { RateLimiterRes } from 'rate-limiter-flexible'
import type { Log } from '../log.ts'

/** What a Redis may add to a request before its answer is done without. */
const patienceMs = 20
/** A single late answer may be this process's own; so many in a row are the store's. */
const lateInARow = 3
const askAgainMs = 500
/** A connection that is silent for so long, though it was asked, is dialled anew. */
const silenceMs = 2_000

/** Thrown by `ask` when the store did not answer in time: count for yourself. */
export const unanswered = Symbol('unanswered')

/** The Redis whose counters all instances share. It never holds a request up: while it is away `up` is false. */
export interface LimitStore extends AsyncDisposable {
  readonly client: Redis
  readonly up: boolean
  /** Settles as the limiter does, or rejects with `unanswered` within 20 ms. */
  ask<T>(limiter: () => Promise<T>): Promise<T>
}

/** Connects in the background. `url` is the operator's own (`CACHE_REDIS_URL`), so no dial policy is asked. */
export function openLimitStore(url: string, log: Log): LimitStore {
  const client = new Redis(url, {
    protocol: 2,
    connectTimeout: silenceMs,
    socketTimeout: silenceMs,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    disableClientInfo: true,
    retryStrategy: (times: number) => Math.min(askAgainMs, 50 * times),
  } as never)
  // Without a listener ioredis prints the error, which may quote the server.
  client.on('error', () => undefined)
  client.on('close', () => down())
  let up: boolean | undefined
  let late = 0
  let asking = false
  let closed = false

  function down(): void {
    if (up === false || closed) return
    up = false
    log.warn('rate limits local', { reason: 'CACHE_REDIS_URL does not answer' })
  }

  // Only while it is away: in use, every request asks.
  function askAgain(): void {
    if (up === true || asking) return
    asking = true
    const patience = setTimeout(down, silenceMs / 2)
    client
      .ping()
      .then(
        () => {
          if (up === false) log.warn('rate limits shared', {})
          up = true
          late = 0
        },
        // Also what is no fault of the network: a wrong password, a server that still loads.
        () => down(),
      )
      .finally(() => {
        clearTimeout(patience)
        asking = false
      })
  }
  client.on('ready', askAgain)
  const timer = setInterval(askAgain, askAgainMs)
  timer.unref()

  const ask = <T>(limiter: () => Promise<T>) =>
    new Promise<T>((resolve, reject) => {
      let waiting = true
      const settle = (answered: boolean, end: () => void) => {
        if (!waiting) return
        waiting = false
        clearTimeout(patience)
        late = answered ? 0 : late + 1
        if (late >= lateInARow || client.status !== 'ready') down()
        end()
      }
      const giveUp = () => settle(false, () => reject(unanswered))
      const patience = setTimeout(giveUp, patienceMs)
      limiter().then(
        (taken) => settle(true, () => resolve(taken)),
        (refused: unknown) => (refused instanceof RateLimiterRes ? settle(true, () => reject(refused)) : giveUp()),
      )
    })

  return {
    client,
    get up() {
      return up === true
    },
    ask,
    async [Symbol.asyncDispose]() {
      closed = true
      clearInterval(timer)
      client.disconnect()
    },
  }
}
