import { callWithin, type Engine, type Limits, type Session, type Call, untilAborted } from '../engines/engine.ts'
import { ApiError } from '../errors.ts'
import { Backoffs } from './backoffs.ts'
import type { DatabaseRow } from './database.ts'
import { type ConnectionMetrics, type Lease, lend, type LiveSession, newLiveSession } from './live-session.ts'
import { Slots } from './slots.ts'
import type { Targets } from './targets.ts'

export interface ConnectionsOptions {
  /** A row by id, from the registry or a cache of it. */
  readonly row: (id: string) => Promise<DatabaseRow | undefined>
  readonly targets: Targets
  readonly limitsOf: (kind: string) => Limits
  /** Sessions of an engine that may live at once. */
  readonly maxSessionsOf: (kind: string) => number
  /** Engines switched off by the configuration. */
  readonly disabled: ReadonlySet<string>
}

// A server that never says goodbye must not keep its slot for ever.
const closeTimeoutMs = 5_000

/**
 * One live session per (database id, version). A new version makes a new session and drains the old one; a session whose connection was
 * lost is replaced at the next `open`, held back by `Backoff` when the store refuses. A session is in one of three places: current in
 * `#entries`, in `#draining` while it is still lent, in `#closing` until its sockets are gone and its slot is free.
 */
export class Connections {
  readonly #options: ConnectionsOptions
  /** The one idle longest comes first. */
  readonly #entries = new Map<string, LiveSession>()
  readonly #draining = new Set<LiveSession>()
  readonly #closing = new Map<LiveSession, Promise<void>>()
  readonly #backoffs = new Backoffs()
  readonly #slots = new Map<string, Slots>()
  readonly #counts = { opened: 0, closed: 0, failed: 0, evicted: 0 }
  #ended = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** Sessions in use or in the making, draining ones included. */
  get size(): number {
    return this.#entries.size + this.#draining.size
  }

