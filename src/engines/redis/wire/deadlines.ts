/** Something that is waited for until a moment, in `performance.now()` milliseconds. */
export interface Waiting {
  readonly until: number
  expire(): void
}

// How late something may expire.
const lookEveryMs = 50

/** Expires what is waited for too long, by one timer for all: a timer of its own costs a command more than the rest of its bookkeeping. */
export class Deadlines {
  readonly #waiting = new Set<Waiting>()
  #isLooking = false

  add(waiting: Waiting): void {
    this.#waiting.add(waiting)
    if (!this.#isLooking) this.#lookLater()
  }

  delete(waiting: Waiting): void {
    this.#waiting.delete(waiting)
  }

  #lookLater(): void {
    this.#isLooking = true
    setTimeout(() => this.#look(), lookEveryMs)
  }

  #look(): void {
    const now = performance.now()
    for (const waiting of this.#waiting) {
      if (waiting.until > now) continue
      this.#waiting.delete(waiting)
      waiting.expire()
    }
    this.#isLooking = false
    if (this.#waiting.size > 0) this.#lookLater()
  }
}
