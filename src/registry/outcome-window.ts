const slices = 10
const sliceMs = 1_000
const enough = 20

/** Outcomes of the last 10 s, by the second. */
export class Window {
  readonly #slices = Array.from({ length: slices }, () => ({ number: -1, all: 0, failed: 0 }))
  #all = 0
  #failures = 0

  /** Those within the window at the last count. */
  get failures(): number {
    return this.#failures
  }

  /** At least half of at least 20. */
  get mostlyFailed(): boolean {
    return this.#all >= enough && this.#failures * 2 >= this.#all
  }

  count(now: number, failed: boolean): void {
    const number = Math.floor(now / sliceMs)
    this.#all = 0
    this.#failures = 0
    for (const [index, slice] of this.#slices.entries()) {
      const isThis = index === number % slices
      if (isThis && slice.number !== number) Object.assign(slice, { number, all: 0, failed: 0 })
      if (isThis) {
        slice.all += 1
        if (failed) slice.failed += 1
      }
      if (slice.number <= number - slices) continue
      this.#all += slice.all
      this.#failures += slice.failed
    }
  }
}
