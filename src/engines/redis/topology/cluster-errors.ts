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

/** A node could not be reached while others may be: what only the owner can mend stays as it is. */
export function nodeAway(cause: unknown): unknown {
  if (cause instanceof ApiError && (cause.code === 'TARGET_NOT_ALLOWED' || cause.code === 'DB_INVALID_CREDENTIALS'))
    return cause
  return new ApiError('DB_UNAVAILABLE', 'The node of the cluster that has this key can not be reached. Try again.', {
    cause,
  })
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
