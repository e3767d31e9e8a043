import { ApiError } from '../errors.ts'

export interface LoadOptions {
  /** `MAX_IN_FLIGHT`. */
  readonly maxInFlight: number
  /** `MAX_DATABASE_IN_FLIGHT`. */
  readonly maxPerDatabase: number
  /** `MAX_STREAMS`. */
  readonly maxStreams: number
  /** `MAX_DATABASE_STREAMS`. */
  readonly maxStreamsPerDatabase: number
}

/**
 * How many requests run now, in the process and on each database. What is above a cap is refused at once instead of waiting: a queue
 * in front of a full server only makes every answer late. Each `enter` that returned needs its one `leave`.
 */
export interface Load {
  readonly inFlight: number
  /** Databases with a request now. */
  readonly busyDatabases: number
  /** Throws `OVERLOADED`. */
  enter(): void
  leave(): void
  /** Throws `OVERLOADED`: one flooded database leaves room for the others. */
  enterDatabase(id: string): void
  leaveDatabase(id: string): void
  /** Throws `OVERLOADED`. Streams last, so that they are not among the requests at work. */
  enterStream(databaseId: string): void
  leaveStream(databaseId: string): void
}

export function createLoad({ maxInFlight, maxPerDatabase, maxStreams, maxStreamsPerDatabase }: LoadOptions): Load {
  const databases = new Map<string, number>()
  const streams = new Map<string, number>()
  let inFlight = 0
  let streaming = 0
  return {
    get inFlight() {
      return inFlight
    },
    get busyDatabases() {
      return databases.size
    },
    enter() {
      if (inFlight >= maxInFlight)
        throw new ApiError('OVERLOADED', `The server has ${maxInFlight} requests at work, its most. Try again shortly.`)
      inFlight++
    },
    leave() {
      inFlight--
    },
    enterDatabase(id) {
      if (count(databases, id, maxPerDatabase)) return
      const message = `This database has ${maxPerDatabase} requests at work, the most one may have. Try again shortly.`
      throw new ApiError('OVERLOADED', message)
    },
    leaveDatabase(id) {
      uncount(databases, id)
    },
    enterStream(id) {
      if (streaming >= maxStreams || !count(streams, id, maxStreamsPerDatabase))
        throw new ApiError('OVERLOADED', 'As many streams are open as there may be. End one, or try again later.')
      streaming++
    },
    leaveStream(id) {
      streaming--
      uncount(streams, id)
    },
  }
}

/** Whether one more was within the limit, and is counted. */
function count(running: Map<string, number>, id: string, limit: number): boolean {
  const before = running.get(id) ?? 0
  if (before >= limit) return false
  running.set(id, before + 1)
  return true
}

// Ids are the callers': none is kept that nobody uses.
function uncount(running: Map<string, number>, id: string): void {
  const before = running.get(id) ?? 0
  if (before > 1) running.set(id, before - 1)
  else running.delete(id)
}
