import { type Call, callWithin, type Limits, type Session, untilAborted } from '../engines/engine.ts'
import type { Health } from './breakers.ts'
import type { DatabaseRow } from './database.ts'

const closeTimeoutMs = 5_000
const longestPatienceMs = 1_000

/** A session on loan: disposing it returns the loan, at once, and never closes the session. */
export type Lease<S extends Session> = S & Disposable

/** Whoever is lent a session and tells `Connections.settled` in the end how it went. */
export interface Borrower {
  lent: LiveSession | undefined
  /** In `performance.now()` milliseconds. */
  lentAt: number
  /** Whether it tries a store whose breaker was open. */
  trying: boolean
}

/** A request's own call is its borrower. */
export function borrowerOf(call: Call): Borrower | undefined {
  return 'trying' in call ? (call as Call & Borrower) : undefined
}

/** Notes in the borrower what it was lent. */
export function note(borrower: Borrower, session: LiveSession, trying: boolean): void {
  borrower.lent = session
  borrower.lentAt = performance.now()
  borrower.trying = trying
}

/** One session of this process, from the wait for its slot until its sockets are gone. */
export interface LiveSession {
  readonly databaseId: string
  readonly kind: string
  readonly version: number
  readonly session: Promise<Session>
  /** Ends the wait for a slot, or a connection that is still being made. */
  readonly abort: AbortController
  readonly health: Health
  /** Silence for less says nothing about the store: the caller was in a hurry. */
  readonly patienceMs: number
  /** The session once it is there. */
  live: Session | undefined
  /** When a loss of its connections was counted last, in `performance.now()` milliseconds. */
  lostAt: number
  hasSlot: boolean
  leases: number
  draining: boolean
  /** When its last lease came back, in `performance.now()` milliseconds. */
  idleSince: number
  idleTimer: ReturnType<typeof setTimeout> | undefined
}

export function newLiveSession(
  row: DatabaseRow,
  health: Health,
  limits: Limits,
  session: Promise<Session>,
): LiveSession {
  return {
    databaseId: row.id,
    kind: row.type,
    version: row.version,
    session,
    abort: new AbortController(),
    health,
    patienceMs: Math.min(longestPatienceMs, limits.commandTimeoutMs / 4),
    live: undefined,
    lostAt: Number.NEGATIVE_INFINITY,
    hasSlot: false,
    leases: 0,
    draining: false,
    idleSince: 0,
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
  /** Databases whose circuit breaker is not closed. */
  readonly open: number
}

/** The session itself, but for its disposal, which calls `release` once. */
export function lend<S extends Session>(session: S, release: () => void): Lease<S> {
  let returned = false
  const dispose = () => {
    if (returned) return
    returned = true
    release()
  }
  const lease = Object.create(session)
  lease[Symbol.dispose] = dispose
  lease[Symbol.asyncDispose] = async () => dispose()
  return lease
}

/** Sessions of a kind that nobody has borrowed, the one idle longest first. */
export function idleOf(sessions: Iterable<LiveSession>, kind: string): readonly LiveSession[] {
  return [...sessions]
    .filter((entry) => entry.kind === kind && entry.leases === 0 && entry.live !== undefined)
    .sort((one, other) => one.idleSince - other.idleSince)
}

/** The sessions with a connection, and how often they are lent. */
export function countSessions(sessions: readonly LiveSession[]): Pick<ConnectionMetrics, 'live' | 'leased'> {
  return {
    live: sessions.filter(({ live }) => live !== undefined).length,
    leased: sessions.reduce((sum, { leases }) => sum + leases, 0),
  }
}

/**
 * Calls `expired` when nobody has borrowed the session for so long. One timer for its life, which looks when it was last given back: a new
 * one for each request would cost them more.
 */
export function watchIdle(
  session: LiveSession,
  idleTimeoutMs: number,
  expired: () => void,
  afterMs = idleTimeoutMs,
): void {
  session.idleTimer = setTimeout(() => {
    const leftMs = session.leases > 0 ? idleTimeoutMs : session.idleSince + idleTimeoutMs - performance.now()
    if (leftMs > 0) watchIdle(session, idleTimeoutMs, expired, leftMs)
    else expired()
  }, afterMs)
  session.idleTimer.unref()
}

/** Closes a session, if it ever opened; a server that never says goodbye must not keep its slot for ever. */
export async function closeInTime({ session }: LiveSession): Promise<boolean> {
  const opened = await session.catch(() => undefined)
  if (opened === undefined) return false
  using limit = callWithin(closeTimeoutMs)
  await untilAborted(opened.close(), limit.signal).catch(() => undefined)
  return true
}
