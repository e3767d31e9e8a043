import type { Call, Limits } from '../../engine.ts'
import type { Commands } from '../commands.ts'
import { type CappedValue, capped, withinAnswer } from './hash-values.ts'
import { bytesIn, listIn } from '../replies.ts'
import { type Encoding, type RedisValue, toArgument } from '../values.ts'
import { noSuchKey, isTooLarge } from '../errors.ts'

export interface ListPageRequest {
  readonly key: RedisValue
  /** From the end where it is negative. */
  readonly start: number
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  readonly encoding: Encoding
}

export interface ListEntry extends CappedValue {
  /** From the beginning, which is 0. */
  readonly index: number
}

export interface ListPage {
  readonly entries: readonly ListEntry[]
  /** The index the next page begins at; `null` after the last. */
  readonly next: number | null
  readonly length: number
}

/**
 * A page by positions; of no more elements than are likely to fit, by what an element takes on the average. One that is larger than a reply
 * may be is told of and not read.
 */
export async function readListPage(
  commands: Commands,
  limits: Limits,
  { key: name, start, count, share, encoding }: ListPageRequest,
  call: Call,
): Promise<ListPage> {
  const key = toArgument(name)
  const [held, memory] = await commands.each(call, 'reads', ['llen', key], ['memory', 'usage', key])
  if (held !== undefined && 'error' in held) throw held.error
  const length = Number(held?.reply)
  if (length === 0) throw noSuchKey()
  const from = start < 0 ? Math.max(0, length + start) : start
  if (from >= length) return { entries: [], next: null, length }
  const each = Math.max(1, Number(memory && 'reply' in memory ? memory.reply : 0) / length)
  const wanted = Math.max(1, Math.floor(Math.min(count, limits.maxResponseBytes / 2 / each) / share))
  const [reply] = await commands
    .send(call, 'reads', ['lrange', key, String(from), String(from + wanted - 1)])
    .catch((error: unknown) => {
      if (wanted > 1 || !isTooLarge(error)) throw error
      return [null]
    })
  if (reply === null) {
    const next = from + 1 < length ? from + 1 : null
    return { entries: [{ index: from, value: null, truncated: true }], next, length }
  }
  const elements = listIn(reply).map(bytesIn)
  const found = elements.map((bytes, offset) => ({
    index: from + offset,
    ...capped(bytes, limits.maxValueBytes, encoding),
  }))
  const entries = withinAnswer(found, limits.maxResponseBytes, (entry) => [entry])
  const end = from + entries.length
  return { entries, next: elements.length === 0 || end >= length ? null : end, length }
}
