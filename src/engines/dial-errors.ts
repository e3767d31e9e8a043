import { ApiError, codeOf } from '../errors.ts'

/** The reason a connection failed, as `details.reason` says it. */
export type DialReason = 'dns' | 'refused' | 'unreachable' | 'timeout' | 'closed' | 'protocol' | 'tls' | 'policy'

/** Translates a socket's error by its code. */
export function connectError(cause: unknown): ApiError {
  switch (codeOf(cause)) {
    case 'ECONNREFUSED':
      return failed(
        'refused',
        'Nothing listens on this host and port. Check both, and that the store is running.',
        cause,
      )
    case 'ETIMEDOUT':
      return timedOut(
        'The host did not answer in time. Check host and port, and that a firewall lets this server through.',
        cause,
      )
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return failed(
        'unreachable',
        'There is no route to this host from here. Check the host, and that both are in the same network.',
        cause,
      )
    default:
      return failed('closed', 'The server closed the connection.', cause)
  }
}

/** `DB_CONNECTION_FAILED` with its reason. */
export function failed(reason: DialReason, message: string, cause?: unknown): ApiError {
  return new ApiError('DB_CONNECTION_FAILED', message, { cause, details: { reason } })
}

/** `DB_TIMEOUT` of a connection attempt: nothing was asked of the store yet, so it may be tried again. */
export function timedOut(message: string, cause?: unknown): ApiError {
  return new ApiError('DB_TIMEOUT', message, { cause, details: { reason: 'timeout' satisfies DialReason } })
}

/** The pool's places were all taken for as long as the caller would wait. */
export function poolExhausted(cause?: unknown): ApiError {
  return new ApiError('POOL_EXHAUSTED', 'All connections to this database are busy. Try again shortly.', { cause })
}
