import { createHash } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { openValue, sealValue } from '../credentials/sealed.ts'
import { ApiError, invalid } from '../errors.ts'
import type { Claimed } from '../registry/idempotency-store.ts'
import type { Env } from './env.ts'

const maxKeyLength = 255
const maxKeptBytes = 1_048_576
const keptHeaders = ['content-type', 'location', 'etag', 'link', 'retry-after']

interface Answer {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * `Idempotency-Key` on POST: the first request runs, its answer is kept 24 h with a hash of its body, and a repetition gets that answer
 * with `Idempotency-Replayed: true`. Another body or a first request that still runs is `CONFLICT`. An answer that says "try again" is not
 * kept. A request that is older than any can be and never ended is taken for dead.
 */
export const replayRepeated = repeatable(true)

/** The same for answers that hold a secret: only that they were given is kept, and a repetition is `CONFLICT`. */
export const refuseRepeated = repeatable(false)

function repeatable(keep: boolean): MiddlewareHandler<Env> {
  return async function answerRepeated(c, next) {
    const key = c.req.header('idempotency-key')
    if (key === undefined) return next()
    if (!/^[\x21-\x7e]{1,255}$/.test(key))
      throw invalid('Idempotency-Key', `must be 1 to ${maxKeyLength} visible ASCII characters`)
    const { idempotencyKeys: store, log, config } = c.env.deps
    const staleMs = config.QUERY_TIMEOUT_MAX_MS + config.REQUEST_TIMEOUT_MS
    const scope = scopeOf(c)
    const bodyHash = createHash('sha256')
      .update(Buffer.from(await c.req.arrayBuffer()))
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
    await next()
    // The work is done, and its answer true, also where it can not be kept.
    await settle(c, claim.claimed, keep).catch((error: unknown) =>
      log.warn('an answer was not kept for its Idempotency-Key', { request_id: c.env.requestId }, error),
    )
  }
}

async function settle(c: Context<Env>, claimed: Claimed, keep: boolean): Promise<void> {
  const { idempotencyKeys: store } = c.env.deps
  if (mayBeRepeated(c)) await store.release(claimed)
  else await store.complete(claimed, { status: c.res.status, sealed: keep ? await sealAnswer(c, claimed) : null })
}

// Nothing happened, or the answer itself asks to try again.
function mayBeRepeated(c: Context<Env>): boolean {
  return c.res.status === 400 || c.res.status === 401 || (c.error instanceof ApiError && c.error.retryable)
}

function scopeOf(c: Context<Env>): string {
  const { pathname, search } = new URL(c.req.url)
  const { kind, id } = c.env.principal
  return `${kind === 'service' ? kind : `${kind}:${id}`} ${pathname}${search}`
}

async function sealAnswer(c: Context<Env>, { scope, key }: Claimed) {
  const body = await c.res.clone().text()
  if (Buffer.byteLength(body) > maxKeptBytes) return null
  const headers = Object.fromEntries(
    keptHeaders.flatMap((name) => (c.res.headers.has(name) ? [[name, c.res.headers.get(name) ?? '']] : [])),
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
