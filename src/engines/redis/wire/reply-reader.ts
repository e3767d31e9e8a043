import type { Reply } from './batch.ts'
import { notRedis } from '../errors.ts'

/** No reply yet: more bytes have to come. */
const incomplete = Symbol('incomplete')
const minusOne = '-1'
const nothing = Buffer.alloc(0)

/**
 * Reads RESP2 replies out of chunks (https://redis.io/docs/latest/develop/reference/protocol-spec/): bulk and status replies as bytes of the
 * chunk they came in, integers as decimal text, an error as an `Error` named `ReplyError`. ioredis makes an object for each command and each
 * step of its parser, which costs a GET more than Redis does.
 */
export class ReplyReader {
  readonly #taken: (reply: Reply, bytes: number) => void
  #buffer: Buffer = nothing
  #at = 0
  /** What came before a reply was whole; joined only once it may be. */
  #chunks: Buffer[] = []
  #length = 0
  #needed = 1

  /** `taken` is told each reply as it is whole, and the bytes it took. */
  constructor(taken: (reply: Reply, bytes: number) => void) {
    this.#taken = taken
  }

  /** Bytes that wait for the rest of their reply, or what that reply needs at least, whichever is more. */
  get waiting(): number {
    return this.#length === 0 ? 0 : Math.max(this.#length, this.#needed)
  }

  /** Throws for what is no RESP2. */
  read(chunk: Buffer): void {
    if (this.#length === 0) this.#buffer = chunk
    else {
      this.#chunks.push(chunk)
      this.#length += chunk.length
      if (this.#length < this.#needed) return
      this.#buffer = Buffer.concat(this.#chunks, this.#length)
    }
    this.#at = 0
    let begin = 0
    while (begin < this.#buffer.length) {
      this.#needed = 1
      const reply = this.#parse()
      if (reply === incomplete) break
      this.#taken(reply, this.#at - begin)
      begin = this.#at
    }
    this.#keep(begin)
  }

  #keep(begin: number): void {
    const rest = begin === 0 ? this.#buffer : this.#buffer.subarray(begin)
    this.#needed = Math.max(this.#needed - begin, rest.length + 1)
    this.#length = rest.length
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#buffer = nothing
  }

  #parse(): Reply | typeof incomplete {
    const type = this.#buffer[this.#at]
    const begin = this.#at + 1
    const end = this.#lineEnd(begin)
    if (end === -1) return incomplete
    this.#at = end + 2
    switch (type) {
      case 0x24: // $
        return this.#bulk(this.#count(begin, end))
      case 0x3a: // :
        return this.#integer(begin, end)
      case 0x2b: // +
        return this.#buffer.subarray(begin, end)
      case 0x2a: // *
        return this.#list(this.#count(begin, end))
      case 0x2d: // -
        return Object.assign(new Error(this.#buffer.toString('latin1', begin, end)), { name: 'ReplyError' })
      default:
        throw notRedis()
    }
  }

  #bulk(length: number): Reply | typeof incomplete {
    if (length === -1) return null
    const begin = this.#at
    const end = begin + length
    if (end + 2 > this.#buffer.length) {
      this.#needed = end + 2
      return incomplete
    }
    this.#at = end + 2
    return this.#buffer.subarray(begin, end)
  }

  #list(count: number): Reply | typeof incomplete {
    if (count === -1) return null
    const list: Reply[] = []
    while (list.length < count) {
      const reply = this.#at < this.#buffer.length ? this.#parse() : incomplete
      if (reply === incomplete) return incomplete
      list.push(reply)
    }
    return list
  }

  #integer(begin: number, end: number): string {
    const isMinusOne = end - begin === 2 && this.#buffer[begin] === 0x2d && this.#buffer[begin + 1] === 0x31
    return isMinusOne ? minusOne : this.#buffer.toString('latin1', begin, end)
  }

  #count(begin: number, end: number): number {
    let count = 0
    for (let at = begin; at < end; at++) {
      const digit = (this.#buffer[at] ?? 0) - 0x30
      if (digit < 0 || digit > 9 || at - begin > 9) return this.#integer(begin, end) === minusOne ? -1 : refuse()
      count = count * 10 + digit
    }
    return begin === end ? refuse() : count
  }

  /** Where the line's CR LF stands, or -1. */
  #lineEnd(begin: number): number {
    const buffer = this.#buffer
    for (let at = begin; at < buffer.length - 1; at++) if (buffer[at] === 0x0d && buffer[at + 1] === 0x0a) return at
    return -1
  }
}

function refuse(): never {
  throw notRedis()
}
