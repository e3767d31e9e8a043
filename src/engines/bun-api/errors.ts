import { ApiError, codeOf } from '../../errors.ts'
import { connectError, failed, timedOut } from '../dial-errors.ts'

const tlsCodes = /^(ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/
const unreachableCodes = new Set([
  'ConnectionRefused',
  'FailedToOpenSocket',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
])
const refusedCodes: Readonly<Record<string, string>> = {
  ConnectionRefused: 'ECONNREFUSED',
  ConnectionReset: 'ECONNRESET',
  ConnectionClosed: 'ECONNRESET',
}

/** Translates what `fetch` throws, by its code. */
export function translate(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const code = codeOf(error) ?? ''
  if (error instanceof DOMException) return timedOut('The server did not answer in time.', error)
  if (tlsCodes.test(code))
    return failed(
      'tls',
      'The certificate of the server is not valid for this name, or its CA is unknown. A private CA goes into config.caCertificate.',
      error,
    )
  if (/^(Malformed|InvalidHTTP|Invalid)/.test(code))
    return failed('protocol', 'The server does not speak HTTP on this port. Check port and type.', error)
  return connectError(Object.assign(new Error('fetch failed', { cause: error }), { code: refusedCodes[code] ?? code }))
}

/** Whether no connection came about, so that nothing was sent. */
export function isUnreachable(error: unknown): boolean {
  return unreachableCodes.has(codeOf(error) ?? '')
}

/** What a peer's status and `Content-Encoding` mean for the caller; `undefined` when it is an answer. */
export function refusalOf(status: number, encoding: string | null): ApiError | undefined {
  if (status === 401 || status === 403)
    return new ApiError('DB_INVALID_CREDENTIALS', 'The server refused the key.', { details: { status } })
  if (status >= 300 && status < 400) {
    return failed(
      'protocol',
      'The server answered with a redirect, which is not followed. Register the address it leads to.',
      undefined,
    )
  }
  if (encoding !== null && encoding.toLowerCase() !== 'identity')
    return failed('protocol', 'The server compresses its answers although it is asked not to.')
  return undefined
}
