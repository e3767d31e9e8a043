import { connectError, failed } from '#src/engines/dial-errors.ts'
import { ApiError } from '#src/errors.ts'

/** Translates what a connection ended with, by its code. */
export function translate(error: unknown): ApiError {
  return error instanceof ApiError ? error : connectError(error)
}

/** What a reply's first word says went wrong; `undefined` for an answer. The rest of the line is the server's text and stays here. */
export function refusalOf(reply: string): ApiError | undefined {
  switch (/^[A-Z_]+/.exec(reply)?.[0]) {
    case 'ERROR':
    case 'CLIENT_ERROR':
      return new ApiError('DB_QUERY_ERROR', 'memcached refused the command.', { details: { code: 'CLIENT_ERROR' } })
    case 'SERVER_ERROR':
      return new ApiError('DB_UNAVAILABLE', 'memcached can not do this now.', { details: { code: 'SERVER_ERROR' } })
    case 'VERSION':
    case 'STORED':
    case 'STAT':
    case 'VALUE':
    case 'END':
      return undefined
    default:
      return failed('protocol', 'The server speaks another protocol on this port. Check port and type.')
  }
}

export function refusedCredentials(): ApiError {
  return new ApiError('DB_INVALID_CREDENTIALS', 'memcached refused the user name or password, or wants none.')
}

export function replyTooLarge(): ApiError {
  return new ApiError('RESULT_TOO_LARGE', 'The reply is larger than one answer may be.')
}
