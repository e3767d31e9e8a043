import { ApiError } from '../errors.ts'

/** What the end of a request says of the store. `refused`: it does not take our credentials. `nothing`: nothing. */
export type Outcome = 'answered' | 'failed' | 'refused' | 'nothing'

/** Redis as a whole, not the command alone or the writes. */
const wholeServer: ReadonlySet<unknown> = new Set(['LOADING', 'BUSY', 'CLUSTERDOWN'])
// Others' connections go on (PostgreSQL's too_many_connections).
const noneLeft = '53300'

/**
 * Judges the error a request over a session ended with. `waitedMs` is how long the store had: a caller in a hurry says nothing about it.
 * A failure that the server itself explained in answer to a statement is an answer, whatever the statement made it say.
 */
export function outcomeOf(error: unknown, waitedMs: number, patienceMs: number): Outcome {
  if (error === undefined) return 'answered'
  if (!(error instanceof ApiError)) return 'nothing'
  const { code, cause } = error
  if (isOurs(error)) return 'nothing'
  switch (code) {
    case 'DB_TIMEOUT':
      if (isReply(cause)) return 'answered'
      return hasLeft(cause) || waitedMs < patienceMs ? 'nothing' : 'failed'
    case 'DB_CONNECTION_FAILED':
      if (codeIn(error) === noneLeft) return 'nothing'
      return isAnswer(cause) ? 'answered' : 'failed'
    case 'DB_UNAVAILABLE':
      if (isFatal(cause) || wholeServer.has(codeIn(error))) return 'failed'
      return cause === undefined ? 'nothing' : 'answered'
    case 'DB_INVALID_CREDENTIALS':
      if (isAnswer(cause)) return 'answered'
      return isOfStart(error) ? 'refused' : 'failed'
    case 'NOT_FOUND':
    case 'RESULT_TOO_LARGE':
      return 'answered'
    case 'DB_QUERY_ERROR':
    case 'DB_CONFLICT':
    case 'DB_READ_ONLY':
      return isReply(cause) ? 'answered' : 'nothing'
    default:
      return 'nothing'
  }
}

/** Whether failing to open a session speaks of the store or of its registration; a process without a free slot does not. */
export function speaksOfStore(error: unknown): boolean {
  return !(error instanceof ApiError && error.code === 'POOL_EXHAUSTED')
}

/** Whether the server itself said it: PostgreSQL with a severity, MongoDB and Redis by their drivers' classes. */
function isReply(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false
  return severityOf(cause) !== undefined || cause.name === 'MongoServerError' || cause.name === 'ReplyError'
}

// A statement can raise any SQLSTATE, but not end the session with it.
function isAnswer(cause: unknown): boolean {
  return severityOf(cause) !== undefined && !isFatal(cause)
}

function isFatal(cause: unknown): boolean {
  const severity = severityOf(cause)
  return severity === 'FATAL' || severity === 'PANIC'
}

/** Whether a connection or a request of its own was refused: MongoDB's driver marks the errors of new ones, another server tells a status. */
function isOfStart({ cause, details }: ApiError): boolean {
  if (isFatal(cause)) return true
  if (cause instanceof Error && 'connectionGeneration' in cause) return true
  return (details as { readonly status?: unknown } | undefined)?.status !== undefined
}

function severityOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined
  const { severity } = cause as { readonly severity?: unknown }
  return typeof severity === 'string' ? severity : undefined
}

function hasLeft(cause: unknown): boolean {
  return cause instanceof DOMException && cause.name === 'AbortError'
}

// An open breaker's refusal, met by the second attempt of a request.
function isOurs({ details }: ApiError): boolean {
  return (details as { readonly reason?: unknown } | undefined)?.reason === 'breaker'
}

function codeIn({ details }: ApiError): unknown {
  return (details as { readonly code?: unknown } | undefined)?.code
}
