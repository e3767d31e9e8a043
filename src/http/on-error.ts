import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, NotFoundHandler } from 'hono'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { HTTPException } from 'hono/http-exception'
import { ApiError } from '../errors.ts'
import type { Log } from '../log.ts'
import { answer } from './answer.ts'
import type { Env } from './env.ts'
import type { RequestState } from './request-state.ts'

/** The one error path: whatever was thrown leaves as the dual body, and what is not ours leaves as `INTERNAL` and a log line. */
export function failure(error: unknown, state: RequestState): Response {
  const translated = explained(error, state)
  return answer(state, JSON.stringify(translated.toBody(state.requestId)), translated.status, translated.headers)
}

/** What a caller is told of an error, which is logged and noted where it should be. */
export function explained(error: unknown, state: RequestState): ApiError {
  const translated = translate(error)
  const { requestId, deps, request } = state
  const fields = { request_id: requestId, code: translated.code }
  if (translated.code === 'INTERNAL') deps.log.error('unexpected', fields, error)
  // A caller who left is no fault of the server.
  else if (translated.status >= 500 && !request.signal.aborted) deps.log.warn('failed', fields, error)
  state.errorCode = translated.code
  state.error = translated
  return translated
}

export const onError = (error: unknown, c: Context<Env>): Response => failure(error, c.env)

/** What no route answers: 405 where the path has other methods, else 404. Looked up only then. */
export function notFound(app: OpenAPIHono<Env>): NotFoundHandler<Env> {
  const lookUp = methodNotAllowed({
    app,
    onMethodNotAllowed(c, methods) {
      const allow = methods.join(', ')
      return onError(new ApiError('METHOD_NOT_ALLOWED', `This route takes ${allow}.`, { headers: { allow } }), c)
    },
  })
  return async function answerNotFound(c) {
    c.res = onError(new ApiError('NOT_FOUND', 'There is no such route. GET /openapi.json lists them.'), c)
    await lookUp(c, async () => undefined)
    return c.res
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
