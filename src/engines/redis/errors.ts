import { ApiError } from '../../errors.ts'
import { connectError, failed } from '../dial-errors.ts'

/** A RESP error's code is its first word (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors). */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined
  // Modules may leave it out.
  return /^[A-Z][A-Z0-9_]{0,31}(?= |$)/.exec(error.message)?.[0] ?? 'ERR'
}

/** Translates a reply's or the connection's error by its code. */
export function translate(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const code = replyCode(error)
  if (code === undefined) return connectError(error)
  const options = { cause: error, details: { code } }
  switch (code) {
    case 'WRONGPASS':
    case 'NOAUTH':
      return new ApiError('DB_INVALID_CREDENTIALS', 'Redis refused the user name or password.', options)
    case 'WRONGTYPE':
      return new ApiError('DB_QUERY_ERROR', 'The key holds another type. Read it with the route of its type.', options)
    case 'NOPERM':
      return new ApiError('DB_QUERY_ERROR', "The Redis user's ACL does not allow this command or key.", options)
    case 'READONLY':
    case 'MASTERDOWN':
      return new ApiError('DB_NOT_PRIMARY', 'The server is a read-only replica, or its primary is away.', options)
    case 'LOADING':
    case 'BUSY':
    case 'TRYAGAIN':
    case 'CLUSTERDOWN':
      return new ApiError('DB_UNAVAILABLE', 'Redis is loading, busy or reorganising. Try again.', options)
    case 'OOM':
    case 'MISCONF':
    case 'NOREPLICAS':
      return new ApiError(
        'DB_UNAVAILABLE',
        'Redis does not take writes now: out of memory, or its safety settings forbid it.',
        options,
      )
    case 'MOVED':
    case 'ASK':
      return new ApiError(
        'DB_UNSUPPORTED',
        'The server is a node of a Redis Cluster. Register it with config.topology "cluster".',
        options,
      )
    case 'CROSSSLOT':
      return new ApiError(
        'DB_UNSUPPORTED',
        'The keys of this command stand in different slots of the cluster. Give their names a common {hash tag}.',
        options,
      )
    default:
      return new ApiError('DB_QUERY_ERROR', `Redis refused the command (${code}).`, options)
  }
}

/** Errors while authenticating: before Redis 6 a wrong password has no code of its own. */
export function translateAuth(error: unknown): ApiError {
  const code = replyCode(error)
  if (code === 'ERR') {
    return new ApiError(
      'DB_INVALID_CREDENTIALS',
      'Redis refused the password, or has none set. Check the connection.',
      {
        cause: error,
        details: { code },
      },
    )
  }
  return translate(error)
}

/** Errors of SELECT: the database number is one the server has not. */
export function translateSelect(error: unknown): ApiError {
  if (replyCode(error) !== 'ERR') return translate(error)
  return new ApiError('DB_CONNECTION_FAILED', 'The server has no database of this number.', {
    cause: error,
    details: { code: 'ERR', stage: 'database' },
  })
}

/** What ends a connection's start: a server that wants TLS may close without a word. */
export function translateStart(error: unknown): ApiError {
  const translated = translate(error)
  const { reason } = (translated.details ?? {}) as { readonly reason?: string }
  if (reason !== 'closed') return translated
  return failed(
    'closed',
    'The server closed the connection before it answered. Check port and type, and whether it wants TLS (rediss://).',
    error,
  )
}

export function noSuchKey(): ApiError {
  return new ApiError('NOT_FOUND', 'There is no such key.')
}

/** A reply of another shape than the command's. */
export function notRedis(): ApiError {
  return failed('protocol', 'The server answers as no Redis does. Check port and type.')
}

export function replyTooLarge(): ApiError {
  return new ApiError('RESULT_TOO_LARGE', 'The reply is larger than one answer may be. Ask for less at once.')
}

/** Whether one reply was above the cap, which ended its connection. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof ApiError && error.code === 'RESULT_TOO_LARGE'
}

/** The reply to a write was too large, and its connection given up; the write has run, as far as can be told. */
export function writeTooLarge(cause: unknown): ApiError {
  const message =
    'The reply is larger than one answer may be; the command has most likely run. Look before you try again.'
  return new ApiError('RESULT_TOO_LARGE', message, { cause })
}

/** No answer to a write in time; it may have run, so it must not be repeated blindly. */
export function writeTimedOut(cause: unknown): ApiError {
  return new ApiError(
    'DB_TIMEOUT',
    'Redis did not answer in time; whether the write took effect is unknown. Look before you try again.',
    { cause, retryable: false, details: { reason: 'timeout' } },
  )
}

/** The connection was lost after a write was sent; it may have run. */
export function writeLost(cause: unknown): ApiError {
  return new ApiError(
    'DB_CONNECTION_FAILED',
    'The connection was lost; whether the write took effect is unknown. Look before you try again.',
    { cause, retryable: false, details: { reason: 'closed' } },
  )
}
