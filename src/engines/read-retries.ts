import type { Call, Engine, Session } from './engine.ts'
import { remainingMs } from './engine.ts'

// 10 % of a database's reads, and a few at once after a quiet time: a store that is going down must not get twice the load.
const earnedPerRead = 0.1
const maxSaved = 5
const maxDatabases = 10_000

const unanswered = new WeakSet<object>()

/** Marks an error of a connection that was lost before the server said a word to the request: it may be sent again if it only reads. */
export function lostUnanswered<E extends object>(error: E): E {
  unanswered.add(error)
  return error
}

export interface ReadRetriesOptions {
  readonly open: <S extends Session>(
    engine: Engine<string, S>,
    databaseId: string,
    call: Call,
  ) => (S & Disposable) | Promise<S & Disposable>
}

/** Runs work on a session that is lent for it; throws as the work does. */
export type Work = <S extends Session, T>(
  engine: Engine<string, S>,
  databaseId: string,
  call: Call,
  work: (session: S) => Promise<T>,
) => Promise<T>

/**
 * Reads that are tried once more when their connection turned out lost before any reply: on a session opened anew, within the same
 * deadline, and within a budget of each database. For idempotent reads alone; what was answered in part is not asked again.
 */
export function createReadRetries({ open }: ReadRetriesOptions): Work {
  const saved = new Map<string, number>()
  return function read(engine, databaseId, call, work) {
    const tokens = saved.get(databaseId) ?? maxSaved
    if (tokens < maxSaved) saved.set(databaseId, Math.min(maxSaved, tokens + earnedPerRead))
    const again = async (error: unknown) => {
      if (!isLost(error) || !spend(databaseId) || call.signal.aborted || remainingMs(call) === 0) throw error
      using session = await open(engine, databaseId, call)
      return await work(session)
    }
    const lent = open(engine, databaseId, call)
    return lent instanceof Promise ? lent.then((session) => once(session, work, again)) : once(lent, work, again)
  }

  function spend(databaseId: string): boolean {
    const left = saved.get(databaseId) ?? maxSaved
    if (left < 1) return false
    if (saved.size >= maxDatabases) saved.clear()
    saved.set(databaseId, left - 1)
    return true
  }
}

/** Work that is not tried again. */
export function createWork({ open }: ReadRetriesOptions): Work {
  const rethrow = (error: unknown) => Promise.reject(error)
  return function use(engine, databaseId, call, work) {
    const lent = open(engine, databaseId, call)
    return lent instanceof Promise ? lent.then((session) => once(session, work, rethrow)) : once(lent, work, rethrow)
  }
}

/** Without an async function: on the hottest routes its promises cost more than what they wait for. */
function once<S extends Disposable, T>(
  session: S,
  work: (session: S) => Promise<T>,
  failed: (error: unknown) => Promise<T>,
): Promise<T> {
  let working: Promise<T>
  try {
    working = work(session)
  } catch (error) {
    session[Symbol.dispose]()
    throw error
  }
  return working.then(
    (value) => {
      session[Symbol.dispose]()
      return value
    },
    (error: unknown) => {
      session[Symbol.dispose]()
      return failed(error)
    },
  )
}

function isLost(error: unknown): boolean {
  return typeof error === 'object' && error !== null && unanswered.has(error)
}
