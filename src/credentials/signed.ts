import { ApiError } from '#src/errors.ts'
import type { Keyring } from './keyring.ts'

const purpose = 'cursor'

/** What a cursor carries: the sort values of the last item, or a store's own position. Readable by its holder, so never a secret. */
export type CursorPayload = readonly (string | number)[]

/** An opaque cursor, `base64url(JSON).mac`, good for this scope alone: name the route, the database and what filters the list. */
export function signCursor(ring: Keyring, scope: string, payload: CursorPayload): string {
  // JSON would write null, and the page after it would start somewhere else.
  if (!isPayload(payload)) throw new TypeError('A cursor holds strings and finite numbers only')
  const body = Buffer.from(JSON.stringify(payload)).toString('base64url')
  return `${body}.${ring.mac(purpose, signedText(scope, body))}`
}

/** The payload of a cursor this ring signed for this scope; throws `VALIDATION_FAILED` for any other text. */
export function readCursor(ring: Keyring, scope: string, cursor: string): CursorPayload {
  const [, body, mac] = /^([\w-]+)\.([\w-]{43})$/.exec(cursor) ?? []
  if (body === undefined || mac === undefined || !ring.verifyMac(purpose, signedText(scope, body), mac)) throw invalid()
  const payload = parse(Buffer.from(body, 'base64url').toString())
  if (!isPayload(payload)) throw invalid()
  return payload
}

/** The body holds no dot, so the last one parts it from any scope. */
function signedText(scope: string, body: string): string {
  return `${scope}.${body}`
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isPayload(value: unknown): value is CursorPayload {
  return Array.isArray(value) && value.every((item) => typeof item === 'string' || Number.isFinite(item))
}

function invalid(): ApiError {
  return new ApiError(
    'VALIDATION_FAILED',
    'cursor must be an unchanged next_cursor of this list; start again without one.',
    {
      details: [{ field: 'cursor', rule: 'must be an unchanged next_cursor of this list' }],
    },
  )
}
