import { ApiError } from '../errors.ts'
import { Window } from './outcome-window.ts'

export type BreakerState = 'closed' | 'open' | 'half_open'

export interface BreakerOptions {
  /** In milliseconds, never going back. */
  readonly now: () => number
  /** Below 1, as `Math.random`. */
  readonly random: () => number
}

/** A breaker as health routes show it. */
export interface BreakerReport {
  readonly state: BreakerState
  /** Milliseconds until a request may try the store again. */
  readonly retry_in_ms: number
  /** The code of the failure counted last. */
  readonly last_code: string | null
}

const consecutiveFailures = 5
const firstOpenMs = 5_000
const longestOpenMs = 60_000
// Every instance, and every database of a host that went, would come back in the same moment.
const jitterShare = 0.2

/**
 * The circuit breaker of one version of a database: open after five failures in a row, or when half of at least 20 outcomes within 10 s
 * failed; for 5 s, then twice as long each time up to 60 s, less up to a fifth; then one request tries. It neither times nor dials.
 */
export class Breaker {
  readonly #now: () => number
  readonly #random: () => number
  #state: BreakerState = 'closed'
  #consecutive = 0
  /** From the first failure until none is in it. */
  #window: Window | undefined
  #until = 0
  #openMs = firstOpenMs
  /** Until then a request is trying. */
  #tryingUntil = Number.NEGATIVE_INFINITY
  #last: unknown

  constructor({ now, random }: BreakerOptions = { now: () => performance.now(), random: Math.random }) {
    this.#now = now
    this.#random = random
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Nothing is remembered: another one would do the same. */
  get pristine(): boolean {
    return this.#state === 'closed' && this.#window === undefined
  }

  get report(): BreakerReport {
    const until = Math.max(this.#until, this.#tryingUntil)
    return {
      state: this.#state,
      retry_in_ms: this.#state === 'closed' ? 0 : Math.max(0, Math.ceil(until - this.#now())),
      last_code: this.#last instanceof ApiError ? this.#last.code : null,
    }
  }

  /**
   * Whether the caller is the one that tries the store, until `deadline` at the longest: it says how that went by `tried`, `failed` or
   * `abandoned`. `false` where the breaker is closed; throws where it is open.
   */
  admit(deadline: number): boolean {
    if (this.#state === 'closed') return false
    const now = this.#now()
    if (now < this.#until || now < this.#tryingUntil) throw this.#refusal(now)
    this.#state = 'half_open'
    this.#tryingUntil = Math.max(now + 1, deadline)
    return true
  }

  /** Whether this very failure was counted last. */
  knows(error: unknown): boolean {
    return this.#last === error
  }

  /** The store answered. */
  answered(): void {
    if (this.#window === undefined || this.#state !== 'closed') return
    this.#consecutive = 0
    this.#window.count(this.#now(), false)
    if (this.#window.failures === 0) this.#window = undefined
  }

  /** The store answered the request that tries. */
  tried(): void {
    this.#state = 'closed'
    this.#consecutive = 0
    this.#window = undefined
    this.#until = 0
    this.#openMs = firstOpenMs
    this.#tryingUntil = Number.NEGATIVE_INFINITY
    this.#last = undefined
  }

  /** The request that tries ended without a word of the store's: the next one tries. */
  abandoned(): void {
    this.#tryingUntil = Number.NEGATIVE_INFINITY
  }

  /**
   * The store failed. The same error twice is one failure: it was handed to several callers. `trying` says that it came to the request
   * that tries, `forLong` that trying again soon is useless or harmful, as with a refused password.
   */
  failed(error: unknown, { trying = false, forLong = false } = {}): void {
    if (this.#state !== 'closed') {
      if (!trying) return
      this.#last = error
      return this.#open(forLong ? longestOpenMs : Math.min(this.#openMs * 2, longestOpenMs))
    }
    if (error === this.#last) return
    this.#last = error
    this.#consecutive += 1
    this.#window ??= new Window()
    this.#window.count(this.#now(), true)
    if (forLong) this.#open(longestOpenMs)
    else if (this.#consecutive >= consecutiveFailures || this.#window.mostlyFailed) this.#open(firstOpenMs)
  }

  #open(openMs: number): void {
    this.#state = 'open'
    this.#openMs = openMs
    this.#until = this.#now() + openMs * (1 - jitterShare * this.#random())
    this.#tryingUntil = Number.NEGATIVE_INFINITY
  }

  #refusal(now: number): ApiError {
    const last = this.#last instanceof ApiError ? this.#last : undefined
    // What only the owner can mend is said again as it was, so that the owner learns it.
    if (last !== undefined && owners.has(last.code)) return last
    // Under way is a try whose end nobody knows.
    const seconds = Math.max(1, Math.ceil((this.#until - now) / 1000))
    return new ApiError('DB_UNAVAILABLE', 'The database has failed repeatedly and is left alone for a while.', {
      cause: last,
      details: { reason: 'breaker', ...(last ? { code: last.code } : {}) },
      headers: { 'retry-after': String(seconds) },
    })
  }
}

const owners: ReadonlySet<string> = new Set([
  'DB_INVALID_CREDENTIALS',
  'DB_CREDENTIALS_UNREADABLE',
  'DB_UNSUPPORTED',
  'TARGET_NOT_ALLOWED',
])
