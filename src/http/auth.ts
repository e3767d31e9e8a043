import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { ApiError } from '../errors.ts'
import type { Env } from './env.ts'

/** Paths anybody may read; everything else, unknown paths included, needs a key. */
export const openPaths: ReadonlySet<string> = new Set(['/health', '/health/ready', '/openapi.json', '/docs'])

/** The service key in the first present of `Authorization: Bearer`, `apikey` and `x-api-key`; if that one is wrong, the others are not tried. */
export function authentication(serviceKeys: readonly string[]): MiddlewareHandler<Env> {
  const digests = serviceKeys.map(digest)
  return async function authenticate(c, next) {
    if (!openPaths.has(c.req.path)) {
      const authorization = c.req.header('authorization')
      const key =
        authorization === undefined ? (c.req.header('apikey') ?? c.req.header('x-api-key')) : bearer(authorization)
      if (key === undefined)
        throw unauthenticated('Send the service key as Authorization: Bearer, apikey or x-api-key.')
      if (!matches(digests, key)) throw unauthenticated('The key is not valid.')
    }
    await next()
  }
}

// Digests have one length and are compared whole, all of them: time tells neither the length nor the key that nearly matched.
function matches(digests: readonly Buffer[], key: string): boolean {
  const given = digest(key)
  let found = false
  for (const known of digests) found = timingSafeEqual(known, given) || found
  return found
}

function bearer(authorization: string): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization)?.[1]
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function unauthenticated(message: string): ApiError {
  return new ApiError('UNAUTHENTICATED', message, { headers: { 'www-authenticate': 'Bearer realm="bun-api"' } })
}
