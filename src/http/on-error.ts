import type { Context, MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { ApiError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Env } from './env.ts'

/** The one error path: whatever was thrown leaves as the dual body, and what is not ours leaves as `INTERNAL` and a log line. */
export function onError(error: unknown, c: Context<Env>): Response {
  const translated = translate(error)
  const fields = { request_id: c.var.requestId, code: translated.code }
  if (translated.code === 'INTERNAL') c.var.deps?.log.error('unexpected', fields, error)
  // A caller who left is no fault of the server.
  else if (translated.status >= 500 && !c.req.raw.signal.aborted) c.var.deps?.log.warn('failed', fields, error)
  c.set('errorCode', translated.code)
  return c.json(translated.toBody(c.var.requestId), translated.status, translated.headers)
}

export function onNotFound(c: Context<Env>): Response {
  return onError(new ApiError('NOT_FOUND', 'There is no such route. GET /openapi.json lists them.'), c)
}

/** Makes an `Error` of whatever else is thrown: hono lets that pass its error path. */
export const throwErrors: MiddlewareHandler<Env> = async function throwErrors(_c, next) {
  try {
    await next()
  } catch (thrown) {
    throw thrown instanceof Error ? thrown : internal(thrown)
  }
}

/** The answer of the server itself to what was thrown outside of the app. */
export function lastResort(error: unknown, log: Log): Response {
  const requestId = crypto.randomUUID()
  log.error('unexpected', { request_id: requestId }, error)
  const headers = { 'x-request-id': requestId, 'cache-control': 'no-store' }
  return Response.json(internal(error).toBody(requestId), { status: 500, headers })
}

function translate(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof HTTPException) return fromHono(error)
  return internal(error)
}

function internal(cause: unknown): ApiError {
  return new ApiError('INTERNAL', 'Something went wrong in this server. The request id finds it in the log.', { cause })
}

// hono and @hono/zod-openapi throw these before any of our code runs.
function fromHono(error: HTTPException): ApiError {
  switch (error.status) {
    case 400:
      return new ApiError('VALIDATION_FAILED', 'The body is not valid JSON.', {
        details: [{ in: 'body', field: 'body', rule: 'must be valid JSON' }],
        cause: error,
      })
    case 413:
      return new ApiError('PAYLOAD_TOO_LARGE', 'The body is larger than this route takes.', { cause: error })
    case 415:
      return new ApiError('UNSUPPORTED_MEDIA_TYPE', 'Send the body as Content-Type: application/json.', {
        cause: error,
      })
    default:
      return internal(error)
  }
}
