import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Commands, Effect } from '../commands.ts'
import { withinAnswer } from './hash-values.ts'
import { bytesIn, cut, type CutMark, listIn, pairsIn, textIn } from '../replies.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'
import { noSuchKey } from '../errors.ts'

export interface StreamField extends CutMark {
  readonly field: RedisValue
  readonly value: RedisValue
}

export interface StreamEntry {
  /** `milliseconds-sequence`, two uint64 in decimal. */
  readonly id: string
  /** In the order they were added; names may repeat. `null`: the entry was deleted while it was pending, or is too large to be answered. */
  readonly fields: StreamField[] | null
  /** Present where it is too large. */
  readonly truncated?: true
}

/** Entries of a reply; one that claims a deleted entry has nothing in its place. */
export function entriesIn(reply: Reply | undefined, maxValueBytes: number, encoding: Encoding): readonly StreamEntry[] {
  return listIn(reply)
    .filter((entry) => entry !== null)
    .map((entry) => entryIn(entry, maxValueBytes, encoding))
}

export function entryIn(reply: Reply, maxValueBytes: number, encoding: Encoding): StreamEntry {
  const [id, fields] = listIn(reply)
  const pairs = fields === null || fields === undefined ? null : pairsIn(listIn(fields))
  // A name is not cut: another field may begin with the same.
  if (pairs?.some(([name]) => name.length > maxValueBytes)) return withoutFields(textIn(id))
  return { id: textIn(id), fields: pairs?.map((pair) => fieldOf(pair, maxValueBytes, encoding)) ?? null }
}

function fieldOf([name, bytes]: readonly [Buffer, Buffer], maxValueBytes: number, encoding: Encoding): StreamField {
  const [value, mark] = cut(bytes, maxValueBytes, encoding)
  return { field: fromBytes(name, encoding), value, ...mark }
}

/** As many of the first entries as an answer of `maxBytes` holds, and at least one: without its fields where they are too large. */
export function entriesWithin(entries: readonly StreamEntry[], maxBytes: number): readonly StreamEntry[] {
  const fitting = withinAnswer(entries, maxBytes, (entry) => [entry])
  const [first] = fitting
  if (first === undefined || fitting.length > 1) return fitting
  return Buffer.byteLength(JSON.stringify(first)) > maxBytes ? [withoutFields(first.id)] : fitting
}

function withoutFields(id: string): StreamEntry {
  return { id, fields: null, truncated: true }
}

/** The entry that a range begins with is larger than a reply may be: what stands behind it is reached by another `start` alone. */
export function entryTooLarge(from: string, cause: unknown): ApiError {
  const message =
    'The next entry is larger than a reply may be, and Redis does not tell its id without it. Read what is behind it by GET streams with another start, or with reverse from the other end.'
  return new ApiError('RESULT_TOO_LARGE', message, { cause, details: { reason: 'entry', from } })
}

const maxSequence = 2n ** 64n - 1n

/** The id that follows an entry's, or with `reverse` comes before it; between two entries there always is one. */
export function neighbourOf(id: string, reverse: boolean): string {
  const [ms = 0n, sequence = 0n] = id.split('-').map(BigInt)
  if (reverse) return sequence > 0n ? `${ms}-${sequence - 1n}` : `${ms - 1n}-${maxSequence}`
  return sequence < maxSequence ? `${ms}-${sequence + 1n}` : `${ms + 1n}-0`
}

/** The flat list of names and values that XINFO answers. */
export function propertiesIn(reply: Reply | undefined): ReadonlyMap<string, Reply> {
  const items = listIn(reply)
  const names = items.filter((_, at) => at % 2 === 0)
  return new Map(names.map((name, at) => [bytesIn(name).toString('latin1'), items[at * 2 + 1] ?? null]))
}

/** Sends commands of one key, which must be there: `NOT_FOUND`. Their other errors are as they come. */
export async function sendExisting(
  commands: Commands,
  call: Call,
  effect: Effect,
  key: string | Buffer,
  ...batch: readonly BatchCommand[]
): Promise<readonly Reply[]> {
  const [exists, ...outcomes] = await commands.each(call, effect, ['exists', key], ...batch)
  if (exists !== undefined && 'reply' in exists && exists.reply === '0') throw noSuchKey()
  return outcomes.map((outcome) => {
    if ('error' in outcome) throw outcome.error
    return outcome.reply
  })
}

/** The error code of the server that an error stands for: `NOGROUP`. */
export function serverCode(error: unknown): string | undefined {
  const details = error instanceof ApiError ? (error.details as { readonly code?: string } | undefined) : undefined
  return details?.code
}
