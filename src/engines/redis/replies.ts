import { isUtf8 } from 'node:buffer'
import type { Reply } from './wire/batch.ts'
import { notRedis } from './errors.ts'
import { type Encoding, fromBytes, type RedisValue } from './values.ts'

/** Says of a value that it is the beginning of a larger one; both are absent where it is whole. */
export interface CutMark {
  readonly truncated?: true
  /** Of the whole value. */
  readonly size_bytes?: number
}

/** A value of at most `maxBytes`: a larger one is cut, text between two characters, and marked. */
export function cut(bytes: Buffer, maxBytes: number, encoding: Encoding): readonly [value: RedisValue, mark: CutMark] {
  if (bytes.length <= maxBytes) return [fromBytes(bytes, encoding), {}]
  let end = maxBytes
  if (isUtf8(bytes)) while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return [fromBytes(bytes.subarray(0, end), encoding), { truncated: true, size_bytes: bytes.length }]
}

export function bytesIn(reply: Reply | undefined): Buffer {
  if (!(reply instanceof Buffer)) throw notRedis()
  return reply
}

/** What the server says in ASCII: ids, scores, cursors. */
export function textIn(reply: Reply | undefined): string {
  return typeof reply === 'string' ? reply : bytesIn(reply).toString('latin1')
}

export function listIn(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw notRedis()
  return reply as readonly Reply[]
}

/** A flat list as pairs: members with scores, fields with values. */
export function pairsIn(replies: readonly Reply[]): readonly (readonly [Buffer, Buffer])[] {
  if (replies.length % 2 !== 0) throw notRedis()
  return Array.from({ length: replies.length / 2 }, (_, at) => [bytesIn(replies[at * 2]), bytesIn(replies[at * 2 + 1])])
}
