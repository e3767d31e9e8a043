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
  ) => Promise<S & Disposable>
}

/** Runs work that only reads; throws as the work does. */
export type ReadWork = <S extends Session, T>(
  engine: Engine<string, S>,
  databaseId: string,
  call: Call,
  work: (session: S) => Promise<T>,
) => Promise<T>

/**
 * Reads that are tried once more when their connection turned out lost before any reply: on a session opened anew, within the same
 * deadline, and within a budget of each database. For idempotent reads alone; what was answered in part is not asked again.
 */
export function createReadRetries({ open }: ReadRetriesOptions): ReadWork {
  const saved = new Map<string, number>()
  return async function read(engine, databaseId, call, work) {
    const tokens = saved.get(databaseId) ?? maxSaved
    if (tokens < maxSaved) saved.set(databaseId, Math.min(maxSaved, tokens + earnedPerRead))
    let opened = false
    try {
      using session = await open(engine, databaseId, call)
      opened = true
      return await work(session)
    } catch (error) {
      if (!opened || !isLost(error) || !spend(databaseId) || call.signal.aborted || remainingMs(call) === 0) throw error
    }
    using session = await open(engine, databaseId, call)
    return await work(session)
  }

  function spend(databaseId: string): boolean {
    const left = saved.get(databaseId) ?? maxSaved
    if (left < 1) return false
    if (saved.size >= maxDatabases) saved.clear()
    saved.set(databaseId, left - 1)
    return true
  }
}

function isLost(error: unknown): boolean {
  return typeof error === 'object' && error !== null && unanswered.has(error)
}
