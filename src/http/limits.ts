import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { ApiError } from '../errors.ts'
import { callWithin } from '../engines/engine.ts'
import type { Env } from './env.ts'
import { findJsonProblem } from './json-text.ts'

/** 414 for a URL that is longer than any route needs, 400 for a Host that can't be part of one. */
export function urlLimit(maxBytes: number): MiddlewareHandler<Env> {
  return async function limitUrl(c, next) {
    // Bun leaves out the origin then, and hono cuts the path short: what is routed is not what was asked for.
    if (c.req.url.startsWith('/')) {
      const rule = 'must be a host name or address with an optional port'
      throw new ApiError('VALIDATION_FAILED', `Host: ${rule}.`, { details: [{ in: 'header', field: 'host', rule }] })
    }
    if (c.req.url.length > maxBytes)
      throw new ApiError('URI_TOO_LONG', `The URL is longer than ${maxBytes} bytes. Send long values in a body.`)
    await next()
  }
}

/** 413 above the limit, counted while it arrives; 400 for JSON that parsing would change in silence. */
export function bodyLimits(maxBytes: number): MiddlewareHandler<Env> {
  const count = bodyLimit({
    maxSize: maxBytes,
    onError: () => {
      throw new ApiError('PAYLOAD_TOO_LARGE', `The body is larger than ${maxBytes} bytes, the most this route takes.`)
    },
  })
  return async function limitBody(c, next) {
    await count(c, async () => {
      if (c.req.method !== 'GET' && c.req.method !== 'HEAD' && c.req.raw.body !== null)
        checkJson(await c.req.arrayBuffer())
      await next()
    })
  }
}

function checkJson(bytes: ArrayBuffer): void {
  const problem = findJsonProblem(bytes)
  if (problem === undefined) return
  const { field = 'body', rule } = problem
  throw new ApiError('VALIDATION_FAILED', `${field}: ${rule}.`, { details: [{ in: 'body', field, rule }] })
}

/** Gives every request its call: aborted at the deadline and when the client leaves. Bun's idle timeout is raised above it. */
export function deadline(timeoutMs: number): MiddlewareHandler<Env> {
  return async function setDeadline(c, next) {
    using call = callWithin(timeoutMs, c.req.raw.signal)
    c.set('call', call)
    keepOpen(c.env?.server, c.req.raw, timeoutMs)
    await next()
  }
}

const idleReserveSeconds = 5
const maxIdleSeconds = 255

/** Bun closes a connection that is silent for 10 s, which a slow query is. */
export function keepOpen(server: Env['Bindings']['server'], request: Request, timeoutMs: number): void {
  server?.timeout(request, Math.min(maxIdleSeconds, Math.ceil(timeoutMs / 1000) + idleReserveSeconds))
}
