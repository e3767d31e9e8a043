import { ApiError } from '../../../errors.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'
import { isTooLarge } from '../errors.ts'

/** A field's or an element's value; above the cap it is left out, and the other two say so. */
export interface CappedValue {
  readonly value: RedisValue | null
  readonly truncated?: true
  /** Of the value that was left out; absent where it is larger than a reply may be, and so was never seen. */
  readonly size_bytes?: number
}

/** A value of at most `maxBytes`, or its size. */
export function capped(bytes: Buffer, maxBytes: number, encoding: Encoding): CappedValue {
  return bytes.length > maxBytes ? leftOut(bytes.length) : { value: fromBytes(bytes, encoding) }
}

export function leftOut(size: number): CappedValue {
  return { value: null, truncated: true, size_bytes: size }
}

/** As many of the first items as JSON of at most `maxBytes` holds, and at least one: text may grow sixfold by its escapes. */
export function withinAnswer<T>(items: readonly T[], maxBytes: number, valuesOf: (item: T) => readonly unknown[]): T[] {
  let bytes = 0
  const end = items.findIndex((item, index) => {
    bytes += Buffer.byteLength(JSON.stringify(valuesOf(item)))
    return index > 0 && bytes > maxBytes
  })
  return items.slice(0, end === -1 ? items.length : end)
}

/**
 * Does work that reads up to `count` items, and for an eighth of them each time their reply was too large. That costs the connection it was
 * read on, so the work must take another each time. With `details` one item alone was, and fewer are of no use.
 */
export async function withFewer<T>(count: number, work: (share: number) => Promise<T>): Promise<T> {
  for (let share = 1; ; share *= 8) {
    try {
      return await work(share)
    } catch (error) {
      if (!(error instanceof ApiError && isTooLarge(error)) || error.details !== undefined || share >= count)
        throw error
    }
  }
}
