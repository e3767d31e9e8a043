import { createHash } from 'node:crypto'
import type { Context } from 'hono'
import { openValue, sealValue } from '../credentials/sealed.ts'
import { ApiError, invalid } from '../errors.ts'
import type { Claimed } from '../registry/idempotency-store.ts'
import type { Env } from './env.ts'
import { onError } from './on-error.ts'

const maxKeyLength = 255
const maxKeptBytes = 1_048_576
const keptHeaders = ['content-type', 'location', 'etag', 'link', 'retry-after']

interface Answer {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** How a route answers a repetition: with the answer it gave, or, where that holds a secret, with `CONFLICT`. */
export type Repetition = 'replayed' | 'refused'

/**
 * `Idempotency-Key` on POST: the first request runs, its answer is kept 24 h with a hash of its body, and a repetition gets that answer
 * with `Idempotency-Replayed: true`. Another body or a first request that still runs is `CONFLICT`. An answer that says "try again" is not
 * kept. A request that is older than any can be and never ended is taken for dead.
 */
export async function answerOnce(
  c: Context<Env>,
  key: string,
  repetition: Repetition,
  body: ArrayBuffer | undefined,
  run: () => Response | Promise<Response>,
): Promise<Response> {
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw invalid('Idempotency-Key', `must be 1 to ${maxKeyLength} visible ASCII characters`)
  const { idempotencyKeys: store, log, config } = c.env.deps
  const staleMs = config.QUERY_TIMEOUT_MAX_MS + config.REQUEST_TIMEOUT_MS
  const scope = scopeOf(c)
  const bodyHash = createHash('sha256')
    .update(Buffer.from(body ?? new ArrayBuffer(0)))
    .digest('base64url')
  const claim = await store.claim(scope, key, bodyHash, staleMs)
  switch (claim.state) {
    case 'other-body':
      throw new ApiError('CONFLICT', 'This Idempotency-Key was used with another body. Use a new key.')
    case 'running':
      throw new ApiError('CONFLICT', 'The first request with this Idempotency-Key is still running.', {
        retryable: true,
        headers: { 'retry-after': '1' },
      })
    case 'done':
      return replay(c, scope, key, claim.status, claim.answer)
  }
  const response = await Promise.try(run).catch((error: unknown) => onError(error, c))
  // The work is done, and its answer true, also where it can not be kept.
  await settle(c, claim.claimed, response, repetition).catch((error: unknown) =>
    log.warn('an answer was not kept for its Idempotency-Key', { request_id: c.env.requestId }, error),
  )
  return response
}

async function settle(c: Context<Env>, claimed: Claimed, response: Response, repetition: Repetition): Promise<void> {
  const { idempotencyKeys: store } = c.env.deps
  if (mayBeRepeated(c, response)) return await store.release(claimed)
  const sealed = repetition === 'replayed' ? await sealAnswer(c, claimed, response) : null
  await store.complete(claimed, { status: response.status, sealed })
}

// Nothing happened, or the answer itself asks to try again.
function mayBeRepeated(c: Context<Env>, { status }: Response): boolean {
  return status === 400 || status === 401 || c.env.error?.retryable === true
}

function scopeOf(c: Context<Env>): string {
  const { pathname, search } = new URL(c.req.url)
  const { kind, id } = c.env.principal
  return `${kind === 'service' ? kind : `${kind}:${id}`} ${pathname}${search}`
}

async function sealAnswer(c: Context<Env>, { scope, key }: Claimed, response: Response) {
  const body = await response.clone().text()
  if (Buffer.byteLength(body) > maxKeptBytes) return null
  const headers = Object.fromEntries(
    keptHeaders.flatMap((name) => (response.headers.has(name) ? [[name, response.headers.get(name) ?? '']] : [])),
  )
  const sealing = c.env.deps.keyring.current()
  const answer: Answer = { headers, body }
  return { kid: sealing.kid, value: await sealValue(sealing, placeOf(scope, key), JSON.stringify(answer)) }
}

async function replay(
  c: Context<Env>,
  scope: string,
  key: string,
  status: number,
  sealed: string | null,
): Promise<Response> {
  if (sealed === null)
    throw new ApiError('CONFLICT', 'The first request with this key was done, but its answer is not kept.')
  const text = await openValue(c.env.deps.keyring, placeOf(scope, key), sealed).catch((cause: unknown) => {
    const message = 'The first request with this key was done, but the key its answer was sealed with is gone.'
    throw new ApiError('CONFLICT', message, { cause })
  })
  const { headers, body } = JSON.parse(text) as Answer
  return c.newResponse(status === 204 ? null : body, status as 200, { ...headers, 'idempotency-replayed': 'true' })
}

// Bound to its request by the additional data, whose parts may not hold a `|`.
function placeOf(scope: string, key: string) {
  const digest = (text: string) => createHash('sha256').update(text).digest('hex')
  return { projectId: digest(scope), databaseId: digest(key), field: 'idempotency' }
}
