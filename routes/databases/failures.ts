import type { ErrorCode } from '#src/errors.ts'
import { ErrorBody, json } from '#src/http/contract.ts'

/** What a change that is tried before it is saved can fail with, at the status the code has everywhere. */
export const probingFailures = [
  'VALIDATION_FAILED',
  'TARGET_NOT_ALLOWED',
  'FEATURE_DISABLED',
  'DB_QUERY_ERROR',
  'DB_UNSUPPORTED',
  'DB_UNAVAILABLE',
  'DB_NOT_PRIMARY',
  'RESULT_TOO_LARGE',
] as const satisfies readonly ErrorCode[]

/** The 400 of such a change: a store that does not answer is the caller's input here, so its codes have this status too. */
export function probeRefused(...more: readonly ErrorCode[]) {
  const codes: readonly ErrorCode[] = [
    'VALIDATION_FAILED',
    'TARGET_NOT_ALLOWED',
    'DB_QUERY_ERROR',
    'DB_UNSUPPORTED',
    'DB_CONNECTION_FAILED',
    'DB_TIMEOUT',
    'DB_INVALID_CREDENTIALS',
    ...more,
  ]
  return json(ErrorBody, codes.join(', '))
}
