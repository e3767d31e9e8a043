import { ApiError } from '../errors.ts'
import { poolExhausted } from './dial-errors.ts'
import { Backoff } from './backoff.ts'
import { type Call, callWithin, remainingMs, untilAborted } from './engine.ts'

/** Something a pool lends: when `closed` it is dropped instead of lent again. */
export interface Poolable {
  readonly closed: boolean
  close(): Promise<void>
}

export interface PoolOptions<T extends Poolable> {
  readonly create: (call: Call) => Promise<T>
  /** Makes a returned value fit for the next borrower; a rejection drops it. */
  readonly reset?: (value: T) => Promise<void>
  readonly max: number
  readonly waitTimeoutMs: number
  /** Callers that may wait at once; twice `max` unless given. */
  readonly maxWaiters?: number
  readonly idleTimeoutMs: number
}

/** What `acquire` lends; disposing it gives the value back. */
export interface Borrowed<T> extends AsyncDisposable {
  readonly value: T
}

const resetTimeoutMs = 2_000

interface Waiter {
  readonly wake: () => void
}

/**
 * A pool of exclusive connections: at most `max` at once, a bounded number of callers waiting, each at most `waitTimeoutMs`
 * (`POOL_EXHAUSTED`). A failed creation holds further ones back, see `Backoff`; until one succeeds again they are tried one at a time.
 */
export class Pool<T extends Poolable> {
  readonly #options: PoolOptions<T>
  readonly #idle: { value: T; timer: ReturnType<typeof setTimeout> }[] = []
  readonly #waiters: Waiter[] = []
  readonly #backoff = new Backoff()
  readonly #all = new Set<T>()
  #size = 0
  #creating = 0
  /** Whether the connection made or found last was alive. */
  #reachable = false
  #ended = false

  constructor(options: PoolOptions<T>) {
    this.#options = options
  }

  /** Connections in being or in the making. */
  get size(): number {
    return this.#size
  }

  async acquire(call: Call): Promise<Borrowed<T>> {
    const value = await this.#take(call)
    let returned = false
    return {
      value,
      [Symbol.asyncDispose]: async () => {
        if (returned) return
        returned = true
        // Not awaited: the borrower's answer need not wait for the cleaning.
        void this.#giveBack(value)
      },
    }
  }

  /** Closes idle connections now and lent ones as they return. */
  async close(): Promise<void> {
    this.#ended = true
    for (const waiter of this.#waiters.splice(0)) waiter.wake()
    const idle = this.#idle.splice(0)
    for (const { timer } of idle) clearTimeout(timer)
    await Promise.allSettled(idle.map(({ value }) => this.#drop(value)))
  }

  /** Ends every connection, lent ones too: their borrowers' work fails. */
  async destroy(): Promise<void> {
    await this.close()
    await Promise.allSettled([...this.#all].map((value) => value.close()))
  }

  async #take(call: Call): Promise<T> {
    using limit = callWithin(Math.min(this.#options.waitTimeoutMs, remainingMs(call)), call.signal)
    for (;;) {
      if (this.#ended)
        throw new ApiError('DB_CONNECTION_FAILED', 'The connection to this database is being closed. Try again.')
      const idle = this.#idle.pop()
      if (idle !== undefined) {
        clearTimeout(idle.timer)
        if (!idle.value.closed) return idle.value
        void this.#drop(idle.value)
        continue
      }
      const mayDial = this.#reachable || this.#creating === 0
      if (this.#size < this.#options.max && mayDial) return this.#create(call)
      await this.#wait(limit)
    }
  }

  async #create(call: Call): Promise<T> {
    this.#backoff.check()
    this.#size += 1
    this.#creating += 1
    try {
      const value = await this.#options.create(call)
      this.#reachable = true
      this.#backoff.succeeded()
      this.#all.add(value)
      return value
    } catch (error) {
      this.#size -= 1
      this.#reachable = false
      // A caller who left says nothing about the server; one whose time ran out does.
      if (!call.signal.aborted || isTimeout(call.signal.reason)) this.#backoff.failed(error)
      throw error
    } finally {
      this.#creating -= 1
      // All: each may now dial, or learns the failure.
      for (const waiter of this.#waiters.splice(0)) waiter.wake()
    }
  }

  #wait(limit: Call): Promise<void> {
    if (this.#waiters.length >= (this.#options.maxWaiters ?? this.#options.max * 2)) throw poolExhausted()
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        wake: () => {
          limit.signal.removeEventListener('abort', giveUp)
          resolve()
        },
      }
      const giveUp = () => {
        const index = this.#waiters.indexOf(waiter)
        if (index !== -1) this.#waiters.splice(index, 1)
        reject(poolExhausted())
      }
      if (limit.signal.aborted) return giveUp()
      this.#waiters.push(waiter)
      limit.signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  async #giveBack(value: T): Promise<void> {
    const usable = !value.closed && !this.#ended && (await this.#reset(value))
    if (!usable || value.closed || this.#ended) await this.#drop(value)
    else {
      const timer = setTimeout(() => {
        const index = this.#idle.findIndex((entry) => entry.value === value)
        if (index === -1) return
        this.#idle.splice(index, 1)
        void this.#drop(value)
      }, this.#options.idleTimeoutMs)
      timer.unref()
      this.#idle.push({ value, timer })
    }
    this.#waiters.shift()?.wake()
  }

  // Bounded: a server that hangs would keep the place in the pool for ever.
  async #reset(value: T): Promise<boolean> {
    if (!this.#options.reset) return true
    using limit = callWithin(resetTimeoutMs)
    return await untilAborted(this.#options.reset(value), limit.signal).then(
      () => true,
      () => false,
    )
  }

  async #drop(value: T): Promise<void> {
    if (!this.#all.delete(value)) return
    if (value.closed) this.#reachable = false
    this.#size -= 1
    this.#waiters.shift()?.wake()
    await value.close().catch(() => undefined)
  }
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof DOMException && reason.name === 'TimeoutError'
}
