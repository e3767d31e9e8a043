import { ApiError } from '../errors.ts'

export interface LoadOptions {
  /** `MAX_IN_FLIGHT`. */
  readonly maxInFlight: number
  /** `MAX_DATABASE_IN_FLIGHT`. */
  readonly maxPerDatabase: number
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
}

export function createLoad({ maxInFlight, maxPerDatabase }: LoadOptions): Load {
  const databases = new Map<string, number>()
  let inFlight = 0
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
      const running = databases.get(id) ?? 0
      if (running >= maxPerDatabase) {
        const message = `This database has ${maxPerDatabase} requests at work, the most one may have. Try again shortly.`
        throw new ApiError('OVERLOADED', message)
      }
      databases.set(id, running + 1)
    },
    leaveDatabase(id) {
      const running = databases.get(id) ?? 0
      // Ids are the callers': none is kept that nobody uses.
      if (running > 1) databases.set(id, running - 1)
      else databases.delete(id)
    },
  }
}
