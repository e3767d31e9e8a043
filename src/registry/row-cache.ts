import type { DatabaseRow } from './database.ts'

interface Read {
  readonly id: string
  /** A change was heard since it began: what it brings may be from before. */
  outdated: boolean
}

/** Rows as the registry stores them, sealed. Empty, and never filled, while changes are not heard. */
export class RowCache {
  readonly #rows = new Map<string, { readonly row: DatabaseRow; readonly until: number }>()
  readonly #reads = new Set<Read>()
  readonly #ttlMs: number
  readonly #live: () => boolean

  constructor(ttlMs: number, live: () => boolean) {
    this.#ttlMs = ttlMs
    this.#live = live
  }

  get size(): number {
    return this.#rows.size
  }

  /** The row by id, read with `load` when it is not known, and again when it changed meanwhile. */
  async get(id: string, load: () => Promise<DatabaseRow | undefined>): Promise<DatabaseRow | undefined> {
    const known = this.#live() ? this.#rows.get(id) : undefined
    if (known && performance.now() < known.until) return known.row
    const read: Read = { id, outdated: false }
    this.#reads.add(read)
    try {
      for (;;) {
        read.outdated = false
        const row = await load()
        if (read.outdated) continue
        if (row && this.#live()) this.#rows.set(id, { row, until: performance.now() + this.#ttlMs })
        return row
      }
    } finally {
      this.#reads.delete(read)
    }
  }

  /** Drops a row that changed or is gone, unless it is of `version` or newer. */
  forget(id: string, version = Number.POSITIVE_INFINITY): void {
    const known = this.#rows.get(id)
    if (known && known.row.version < version) this.#rows.delete(id)
    for (const read of this.#reads) if (read.id === id) read.outdated = true
  }

  clear(): void {
    this.#rows.clear()
    for (const read of this.#reads) read.outdated = true
  }
}
