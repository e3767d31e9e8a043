import { type Engine, type Limits, type Session, type Call, untilAborted } from '../engines/engine.ts'
import { ApiError } from '../errors.ts'
import { type BreakerChanged, Breakers } from './breakers.ts'
import type { DatabaseRow } from './database.ts'
import {
  type Borrower,
  borrowerOf,
  closeInTime,
  type ConnectionMetrics,
  countSessions,
  idleOf,
  type Lease,
  lend,
  type LiveSession,
  newLiveSession,
  note,
  watchIdle,
} from './live-session.ts'
import { dial } from './session-dial.ts'
import { SlotsByKind } from './slots.ts'
import type { Targets } from './targets.ts'

export interface ConnectionsOptions {
  /** A row by id, from the registry or a cache of it. */
  readonly row: (id: string, call: Call) => DatabaseRow | undefined | Promise<DatabaseRow | undefined>
  readonly targets: Targets
  readonly limitsOf: (kind: string) => Limits
  /** Sessions of an engine that may live at once. */
  readonly maxSessionsOf: (kind: string) => number
  /** Engines switched off by the configuration. */
  readonly disabled: ReadonlySet<string>
  readonly breakerChanged?: BreakerChanged
}

/**
 * One live session per (database id, version). A new version makes a new session and drains the old one; a session whose connection was
 * lost is replaced at the next `open`, held back by its `Breaker` when the store fails. A session is in one of three places: current in
 * `#entries`, in `#draining` while it is still lent, in `#closing` until its sockets are gone and its slot is free.
 */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #entries = new Map<string, LiveSession>()
  readonly #draining = new Set<LiveSession>()
  readonly #closing = new Map<LiveSession, Promise<void>>()
  readonly #breakers: Breakers
  readonly #slots: SlotsByKind
  readonly #counts = { opened: 0, closed: 0, failed: 0, evicted: 0 }
  #ended = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
    this.#breakers = new Breakers(options.breakerChanged)
    this.#slots = new SlotsByKind(options)
  }

  /** Sessions in use or in the making, draining ones included. */
  get size(): number {
    return this.#entries.size + this.#draining.size
  }

  metrics(): ConnectionMetrics {
    const draining = [...this.#draining, ...this.#closing.keys()]
    const counted = { ...this.#counts, ...countSessions([...this.#entries.values(), ...draining]) }
    return { ...counted, draining: draining.length, waiting: this.#slots.waiting, open: this.#breakers.open }
  }

  /** The circuit breaker of a database; it is told when a test of the connection succeeded. */
  readonly stateOf: Breakers['report'] = (databaseId) => this.#breakers.report(databaseId)
  readonly proved: Breakers['proved'] = (databaseId, version) => this.#breakers.proved(databaseId, version)

  /**
   * Lends a session, at once and without a promise where row and session are there. `DB_NOT_FOUND` also for another engine's id;
   * `DB_UNAVAILABLE`, or what only the owner can mend, while the breaker is open.
   */
  open<S extends Session>(
    engine: Engine<string, S>,
    databaseId: string,
    call: Call,
    borrower = borrowerOf(call),
  ): Lease<S> | Promise<Lease<S>> {
    const row = this.#options.row(databaseId, call)
    if (!(row instanceof Promise)) return this.#lend(engine, databaseId, row, call, borrower)
    return row.then((found) => this.#lend(engine, databaseId, found, call, borrower))
  }

  #lend<S extends Session>(
    engine: Engine<string, S>,
    databaseId: string,
    row: DatabaseRow | undefined,
    call: Call,
    borrower: Borrower | undefined,
  ): Lease<S> | Promise<Lease<S>> {
    if (row === undefined) this.drain(databaseId)
    if (row?.type !== engine.kind) throw databaseNotFound()
    if (this.#options.disabled.has(engine.kind)) throw featureDisabled(engine)
    if (this.#ended) throw new ApiError('DB_CONNECTION_FAILED', 'This server is stopping. Try again.')
    // A second attempt of the request that tries is the try still.
    if (borrower?.trying) borrower.lent?.health.breaker.abandoned()
    const entry = this.#entryOf(engine, row, call)
    const { breaker } = entry.health
    // All others were refused.
    const trying = breaker.state === 'half_open'
    entry.leases += 1
    const lendOut = (session: S) => {
      if (session.closed) {
        this.#startDraining(entry)
        throw this.#breakers.closedAtOnce(entry)
      }
      if (borrower) note(borrower, entry, trying)
      return lend(session, () => {
        if (trying && borrower === undefined) breaker.abandoned()
        if (session.closed) this.#startDraining(entry)
        this.#giveBack(entry)
      })
    }
    const fail = (error: unknown) => {
      if (trying) breaker.abandoned()
      this.#giveBack(entry)
      if (!call.signal.aborted) throw error
      throw new ApiError('DB_TIMEOUT', 'The database could not be connected in time.', { cause: error })
    }
    if (entry.live) return lendOut(entry.live as S)
    // Single flight: the connection goes on for the others when this caller leaves.
    return untilAborted(entry.session as Promise<S>, call.signal)
      .then(lendOut)
      .catch(fail)
  }

  /** To be told of every request that may have been lent a session, when it ends: by `error` where it failed. A stream tells it at its end. */
  settled(borrower: Borrower, error?: unknown): void {
    this.#breakers.settled(borrower, error)
  }

  /** Ends the sessions of a database that changed or is gone: lent ones when they return. Those of `version` and newer stay. */
  drain(databaseId: string, version = Number.POSITIVE_INFINITY): void {
    const entry = this.#entries.get(databaseId)
    if (entry && entry.version < version) this.#startDraining(entry)
    this.#breakers.forget(databaseId, version)
  }

  /** Closes everything at shutdown, lent sessions too. */
  async close(): Promise<void> {
    this.#ended = true
    for (const entry of this.#entries.values()) this.#startDraining(entry)
    for (const entry of this.#draining) this.#end(entry)
    await Promise.allSettled(this.#closing.values())
  }

  /** Throws where the breaker is open, or a failed dial is too fresh for another. */
  #entryOf(engine: Engine, row: DatabaseRow, call: Call): LiveSession {
    const present = this.#entries.get(row.id)
    const isNewest = present !== undefined && present.version >= row.version
    if (isNewest && !present.live?.closed) {
      if (present.health.breaker.state !== 'closed') present.health.breaker.admit(call.deadline)
      return present
    }
    if (present) this.#startDraining(present)
    const health = isNewest ? present.health : this.#breakers.of(row.id, row.version)
    if (!health.breaker.admit(call.deadline)) health.dials.check()
    const { promise, resolve, reject } = Promise.withResolvers<Session>()
    const entry = newLiveSession(row, health, this.#options.limitsOf(engine.kind), promise)
    this.#entries.set(row.id, entry)
    // Before anybody else waits for it, so that all find it noted.
    promise.then(
      (session) => this.#opened(entry, session),
      (error: unknown) => this.#failed(entry, error),
    )
    const slots = this.#slots.of(engine.kind)
    dial(engine, row, entry, this.#options, slots, () => this.#makeRoom(engine.kind)).then(resolve, reject)
    return entry
  }

  #opened(entry: LiveSession, session: Session): void {
    entry.live = session
    this.#counts.opened += 1
    this.#breakers.dialled(entry.health)
    if (entry.leases === 0) this.#makeRoom(entry.kind)
  }

  #failed(entry: LiveSession, error: unknown): void {
    // Given up by us: that says nothing about the store, nor does a full process.
    if (!entry.abort.signal.aborted) {
      this.#counts.failed += 1
      if (!entry.draining) this.#breakers.dialFailed(entry.health, error)
    }
    this.#startDraining(entry)
  }

  /** Ends idle sessions of this kind, the one idle longest first, while more wait for a slot than are coming free. */
  #makeRoom(kind: string): void {
    const slots = this.#slots.of(kind)
    if (slots.waiting === 0) return
    const coming = [...this.#closing.keys()].filter((entry) => entry.kind === kind && entry.hasSlot).length
    const idle = idleOf(this.#entries.values(), kind)
    for (const entry of idle.slice(0, Math.max(0, slots.waiting - coming))) {
      this.#counts.evicted += 1
      this.#startDraining(entry)
    }
  }

  #giveBack(entry: LiveSession): void {
    entry.leases -= 1
    if (entry.leases > 0) return
    if (entry.draining) return this.#end(entry)
    // It still waits for a slot, for nobody.
    if (!entry.hasSlot) return this.#startDraining(entry)
    entry.idleSince = performance.now()
    if (entry.idleTimer === undefined)
      watchIdle(entry, this.#options.limitsOf(entry.kind).idleTimeoutMs, () => this.#startDraining(entry))
    this.#makeRoom(entry.kind)
  }

  #startDraining(entry: LiveSession): void {
    if (entry.draining) return
    clearTimeout(entry.idleTimer)
    this.#entries.delete(entry.databaseId)
    this.#draining.add(entry)
    entry.draining = true
    if (entry.leases === 0) this.#end(entry)
  }

  #end(entry: LiveSession): void {
    if (!this.#draining.delete(entry)) return
    entry.abort.abort()
    this.#closing.set(
      entry,
      this.#closeSession(entry).finally(() => this.#closing.delete(entry)),
    )
  }

  // The slot comes free only when the sockets are gone. One that never opened has given its slot back already.
  async #closeSession(entry: LiveSession): Promise<void> {
    if (!(await closeInTime(entry))) return
    this.#counts.closed += 1
    this.#slots.free(entry)
  }
}

/** Unknown, another project's and another engine's ids answer alike. */
export function databaseNotFound(): ApiError {
  return new ApiError('DB_NOT_FOUND', 'There is no such database.')
}

export function featureDisabled(engine: Engine): ApiError {
  return new ApiError('FEATURE_DISABLED', `${engine.label} is switched off on this server.`)
}
