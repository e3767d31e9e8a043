import { type ErrorCode, errorTable } from '#src/errors.ts'

const messages: Readonly<Record<ErrorCode, string>> = {
  VALIDATION_FAILED: 'limit: must be a whole number.',
  TARGET_NOT_ALLOWED: 'This server may not connect there: the address is link-local.',
  UNAUTHENTICATED: 'The key is not valid.',
  FORBIDDEN: 'The key does not allow this.',
  FEATURE_DISABLED: 'Redis is switched off on this server.',
  DB_READ_ONLY: 'This database is registered read-only (config.readOnly).',
  DB_NOT_FOUND: 'There is no such database.',
  NOT_FOUND: 'There is no project with this ref.',
  METHOD_NOT_ALLOWED: 'This route takes GET.',
  CONFLICT: 'The project has a database of this name already. Choose another name.',
  DB_CONFLICT: 'A row with this key is there already.',
  PRECONDITION_FAILED: 'The database was changed since it was read. Read it again and repeat the change.',
  PAYLOAD_TOO_LARGE: 'The body is larger than this route takes.',
  RESULT_TOO_LARGE: 'The result is larger than one answer may be. Ask for fewer rows or columns.',
  URI_TOO_LONG: 'The URL is longer than 8192 bytes. Send long values in a body.',
  UNSUPPORTED_MEDIA_TYPE: 'Send the body as Content-Type: application/json.',
  DB_QUERY_ERROR: 'Redis refused the command (ERR).',
  DB_UNSUPPORTED: 'The server is older than MongoDB 4.4.',
  DB_INVALID_CREDENTIALS: 'Redis refused the user name or password.',
  DB_CREDENTIALS_UNREADABLE: 'The stored connection can not be used. Store it again.',
  RATE_LIMITED: 'Too many requests. Try again shortly.',
  DB_CONNECTION_FAILED: 'The server closed the connection.',
  DB_UNAVAILABLE: 'Redis is loading, busy or reorganising. Try again.',
  DB_NOT_PRIMARY: 'The server is a read-only replica, or its primary is away.',
  POOL_EXHAUSTED: 'All connections to this database are busy. Try again shortly.',
  OVERLOADED: 'This server has too much to do. Try again shortly.',
  REGISTRY_UNAVAILABLE: 'The registry can not be reached. Try again shortly.',
  AUDIT_UNAVAILABLE: 'The audit log can not be written. Try again shortly.',
  DB_TIMEOUT: 'The database could not be connected in time.',
  INTERNAL: 'Something went wrong in this server. The request id finds it in the log.',
}

interface Example {
  readonly value: unknown
}

/** A body for each of the codes, for `components.examples`. */
export function errorExamples(codes: Iterable<string>): Readonly<Record<string, Example>> {
  return Object.fromEntries([...codes].filter(isCode).map((code) => [code, { value: bodyOf(code) }]))
}

/** References to the bodies of the codes a response's description names. */
export function referToExamples(description: string): Readonly<Record<string, { readonly $ref: string }>> {
  const named = description.split(', ').filter(isCode)
  return Object.fromEntries(named.map((code) => [code, { $ref: `#/components/examples/${code}` }]))
}

function bodyOf(code: ErrorCode) {
  const message = messages[code]
  const requestId = '0f0e6f0c-6f7e-4a55-9d1c-0f9f5b1f7a10'
  return { message, error: { code, message, retryable: errorTable[code].retryable, requestId } }
}

function isCode(name: string): name is ErrorCode {
  return Object.hasOwn(messages, name)
}
