import { Backoff } from '../engines/backoff.ts'
import { ApiError, type ErrorCode } from '../errors.ts'
import { Breaker, type BreakerReport, type BreakerState } from './breaker.ts'
import type { Borrower, LiveSession } from './live-session.ts'
import { outcomeOf, speaksOfStore } from './outcome.ts'

/** What is known of the store of one version of a database: a changed one begins anew. */
export interface Health {
  readonly databaseId: string
  readonly version: number
  readonly breaker: Breaker
  /** Spaces the dials before the breaker opens. */
  readonly dials: Backoff
}

export type BreakerChanged = (databaseId: string, state: BreakerState, code: ErrorCode | undefined) => void

// A server that goes takes all connections with it, and all that was under way on them.
const sameLossMs = 100

const maxKept = 10_000

const nobody: BreakerChanged = () => undefined
const healthy: BreakerReport = { state: 'closed', retry_in_ms: 0, last_code: null }

/** The breakers of all databases that were used since they changed. */
export class Breakers {
  readonly #healths = new Map<string, Health>()
  readonly #changed: BreakerChanged

  /** `changed` is told when a breaker opens and when it closes. */
  constructor(changed: BreakerChanged = nobody) {
    this.#changed = changed
  }

  /** Breakers that are not closed. */
  get open(): number {
    let count = 0
    for (const { breaker } of this.#healths.values()) if (breaker.state !== 'closed') count += 1
    return count
  }

  of(databaseId: string, version: number): Health {
    const known = this.#healths.get(databaseId)
    if (known?.version === version) return known
    const health = { databaseId, version, breaker: new Breaker(), dials: new Backoff() }
    // A row read before the change that is known already.
    if (known && known.version > version) return health
    if (this.#healths.size >= maxKept) this.#sweep()
    this.#healths.set(databaseId, health)
    return health
  }

  report(databaseId: string): BreakerReport {
    return this.#healths.get(databaseId)?.breaker.report ?? healthy
  }

  /** What a borrower was lent a session for is over: answered, or ended by `error`. Where nothing was lent, nothing is noted. */
  settled(borrower: Borrower, error: unknown): void {
    const { lent: session, lentAt, trying } = borrower
    if (session === undefined) return
    borrower.lent = undefined
    const { health } = session
    if (error === undefined && !trying) return health.breaker.answered()
    const now = performance.now()
    if (!trying && error instanceof ApiError && error.code === 'DB_CONNECTION_FAILED') {
      if (health.breaker.knows(error) || now - session.lostAt < sameLossMs) return
      session.lostAt = now
    }
    const outcome = outcomeOf(error, now - lentAt, session.patienceMs)
    if (outcome === 'nothing') {
      if (trying) health.breaker.abandoned()
    } else if (outcome !== 'answered') {
      this.#fail(health, error, { trying, forLong: outcome === 'refused' })
    } else if (trying) this.#close(health)
    else health.breaker.answered()
  }

  /** A connection beside the sessions was answered: the store of this version is back, whatever its breaker waits for. */
  proved(databaseId: string, version: number): void {
    const known = this.#healths.get(databaseId)
    if (known?.version !== version) return
    known.dials.succeeded()
    this.#close(known)
  }

  /** A session could not be opened. */
  dialFailed(health: Health, error: unknown): void {
    if (!speaksOfStore(error)) return health.breaker.abandoned()
    const forLong = error instanceof ApiError && error.code === 'DB_INVALID_CREDENTIALS'
    this.#fail(health, error, { trying: health.breaker.state === 'half_open', forLong })
    if (health.breaker.state === 'closed') health.dials.failed(error)
    else health.dials.succeeded()
  }

  /** The failure of a connection that was lost before anybody could use it. */
  closedAtOnce(session: LiveSession): ApiError {
    const error = new ApiError('DB_CONNECTION_FAILED', 'The server closed the connection.')
    const now = performance.now()
    if (now - session.lostAt >= sameLossMs) this.dialFailed(session.health, error)
    session.lostAt = now
    return error
  }

  dialled(health: Health): void {
    health.dials.succeeded()
  }

  /** Forgets the failures of versions before `version`. */
  forget(databaseId: string, version: number): void {
    const known = this.#healths.get(databaseId)
    if (known && known.version < version) this.#healths.delete(databaseId)
  }

  #fail(health: Health, error: unknown, how: { readonly trying: boolean; readonly forLong: boolean }): void {
    const { breaker } = health
    const before = breaker.state
    breaker.failed(error, how)
    if (before === 'closed' && breaker.state === 'open')
      this.#tell(health, 'open', error instanceof ApiError ? error.code : undefined)
  }

  #close(health: Health): void {
    if (health.breaker.state === 'closed') return health.breaker.answered()
    health.breaker.tried()
    this.#tell(health, 'closed')
  }

  // Of an older version nobody wants to know.
  #tell(health: Health, state: BreakerState, code?: ErrorCode): void {
    if (this.#healths.get(health.databaseId) === health) this.#changed(health.databaseId, state, code)
  }

  #sweep(): void {
    for (const [id, { breaker }] of this.#healths) if (breaker.pristine) this.#healths.delete(id)
  }
}
