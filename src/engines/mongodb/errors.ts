import { ApiError } from '../../errors.ts'
import { connectError, failed, poolExhausted, timedOut } from '../dial-errors.ts'
import {
  BSON,
  MongoCompatibilityError,
  MongoError,
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
} from './driver.ts'

const notPrimary = new Set([10107, 13435, 13436, 11602, 189, 10058])
const shuttingDown = new Set([91, 11600])
// What the driver says of a client that is closed under a caller; it exports none of them.
const closing = new Set([
  'MongoClientClosedError',
  'MongoNotConnectedError',
  'MongoPoolClosedError',
  'MongoServerClosedError',
  'MongoTopologyClosedError',
])

/** Translates by the server's error code (https://www.mongodb.com/docs/manual/reference/error-codes/) or the driver's class. */
export function translate(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof MongoServerError) return translateServer(error, Number(error.code))
  if (isWaitTimeout(error)) return poolExhausted(error)
  if (error instanceof MongoServerSelectionError) return selectionFailed(error)
  if (error instanceof MongoNetworkTimeoutError) return timedOut('MongoDB did not answer in time.', error)
  if (error instanceof MongoNetworkError) return networkFailed(error)
  if (error instanceof Error && closing.has(error.name))
    return failed('closed', 'The connection to this database is being closed. Try again.', error)
  if (error instanceof MongoCompatibilityError)
    return new ApiError('DB_UNSUPPORTED', 'The server is older than MongoDB 4.4, or no MongoDB.', { cause: error })
  // RangeError and BSONError: bytes that are no BSON. Everything else of the driver's at this point is a reply it can't use.
  if (error instanceof MongoError || error instanceof BSON.BSONError || error instanceof RangeError)
    return failed('protocol', 'The server answered in a way MongoDB does not.', error)
  return new ApiError('INTERNAL', 'Something went wrong on the way to MongoDB.', { cause: error })
}

/** The same while a session begins, where nothing was asked yet: what is no refusal is a server that does not speak MongoDB as it should. */
export function translateConnect(error: unknown): ApiError {
  const translated = translate(error)
  return translated.code === 'DB_QUERY_ERROR' || translated.code === 'INTERNAL'
    ? failed(
        'protocol',
        'The server does not begin a session as MongoDB does. Check authMechanism, port and type.',
        error,
      )
    : translated
}

/** Whether no connection came free in time, or none could be made. Its class is not exported by the driver. */
export function isWaitTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'MongoWaitQueueTimeoutError'
}

/** Whether a connection made anew may do better: the driver has lost its server, or never found one. */
export function isLoss(error: unknown): boolean {
  if (error instanceof MongoNetworkTimeoutError) return false
  return (
    error instanceof MongoNetworkError ||
    error instanceof MongoServerSelectionError ||
    (error instanceof Error && closing.has(error.name))
  )
}

function translateServer(error: MongoServerError, code: number): ApiError {
  const { codeName: name } = error
  // A server of ill will could write anything there.
  const details = { code, ...(typeof name === 'string' && /^[A-Za-z]{1,64}$/.test(name) ? { name } : {}) }
  const options = { cause: error, details }
  if (code === 18 || code === 8000)
    return new ApiError('DB_INVALID_CREDENTIALS', 'MongoDB refused the user name or password.', options)
  if (code === 13) return new ApiError('DB_QUERY_ERROR', "The MongoDB user's roles do not allow this.", options)
  if (code === 11000 || code === 11001)
    return new ApiError('DB_CONFLICT', 'A document with this key is there already.', options)
  if (code === 292)
    return new ApiError(
      'DB_QUERY_ERROR',
      'MongoDB would need more memory than it gives one operation. Narrow it with $match, or sort by an index.',
      options,
    )
  if (code === 50) return timedOut('MongoDB stopped the operation at its time limit.', error)
  if (notPrimary.has(code))
    return new ApiError('DB_NOT_PRIMARY', 'The server is not the primary, or an election is going on.', options)
  if (shuttingDown.has(code))
    return new ApiError('DB_CONNECTION_FAILED', 'The server is shutting down. Try again.', options)
  return new ApiError('DB_QUERY_ERROR', `MongoDB refused the operation (${code}).`, options)
}

// The reason lies in the descriptions of the servers that could not be selected.
function selectionFailed(error: MongoServerSelectionError): ApiError {
  const servers = [
    ...((error.reason as { servers?: Map<string, { error?: Error | null }> } | undefined)?.servers?.values() ?? []),
  ]
  const cause = servers.map((server) => server.error).find((found) => found !== null && found !== undefined)
  if (cause instanceof MongoServerError) return translateServer(cause, Number(cause.code))
  if (cause instanceof MongoNetworkError) return networkFailed(cause)
  return timedOut('No member of the deployment can take the operation now. Check replicaSet and readPreference.', error)
}

function networkFailed(error: MongoNetworkError): ApiError {
  if (error.cause instanceof ApiError) return error.cause
  if (error instanceof MongoNetworkTimeoutError) return timedOut('MongoDB did not answer in time.', error)
  return error.cause === undefined
    ? failed('closed', 'The server closed the connection.', error)
    : connectError(error.cause)
}
