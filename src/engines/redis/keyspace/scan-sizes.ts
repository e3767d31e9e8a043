import { fromBytes, type RedisValue } from '../values.ts'

/** A key that was sampled. */
export interface SampledKey {
  readonly key: Buffer
  readonly type: string
  readonly ttl_ms: number | null
  readonly size_bytes: number
}

/** Keys of the sample that have something in common, and what that makes of all keys. */
export interface Share {
  readonly keys: number
  readonly bytes: number
  /** The same for all keys of the database, in proportion; `null` where it is not known how many there are. */
  readonly estimated_keys: number | null
  readonly estimated_bytes: number | null
}

export interface SizeReport {
  readonly total: Share
  /** With the separator at their ends; `null` is for keys without one. The largest 100. */
  readonly prefixes: readonly (Share & { readonly prefix: RedisValue | null })[]
  readonly other_prefixes: Share & { readonly prefixes: number }
  readonly types: readonly (Share & { readonly type: string })[]
  readonly ttls: readonly (Share & { readonly ttl: TtlClass })[]
  readonly biggest: readonly { key: RedisValue; type: string; ttl_ms: number | null; size_bytes: number }[]
}

/** How long keys have left: `never` expires; the others are up to a minute, an hour, a day, a week, and longer. */
export const ttlClasses = ['never', 'minute', 'hour', 'day', 'week', 'longer'] as const
export type TtlClass = (typeof ttlClasses)[number]

const maxPrefixes = 100
const biggestKeys = 20
const [minuteMs, hourMs, dayMs, weekMs] = [60_000, 3_600_000, 86_400_000, 604_800_000]

interface Sum {
  keys: number
  bytes: number
}

/** Adds a sample up by prefix, type and TTL as it comes: all of it at once in the end would hold up everybody. */
export class SizeSums {
  readonly #separator: Buffer
  readonly #total: Sum = { keys: 0, bytes: 0 }
  readonly #prefixes = new Map<string | null, Sum>()
  readonly #types = new Map<string, Sum>()
  readonly #ttls = new Map<TtlClass, Sum>()
  /** The largest first. */
  #biggest: SampledKey[] = []

  constructor(separator: Buffer) {
    this.#separator = separator
  }

  get keys(): number {
    return this.#total.keys
  }

  add(sampled: SampledKey): void {
    const { key, type, ttl_ms, size_bytes } = sampled
    this.#total.keys += 1
    this.#total.bytes += size_bytes
    addTo(this.#prefixes, prefixOf(key, this.#separator), size_bytes)
    addTo(this.#types, type, size_bytes)
    addTo(this.#ttls, ttlClassOf(ttl_ms), size_bytes)
    const smallest = this.#biggest[biggestKeys - 1]
    if (smallest !== undefined && size_bytes <= smallest.size_bytes) return
    this.#biggest = [...this.#biggest, sampled].toSorted((a, b) => b.size_bytes - a.size_bytes).slice(0, biggestKeys)
  }

  /** `factor` is how many keys of the database one of the sample stands for, where that is known. */
  report(factor: number | null): SizeReport {
    const prefixes = largestFirst(this.#prefixes)
    const [shown, others] = [prefixes.slice(0, maxPrefixes), prefixes.slice(maxPrefixes)]
    const share = ({ keys, bytes }: Sum): Share => ({
      keys,
      bytes,
      estimated_keys: factor === null ? null : Math.round(keys * factor),
      estimated_bytes: factor === null ? null : Math.round(bytes * factor),
    })
    return {
      total: share(this.#total),
      prefixes: shown.map(([prefix, sum]) => ({
        prefix: prefix === null ? null : fromBytes(Buffer.from(prefix, 'latin1')),
        ...share(sum),
      })),
      other_prefixes: { prefixes: others.length, ...share(addUp(others.map(([, sum]) => sum))) },
      types: largestFirst(this.#types).map(([type, sum]) => ({ type, ...share(sum) })),
      ttls: largestFirst(this.#ttls).map(([ttl, sum]) => ({ ttl, ...share(sum) })),
      biggest: this.#biggest.map(({ key, ...rest }) => ({ key: fromBytes(key), ...rest })),
    }
  }
}

function addTo<K>(sums: Map<K, Sum>, name: K, bytes: number): void {
  const sum = sums.get(name)
  if (sum === undefined) sums.set(name, { keys: 1, bytes })
  else {
    sum.keys += 1
    sum.bytes += bytes
  }
}

function largestFirst<K>(sums: ReadonlyMap<K, Sum>): readonly (readonly [K, Sum])[] {
  return [...sums].toSorted(([, a], [, b]) => b.bytes - a.bytes)
}

function addUp(sums: readonly Sum[]): Sum {
  return sums.reduce((all, { keys, bytes }) => ({ keys: all.keys + keys, bytes: all.bytes + bytes }), {
    keys: 0,
    bytes: 0,
  })
}

function prefixOf(key: Buffer, separator: Buffer): string | null {
  const at = key.indexOf(separator)
  return at === -1 ? null : key.toString('latin1', 0, at + separator.length)
}

function ttlClassOf(ttlMs: number | null): TtlClass {
  if (ttlMs === null) return 'never'
  if (ttlMs <= minuteMs) return 'minute'
  if (ttlMs <= hourMs) return 'hour'
  if (ttlMs <= dayMs) return 'day'
  return ttlMs <= weekMs ? 'week' : 'longer'
}
