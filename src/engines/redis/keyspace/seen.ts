// So many that none of them grows large: a set that is made larger holds up everybody while it is.
const count = 256

/** Keys that were met, by a hash of 53 bits each: their names would take more. */
export class Seen {
  readonly #sets: readonly Set<number>[] = Array.from({ length: count }, () => new Set<number>())
  size = 0

  has(key: Buffer): boolean {
    const hash = hashOf(key)
    return this.#setOf(hash)?.has(hash) ?? false
  }

  /** Whether it is new. */
  add(key: Buffer): boolean {
    const hash = hashOf(key)
    const set = this.#setOf(hash)
    if (set === undefined || set.has(hash)) return false
    set.add(hash)
    this.size += 1
    return true
  }

  #setOf(hash: number): Set<number> | undefined {
    return this.#sets[hash % count]
  }
}

function hashOf(key: Buffer): number {
  return Number(BigInt.asUintN(53, BigInt(Bun.hash(key))))
}
