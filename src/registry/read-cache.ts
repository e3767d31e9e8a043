import { LRUCache } from 'lru-cache'
import { ApiError } from '../errors.ts'

/** An answer that was made once, with its own headers. */
export interface KeptAnswer {
  readonly json: string
  readonly headers: Readonly<Record<string, string>>
}

/** Who asks, told what the value rests on. */
export interface Asker {
  /** An old value will do while the registry is down: told how old it is in seconds, rounded up. May throw to refuse it. */
  stale?(seconds: number): void
  /** The value came from the second cache, and the registry was not asked. */
  copied?(): void
}

/** A second cache, behind memory and before the registry. */
export interface Behind<V> {
  /** The value, read with `load` where it is not kept. */
  through(key: string, load: () => Promise<V | undefined>): Promise<Found<V>>
}

interface Found<V> {
  readonly value: V | undefined
  /** How long ago it was read from the registry, in milliseconds. */
  readonly ageMs: number
  /** Whether it was kept, and `load` not called. */
  readonly copied: boolean
}

export interface ReadCacheOptions<V> {
  /** How long a value is served, in milliseconds; 0 keeps nothing. */
  readonly ttlMs: number
  /** The most that is kept, in the unit of `sizeOf`. */
  readonly maxSize: number
  /** What a value takes; 1 unless given. */
  readonly sizeOf?: (value: V) => number
  /** Whether changes are heard. While they are not, what is kept is only for when the registry is down. */
  readonly live: () => boolean
  /** Asked before the registry while changes are heard. */
  readonly behind?: Behind<V> | undefined
}

interface Kept<V> {
  readonly value: V
  /** When its reading began, in `performance.now()` milliseconds. */
  readonly readAt: number
  /** Believed as long as this is the cache's own. */
  readonly epoch: number
}

interface Read<V> {
  readonly value: Promise<V | undefined>
  /** A change was heard since it began: what it brings may be from before. */
  outdated: boolean
  /** What it brought came from the second cache. */
  copied: boolean
}

// A registry that says nothing is not waited for longer by those whom an old value serves.
const patienceMs = 900
const neverBelieved = -1

/**
 * What was read from the registry, by key, until its time is over or its change is heard. Readers of one key share one read. What may have
 * changed unheard is read anew, and kept for those who take an old value while the registry is down.
 */
export class ReadCache<V extends object> {
  readonly #kept: LRUCache<string, Kept<V>> | undefined
  readonly #reads = new Map<string, Read<V>>()
  readonly #live: () => boolean
  readonly #behind: Behind<V> | undefined
  readonly #ttlMs: number
  #epoch = 0

  constructor({ ttlMs, maxSize, sizeOf = () => 1, live, behind }: ReadCacheOptions<V>) {
    this.#live = live
    this.#behind = behind
    this.#ttlMs = ttlMs
    const sizeCalculation = ({ value }: Kept<V>) => sizeOf(value)
    if (ttlMs > 0) this.#kept = new LRUCache({ ttl: ttlMs, maxSize, sizeCalculation })
  }

  get size(): number {
    return this.#kept?.size ?? 0
  }

  /** Whether anything is kept that could still be served, were the registry down. */
  get holds(): boolean {
    for (const kept of this.#kept?.values() ?? []) if (this.#ageOf(kept) <= this.#ttlMs) return true
    return false
  }

  /** The value, where it is known. */
  peek(key: string): V | undefined {
    if (!this.#live()) return undefined
    const kept = this.#kept?.get(key)
    return kept?.epoch === this.#epoch ? kept.value : undefined
  }

  /**
   * The value, read with `load` when it is not known, and again when it changed meanwhile. What is not there is not kept. With an asker who
   * can be told, a value read at most `ttlMs` ago stands in when the registry fails with `REGISTRY_UNAVAILABLE` or does not answer in a second.
   */
  get<T extends V | undefined>(key: string, load: () => Promise<T>, asker?: Asker): Promise<T> {
    const known = this.peek(key)
    if (known !== undefined) return Promise.resolve(known as T)
    const running = this.#live() ? this.#reads.get(key) : undefined
    const read = running ?? this.#read(key, load)
    const reading = asker?.copied ? tellingCopied(read, asker) : read.value
    return (asker?.stale && this.#kept?.has(key) ? this.#readOrKept(key, reading, asker) : reading) as Promise<T>
  }

  /** Drops what changed or is gone. */
  forget(key: string): void {
    this.#kept?.delete(key)
    const read = this.#reads.get(key)
    if (read) read.outdated = true
  }

  /** Drops everything: what changed may be part of any value. */
  clear(): void {
    this.#kept?.clear()
    for (const read of this.#reads.values()) read.outdated = true
  }

  /** Believes nothing any more: changes may have been missed. */
  doubt(): void {
    this.#epoch += 1
    for (const read of this.#reads.values()) read.outdated = true
  }

  #read(key: string, load: () => Promise<V | undefined>): Read<V> {
    const { promise: value, resolve, reject } = Promise.withResolvers<V | undefined>()
    const read: Read<V> = { value, outdated: false, copied: false }
    this.#reads.set(key, read)
    const settle = async () => {
      try {
        for (;;) {
          read.outdated = false
          const began = performance.now()
          const behind = this.#live() ? this.#behind : undefined
          const found = behind ? await behind.through(key, load) : { value: await load(), ageMs: 0, copied: false }
          if (read.outdated) continue
          read.copied = found.copied
          // Readers do not share while changes are not heard: of several, only the last to begin knows of every change.
          if (this.#reads.get(key) === read) this.#keep(key, found.value, began - found.ageMs)
          return resolve(found.value)
        }
      } catch (error) {
        reject(error)
      } finally {
        if (this.#reads.get(key) === read) this.#reads.delete(key)
      }
    }
    void settle()
    return read
  }

  #keep(key: string, value: V | undefined, readAt: number): void {
    const ttl = this.#ttlMs - (performance.now() - readAt)
    if (value === undefined || ttl <= 0) return void this.#kept?.delete(key)
    this.#kept?.set(key, { value, readAt, epoch: this.#live() ? this.#epoch : neverBelieved }, { ttl: Math.ceil(ttl) })
  }

  async #readOrKept(key: string, reading: Promise<V | undefined>, asker: Asker): Promise<V | undefined> {
    const { promise: late, resolve } = Promise.withResolvers<typeof tooLate>()
    const timer = setTimeout(resolve, patienceMs, tooLate)
    const read = await Promise.race([reading, late])
      .catch(unavailable)
      .finally(() => clearTimeout(timer))
    if (read !== tooLate) return read
    // Looked up only now: its change may have been heard meanwhile.
    const kept = this.#kept?.get(key)
    const ageMs = kept ? this.#ageOf(kept) : Number.POSITIVE_INFINITY
    if (kept === undefined || ageMs > this.#ttlMs) return await reading
    asker.stale?.(Math.ceil(ageMs / 1000))
    return kept.value
  }

  /** In milliseconds. The LRU's own clock has whole ones: it may keep a value for one too long. */
  #ageOf({ readAt }: Kept<V>): number {
    return performance.now() - readAt
  }
}

async function tellingCopied<V>(read: Read<V>, asker: Asker): Promise<V | undefined> {
  const value = await read.value
  if (read.copied) asker.copied?.()
  return value
}

const tooLate = Symbol('too late')

function unavailable(error: unknown): typeof tooLate {
  if (error instanceof ApiError && error.code === 'REGISTRY_UNAVAILABLE') return tooLate
  throw error
}
