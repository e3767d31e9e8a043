const delaysMs = [1_000, 2_000, 4_000]

/**
 * Answers the last failure instead of dialling again too soon: 1, 2, then 4 s apart, so that a store that refuses costs at most five
 * dials in 10 s however many callers ask, and one that is back is found within 4 s.
 */
export class Backoff {
  readonly #now: () => number
  #failures = 0
  #until = 0
  #error: unknown

  /** `now` in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Throws the last failure while its delay lasts. */
  check(): void {
    if (this.#failures > 0 && this.#now() < this.#until) throw this.#error
  }

  failed(error: unknown): void {
    this.#error = error
    this.#until = this.#now() + (delaysMs[Math.min(this.#failures, delaysMs.length - 1)] ?? 0)
    this.#failures += 1
  }

  succeeded(): void {
    this.#failures = 0
    this.#until = 0
    this.#error = undefined
  }
}
