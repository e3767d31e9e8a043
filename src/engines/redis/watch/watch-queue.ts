import { ApiError } from '../../../errors.ts'

/** What waits for a reader at most; one item alone may be larger. */
export interface QueueBounds {
  readonly maxItems: number
  readonly maxBytes: number
}

/** Items between a sender that does not wait and a reader that may be slow: never more than the bounds, and nothing is lost in silence. */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #bounds: QueueBounds
  readonly #items: { readonly item: T; readonly bytes: number }[] = []
  #bytes = 0
  #end: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(bounds: QueueBounds) {
    this.#bounds = bounds
  }

  /** Whether it was taken: what is above the bounds is not, nor is anything after it. */
  push(item: T, bytes: number): boolean {
    if (this.#end !== undefined) return false
    const isFull = this.#items.length >= this.#bounds.maxItems || this.#bytes + bytes > this.#bounds.maxBytes
    if (isFull && this.#items.length > 0) {
      this.fail(lost())
      return false
    }
    this.#items.push({ item, bytes })
    this.#bytes += bytes
    this.#wake?.()
    return true
  }

  /** Ends it with an error, which the reader meets after what waits. */
  fail(error: unknown): void {
    this.#end ??= { error }
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, undefined> {
    for (;;) {
      const next = this.#items.shift()
      if (next !== undefined) {
        this.#bytes -= next.bytes
        yield next.item
      } else if (this.#end !== undefined) throw this.#end.error
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

function lost(): ApiError {
  const message = 'More came than was read, and the rest is lost. Read faster, ask for less, or connect again.'
  return new ApiError('OVERLOADED', message, { details: { reason: 'slow_reader' } })
}
