import type { Session } from '../engines/engine.ts'
import type { DatabaseRow } from './database.ts'

/** A session on loan: disposing it returns the loan and never closes the session. */
export type Lease<S extends Session> = S

/** One session of this process, from the wait for its slot until its sockets are gone. */
export interface LiveSession {
  readonly databaseId: string
  readonly kind: string
  readonly version: number
  readonly session: Promise<Session>
  /** Ends the wait for a slot, or a connection that is still being made. */
  readonly abort: AbortController
  /** The session once it is there. */
  live: Session | undefined
  hasSlot: boolean
  leases: number
  draining: boolean
  idleTimer: ReturnType<typeof setTimeout> | undefined
}

export function newLiveSession(row: DatabaseRow, session: Promise<Session>): LiveSession {
  return {
    databaseId: row.id,
    kind: row.type,
    version: row.version,
    session,
    abort: new AbortController(),
    live: undefined,
    hasSlot: false,
    leases: 0,
    draining: false,
    idleTimer: undefined,
  }
}

/** Figures of the sessions in this process: `opened` − `closed` = `live`, also while some are `draining`. */
export interface ConnectionMetrics {
  readonly live: number
  readonly leased: number
  readonly draining: number
  readonly waiting: number
  readonly opened: number
  readonly closed: number
  readonly failed: number
  readonly evicted: number
}

/** The session itself, but for its disposal, which calls `release` once. */
export function lend<S extends Session>(session: S, release: () => void): Lease<S> {
  let returned = false
  const dispose = async () => {
    if (returned) return
    returned = true
    release()
  }
  return Object.create(session, { [Symbol.asyncDispose]: { value: dispose } }) as S
}
