import { ApiError } from '../../../errors.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import { type RedisValue, toBytes } from '../values.ts'
import { noSuchKey } from '../errors.ts'

/** An element that must be at a position. */
export interface Expectation {
  readonly index: number
  readonly expected: RedisValue
}

/** What `assertExpected` is to be given the replies of. */
export function readsOf(key: string | Buffer, { index }: Expectation): readonly BatchCommand[] {
  return [
    ['llen', key],
    ['lindex', key, String(index)],
  ]
}

/** Throws `NOT_FOUND`, or `DB_CONFLICT` where another element is there. */
export function assertExpected([length, element]: readonly Reply[], { expected }: Expectation): void {
  if (Number(length) === 0) throw noSuchKey()
  if (!(element instanceof Buffer)) throw noSuchPosition()
  if (!element.equals(toBytes(expected)))
    throw new ApiError(
      'DB_CONFLICT',
      'Another element is at this position now; nothing was written. Read the list again.',
    )
}

/** Whether Redis refused a command without a code of its own, as LSET does for a position that is not there. */
export function isPlainRefusal(failure: unknown): boolean {
  return failure instanceof ApiError && (failure.details as { readonly code?: string } | undefined)?.code === 'ERR'
}

/** Why a write at a position was refused, by the length of the list: there is none such, or the reason given. */
export function whyNotAt(index: number, length: number, failure: unknown): unknown {
  if (!isPlainRefusal(failure)) return failure
  if (length === 0) return noSuchKey()
  return index >= length || index < -length ? noSuchPosition() : failure
}

function noSuchPosition(): ApiError {
  return new ApiError('NOT_FOUND', 'The list has no such position.')
}
