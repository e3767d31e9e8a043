import { ApiError } from '../../../errors.ts'
import type { HostPort } from '../../srv.ts'
import type { Outcome } from '../commands.ts'
import { replyCode } from '../errors.ts'
import { redirectedPlace } from './places.ts'

/** Where a node says a slot is: for good, or for this one command while the slot is on its way. */
export interface Redirect {
  readonly kind: 'moved' | 'ask'
  readonly slot: number
  readonly place: HostPort
}

/** Reads `MOVED <slot> <address>` and `ASK <slot> <address>` (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/). */
export function redirectOf(outcome: Outcome | undefined, from: HostPort): Redirect | undefined {
  if (outcome === undefined || !('error' in outcome)) return undefined
  const { cause } = outcome.error
  const code = replyCode(cause)
  if (code !== 'MOVED' && code !== 'ASK') return undefined
  const [, slot, address = ''] = (cause as Error).message.split(' ')
  const place = redirectedPlace(address, from)
  return place && { kind: code === 'MOVED' ? 'moved' : 'ask', slot: Number(slot), place }
}

/** Whether a node knows nobody who serves the slot: there is nobody, or it was taken out of the cluster. */
export function isUnserved(outcome: Outcome | undefined): boolean {
  return outcome !== undefined && 'error' in outcome && replyCode(outcome.error.cause) === 'CLUSTERDOWN'
}

/**
 * A node could not be reached while others may be, which is no failure of the database; `details.reason` says why where that is known. What
 * only the owner can mend stays as it is.
 */
export function nodeAway(cause: unknown): unknown {
  if (cause instanceof ApiError && (cause.code === 'TARGET_NOT_ALLOWED' || cause.code === 'DB_INVALID_CREDENTIALS'))
    return cause
  const message = 'The node of the cluster that has this key can not be reached. Try again.'
  const reason = reasonOf(cause)
  return new ApiError('DB_UNAVAILABLE', message, { cause, ...(reason === undefined ? {} : { details: { reason } }) })
}

function reasonOf(error: unknown): unknown {
  if (!(error instanceof ApiError) || typeof error.details !== 'object' || error.details === null) return undefined
  return 'reason' in error.details ? error.details.reason : undefined
}

/** A slot that is on its way, or that the nodes do not agree on. */
export function movingSlot(cause: unknown): ApiError {
  return new ApiError('DB_UNAVAILABLE', 'The slot of this key is being moved to another node. Try again.', { cause })
}

export function crossSlot(): ApiError {
  return new ApiError(
    'DB_UNSUPPORTED',
    'The keys of a transaction stand in different slots of the cluster. Give their names a common {hash tag}.',
    { details: { code: 'CROSSSLOT' } },
  )
}