  metrics(): ConnectionMetrics {
    const all = [...this.#entries.values(), ...this.#draining, ...this.#closing.keys()]
    return {
      live: all.filter((entry) => entry.live !== undefined).length,
      leased: all.reduce((sum, entry) => sum + entry.leases, 0),
      draining: this.#draining.size + this.#closing.size,
      waiting: [...this.#slots.values()].reduce((sum, slots) => sum + slots.waiting, 0),
      ...this.#counts,
    }
  }

  /** Lends the session of a registered database. `DB_NOT_FOUND` for an unknown id and for another engine's. */
  async open<S extends Session>(engine: Engine<string, S>, databaseId: string, call: Call): Promise<Lease<S>> {
    const row = await this.#options.row(databaseId)
    if (row === undefined) this.drain(databaseId)
    if (row?.type !== engine.kind) throw databaseNotFound()
    if (this.#options.disabled.has(engine.kind)) throw featureDisabled(engine)
    if (this.#ended) throw new ApiError('DB_CONNECTION_FAILED', 'This server is stopping. Try again.')
    const entry = this.#entryOf(engine, row)
    entry.leases += 1
    clearTimeout(entry.idleTimer)
    try {
      // Single flight: the connection goes on for the others when this caller leaves.
      const session = (await untilAborted(entry.session, call.signal)) as S
      if (session.closed) {
        this.#forget(entry)
        throw new ApiError('DB_CONNECTION_FAILED', 'The server closed the connection.')
      }
      return lend(session, () => {
        if (session.closed) this.#forget(entry)
        this.#giveBack(entry)
      })
    } catch (error) {
      this.#giveBack(entry)
      if (call.signal.aborted)
        throw new ApiError('DB_TIMEOUT', 'The database could not be connected in time.', { cause: error })
      throw error
    }
  }

  /** Ends the sessions of a database that changed or is gone: lent ones when they return. Those of `version` and newer stay. */
  drain(databaseId: string, version = Number.POSITIVE_INFINITY): void {
    const entry = this.#entries.get(databaseId)
    if (entry && entry.version < version) this.#startDraining(entry)
    this.#backoffs.forget(databaseId)
  }

  /** Closes everything at shutdown, lent sessions too. */
  async close(): Promise<void> {
    this.#ended = true
    for (const entry of this.#entries.values()) this.#startDraining(entry)
    for (const entry of this.#draining) this.#end(entry)
    await Promise.allSettled(this.#closing.values())
  }

  #entryOf(engine: Engine, row: DatabaseRow): LiveSession {
    const present = this.#entries.get(row.id)
    if (present && present.version >= row.version && !present.live?.closed) return present
    if (present) this.#startDraining(present)
    this.#backoffs.check(row.id, row.version)
    const { promise, resolve, reject } = Promise.withResolvers<Session>()
    const entry = newLiveSession(row, promise)
    this.#entries.set(row.id, entry)
    // Before anybody else waits for it, so that all find it noted.
    promise.then(
      (session) => this.#opened(entry, session),
      (error: unknown) => this.#failed(entry, error),
    )
    this.#connect(engine, row, entry).then(resolve, reject)
    return entry
  }

  async #connect(engine: Engine, row: DatabaseRow, entry: LiveSession): Promise<Session> {
    const { targets, limitsOf } = this.#options
    const { signal } = entry.abort
    const limits = limitsOf(engine.kind)
    const target = targets.bind(await targets.describe(engine, row))
    using waiting = callWithin(limits.waitTimeoutMs, signal)
    await this.#slotsOf(engine.kind).take(waiting, () => this.#makeRoom(engine.kind))
    entry.hasSlot = true
    try {
      using connecting = callWithin(limits.connectTimeoutMs, signal)
      return await engine.connect(target, limits, connecting)
    } catch (error) {
      this.#freeSlot(entry)
      throw error
    }
  }

  #opened(entry: LiveSession, session: Session): void {
    entry.live = session
    this.#counts.opened += 1
    if (!entry.draining) this.#backoffs.forget(entry.databaseId)
    if (entry.leases === 0) this.#makeRoom(entry.kind)
  }

  #failed(entry: LiveSession, error: unknown): void {
    // Given up by us: that says nothing about the store, nor does a full process.
    const isStores = !(error instanceof ApiError && error.code === 'POOL_EXHAUSTED')
    if (!entry.abort.signal.aborted) {
      this.#counts.failed += 1
      if (isStores && !entry.draining) this.#backoffs.failed(entry.databaseId, entry.version, error)
    }
    this.#forget(entry)
  }

  #slotsOf(kind: string): Slots {
    const known = this.#slots.get(kind)
    if (known) return known
    const slots = new Slots(this.#options.maxSessionsOf(kind), this.#options.limitsOf(kind).waitTimeoutMs)
    this.#slots.set(kind, slots)
    return slots
  }

  #freeSlot(entry: LiveSession): void {
    if (!entry.hasSlot) return
    entry.hasSlot = false
    this.#slotsOf(entry.kind).give()
  }

  /** Ends idle sessions of this kind, the one idle longest first, while more wait for a slot than are coming free. */
  #makeRoom(kind: string): void {
    const slots = this.#slotsOf(kind)
    if (slots.waiting === 0) return
    const coming = [...this.#closing.keys()].filter((entry) => entry.kind === kind && entry.hasSlot).length
    const idle = [...this.#entries.values()].filter(
      (entry) => entry.kind === kind && entry.leases === 0 && entry.live !== undefined,
    )
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
    this.#entries.delete(entry.databaseId)
    this.#entries.set(entry.databaseId, entry)
    entry.idleTimer = setTimeout(() => this.#forget(entry), this.#options.limitsOf(entry.kind).idleTimeoutMs)
    entry.idleTimer.unref()
    this.#makeRoom(entry.kind)
  }

  #forget(entry: LiveSession): void {
    if (!entry.draining) this.#startDraining(entry)
  }

  #startDraining(entry: LiveSession): void {
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
    const session = await entry.session.catch(() => undefined)
    if (session === undefined) return
    using limit = callWithin(closeTimeoutMs)
    await untilAborted(session.close(), limit.signal).catch(() => undefined)
    this.#counts.closed += 1
    this.#freeSlot(entry)
  }
}

/** Unknown, another project's and another engine's ids answer alike. */
export function databaseNotFound(): ApiError {
  return new ApiError('DB_NOT_FOUND', 'There is no such database.')
}

export function featureDisabled(engine: Engine): ApiError {
  return new ApiError('FEATURE_DISABLED', `${engine.label} is switched off on this server.`)
}
