import { ApiError, invalid } from '../errors.ts'
import type { Guard } from './guard.ts'
import type { RequestState } from './request-state.ts'

/** 414 for a URL that is longer than any route needs, 400 for a Host that can't be part of one. */
export function urlLimit(maxBytes: number): Guard {
  return function limitUrl({ url }) {
    // Bun leaves out the origin then, and hono cuts the path short: what is routed is not what was asked for.
    if (url.startsWith('/')) {
      const rule = 'must be a host name or address with an optional port'
      throw new ApiError('VALIDATION_FAILED', `Host: ${rule}.`, { details: [{ in: 'header', field: 'host', rule }] })
    }
    if (url.length > maxBytes)
      throw new ApiError('URI_TOO_LONG', `The URL is longer than ${maxBytes} bytes. Send long values in a body.`)
  }
}

const idleReserveSeconds = 5
/** The most that Bun takes. */
export const maxIdleSeconds = 255

/** Seconds a connection may be silent while a request of so many milliseconds runs: Bun closes it after 10, which a slow query is. */
export function idleSeconds(timeoutMs: number): number {
  return Math.min(maxIdleSeconds, Math.ceil(timeoutMs / 1000) + idleReserveSeconds)
}

/**
 * Milliseconds a request may take that says so itself, `REQUEST_TIMEOUT_MS` where it does not; its connection is kept open for as long.
 * `VALIDATION_FAILED` above `QUERY_TIMEOUT_MAX_MS`.
 */
export function allowTime({ server, request, deps }: RequestState, timeoutMs: number | undefined): number {
  const { QUERY_TIMEOUT_MAX_MS, REQUEST_TIMEOUT_MS } = deps.config
  if (timeoutMs !== undefined && timeoutMs > QUERY_TIMEOUT_MAX_MS)
    throw invalid('timeoutMs', `must be at most ${QUERY_TIMEOUT_MAX_MS}`)
  const allowedMs = timeoutMs ?? REQUEST_TIMEOUT_MS
  server?.timeout(request, idleSeconds(allowedMs))
  return allowedMs
}
