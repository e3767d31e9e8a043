/** The closed table of error codes: status, whether a caller may retry, and the seconds of `Retry-After` where one is sent. */
export const errorTable = {
  VALIDATION_FAILED: { status: 400, retryable: false },
  TARGET_NOT_ALLOWED: { status: 400, retryable: false },
  UNAUTHENTICATED: { status: 401, retryable: false },
  FORBIDDEN: { status: 403, retryable: false },
  FEATURE_DISABLED: { status: 403, retryable: false },
  DB_READ_ONLY: { status: 403, retryable: false },
  DB_NOT_FOUND: { status: 404, retryable: false },
  NOT_FOUND: { status: 404, retryable: false },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false },
  CONFLICT: { status: 409, retryable: false },
  DB_CONFLICT: { status: 409, retryable: false },
  PRECONDITION_FAILED: { status: 412, retryable: false },
  PAYLOAD_TOO_LARGE: { status: 413, retryable: false },
  RESULT_TOO_LARGE: { status: 413, retryable: false },
  URI_TOO_LONG: { status: 414, retryable: false },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false },
  DB_QUERY_ERROR: { status: 400, retryable: false },
  DB_UNSUPPORTED: { status: 400, retryable: false },
  DB_INVALID_CREDENTIALS: { status: 424, retryable: false },
  DB_CREDENTIALS_UNREADABLE: { status: 424, retryable: false },
  RATE_LIMITED: { status: 429, retryable: true, retryAfter: 1 },
  DB_CONNECTION_FAILED: { status: 503, retryable: true, retryAfter: 2 },
  DB_UNAVAILABLE: { status: 503, retryable: true, retryAfter: 5 },
  DB_NOT_PRIMARY: { status: 503, retryable: true, retryAfter: 1 },
  POOL_EXHAUSTED: { status: 503, retryable: true, retryAfter: 1 },
  OVERLOADED: { status: 503, retryable: true, retryAfter: 1 },
  REGISTRY_UNAVAILABLE: { status: 503, retryable: true, retryAfter: 2 },
  AUDIT_UNAVAILABLE: { status: 503, retryable: true, retryAfter: 2 },
  DB_TIMEOUT: { status: 504, retryable: true },
  INTERNAL: { status: 500, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean; retryAfter?: number }>

export type ErrorCode = keyof typeof errorTable
export type ErrorStatus = (typeof errorTable)[ErrorCode]['status']

export interface ErrorOptions {
  /** Facts for the caller, from our own templates or the engine's error fields; never a secret, never a driver's message. */
  readonly details?: unknown
  readonly cause?: unknown
  /** Overrides the table: a timed-out write is not retryable, its outcome is unknown. */
  readonly retryable?: boolean
  /** Overrides the table: a store the caller is just registering answers 400, not 503. */
  readonly status?: ErrorStatus
  readonly headers?: Readonly<Record<string, string>>
}

/** The one error that reaches a caller. `message` says what the caller can do and is safe to send; the cause is for the log alone. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ErrorCode
  readonly status: ErrorStatus
  readonly retryable: boolean
  readonly details: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, { cause: options.cause })
    const entry: { status: ErrorStatus; retryable: boolean; retryAfter?: number } = errorTable[code]
    this.code = code
    this.status = options.status ?? entry.status
    this.retryable = options.retryable ?? entry.retryable
    this.details = options.details
    this.headers = {
      ...(entry.retryAfter !== undefined && this.status >= 429 ? { 'retry-after': String(entry.retryAfter) } : {}),
      ...options.headers,
    }
  }

  /** The dual body of every `/api/platform` and operations route: Studio reads the top-level `message`, everybody else `error`. */
  toBody(requestId: string) {
    return {
      message: this.message,
      error: {
        code: this.code,
        message: this.message,
        retryable: this.retryable,
        requestId,
        ...(this.details === undefined ? {} : { details: this.details }),
      },
    }
  }
}

/** The same error with another status or `details` (a probe adds its stage), the rest unchanged. */
export function withOptions(error: ApiError, options: ErrorOptions): ApiError {
  return new ApiError(error.code, error.message, {
    details: error.details,
    cause: error,
    retryable: error.retryable,
    status: error.status,
    ...options,
  })
}

/** The `code` of any thrown value: `ECONNREFUSED`, a SQLSTATE, `WRONGPASS`; decisions are made by it, never by a message. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' ? code : undefined
}

/** `VALIDATION_FAILED` for one field; `rule` completes "the field …" and never quotes the value. */
export function invalid(field: string, rule: string): ApiError {
  return new ApiError('VALIDATION_FAILED', `${field} ${rule}.`, { details: [{ field, rule }] })
}

/** `DB_READ_ONLY` for a write to a database whose `config.readOnly` is set. */
export function readOnlyDatabase(): ApiError {
  return new ApiError('DB_READ_ONLY', 'This database is registered read-only (config.readOnly).')
}
