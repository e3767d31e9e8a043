import { ApiError, codeOf, type ErrorOptions } from '../../errors.ts'
import { failed } from '../dial-errors.ts'

/** The error fields of PostgreSQL's protocol that a caller needs to mend the statement. */
interface ServerFields {
  readonly message?: string
  readonly severity?: string
  readonly detail?: string
  readonly hint?: string
  readonly position?: string
  readonly where?: string
  readonly schema_name?: string
  readonly table_name?: string
  readonly column_name?: string
  readonly constraint_name?: string
}

const connectionLost = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'ECONNRESET',
  'EPIPE',
  'ECONNREFUSED',
])

/**
 * Translates by SQLSTATE or driver code (https://www.postgresql.org/docs/current/errcodes-appendix.html). `readOnly` says whether the
 * statement ran in our read-only transaction: the same 25006 comes from a standby.
 */
export function translate(error: unknown, context: { readonly readOnly?: boolean } = {}): ApiError {
  if (error instanceof ApiError) return error
  const code = codeOf(error)
  const cause = { cause: error }
  if (code === undefined) return new ApiError('INTERNAL', 'Something went wrong on the way to PostgreSQL.', cause)
  if (connectionLost.has(code)) return failed('closed', 'The server closed the connection.', error)
  switch (code) {
    case '28P01':
    case '28000':
      return new ApiError(
        'DB_INVALID_CREDENTIALS',
        'PostgreSQL refused the user name or password, or its pg_hba.conf this client.',
        cause,
      )
    case '3D000':
      return new ApiError('DB_CONNECTION_FAILED', 'There is no database of this name on the server.', {
        ...cause,
        details: { code, stage: 'database' },
      })
    case 'SASL_SIGNATURE_MISMATCH':
      return new ApiError(
        'DB_CONNECTION_FAILED',
        'The server could not prove that it knows the password. Check that it is yours.',
        cause,
      )
    case '53300':
      return new ApiError(
        'DB_CONNECTION_FAILED',
        'The server has no connection left. Raise max_connections or lower the pool size.',
        { ...cause, details: { code } },
      )
    case '57P01':
    case '57P02':
    case '57P03':
    case '57P05':
      return new ApiError('DB_CONNECTION_FAILED', 'The server is starting up or shutting down. Try again.', {
        ...cause,
        details: { code },
      })
    case '57014':
      return statementTimedOut(context.readOnly === true, cause)
    case '55P03':
      return new ApiError('DB_TIMEOUT', 'The statement waited too long for a lock; nothing was changed.', {
        ...fields(error, code),
        retryable: true,
      })
    case '25006':
      return context.readOnly
        ? new ApiError(
            'DB_READ_ONLY',
            'The statement writes, but the query ran read-only. Send "readOnly": false to allow it.',
            { ...cause, details: { code } },
          )
        : new ApiError('DB_NOT_PRIMARY', 'The server is a read-only standby. Write to the primary.', {
            ...cause,
            details: { code },
          })
    case '40001':
    case '40P01':
      return new ApiError(
        'DB_CONFLICT',
        'The statement lost against a concurrent transaction; nothing was changed. Run it again.',
        { ...fields(error, code), retryable: true },
      )
    case '23505':
    case '23P01':
      return new ApiError('DB_CONFLICT', 'A row with this key is there already.', fields(error, code))
  }
  // 08P01 among statements is a wrong number of parameters.
  if (/^(08(?!P01)|53|58|XX)/.test(code))
    return new ApiError('DB_UNAVAILABLE', 'The server can not serve the request now. See its log.', {
      ...cause,
      details: { code },
    })
  if (/^[0-9A-Z]{5}$/.test(code))
    return new ApiError(
      'DB_QUERY_ERROR',
      `PostgreSQL refused the statement (${code}); details say why.`,
      fields(error, code),
    )
  return new ApiError('INTERNAL', 'Something went wrong on the way to PostgreSQL.', cause)
}

/** Translates what ends a session's start. Nothing the server says is repeated: it may be no database at all. */
export function translateStart(error: unknown): ApiError {
  const translated = translate(error)
  const code = codeOf(error)
  if (error instanceof ApiError || !['DB_QUERY_ERROR', 'DB_CONFLICT', 'INTERNAL'].includes(translated.code))
    return translated
  return code === '42501'
    ? new ApiError('DB_CONNECTION_FAILED', 'The role may not connect to this database. Grant it CONNECT.', {
        cause: error,
        details: { code, stage: 'database' },
      })
    : new ApiError('DB_CONNECTION_FAILED', 'The server refused to start a session. See its log.', { cause: error })
}

/** The connection was lost after COMMIT was sent: nobody can tell whether it took effect. */
export function commitLost(cause: unknown): ApiError {
  return new ApiError(
    'DB_CONNECTION_FAILED',
    'The connection was lost while committing; whether the statement took effect is unknown. Look before you run it again.',
    { cause, retryable: false, details: { reason: 'closed' } },
  )
}

/** `DB_TIMEOUT` of a statement; after a write the outcome is unknown, so it must not be retried blindly. */
export function statementTimedOut(readOnly: boolean, options: ErrorOptions = {}): ApiError {
  return readOnly
    ? new ApiError('DB_TIMEOUT', 'The statement took too long and was cancelled.', options)
    : new ApiError(
        'DB_TIMEOUT',
        'The statement took too long; whether it took effect is unknown. Look before you run it again.',
        {
          ...options,
          retryable: false,
        },
      )
}

function fields(error: unknown, code: string): ErrorOptions {
  const from = error as ServerFields
  const details = {
    code,
    message: from.message,
    detail: from.detail,
    hint: from.hint,
    position: from.position === undefined ? undefined : Number(from.position),
    where: from.where,
    schema: from.schema_name,
    table: from.table_name,
    column: from.column_name,
    constraint: from.constraint_name,
  }
  return {
    cause: error,
    details: Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined)),
  }
}
