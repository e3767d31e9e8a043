import type { Receiver } from './batch.ts'
import type { Wire } from './wire.ts'

/** Something that is waited for until a moment, in `performance.now()` milliseconds. */
export interface Waiting extends Receiver {
  readonly until: number
  expire(): void
}

// How late something may expire.
const lookEveryMs = 50

/**
 * Expires what a wire waits for too long, by one timer for all and the wire's own list: a timer, or only a place in a set, costs a command
 * more than the rest of its bookkeeping.
 */
export class Deadlines {
  readonly #wire: Wire<Waiting>
  #isLooking = false

  constructor(wire: Wire<Waiting>) {
    this.#wire = wire
  }

  /** Looks for as long as something is waited for. */
  watch(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    setTimeout(() => this.#look(), lookEveryMs)
  }

  #look(): void {
    const now = performance.now()
    const waiting = this.#wire.waiting()
    for (const one of waiting) if (one.until <= now) one.expire()
    this.#isLooking = false
    if (waiting.length > 0) this.watch()
  }
}
