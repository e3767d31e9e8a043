import type { Redis } from 'ioredis'
import type { ApiError } from '../../errors.ts'
import type { Call } from '../engine.ts'
import { type BatchCommand, type Reply, sendBatch } from './batch.ts'
import { Deadlines, type Waiting } from './deadlines.ts'

/** What a session has to say of the ends of its exchanges. */
export interface ExchangeOwner {
  readonly commandTimeoutMs: number
  /** Something was answered, an error too. */
  answered(): void
  /** Nothing in time; `waitedLong` where that was the command's own limit and not the caller's. */
  late(exchange: Exchange, waitedLong: boolean): ApiError
  failed(exchange: Exchange, error: unknown): ApiError
}

/** One send and its reply. */
export interface Exchange {
  readonly readOnly: boolean
  /** In `performance.now()` milliseconds. */
  readonly sent: number
}

/** Sends to a server and waits, each exchange no longer than the command's limit and its caller's deadline. */
export interface Exchanges {
  run<T>(call: Call, readOnly: boolean, command: () => Promise<T>): Promise<T>
  /** The same for commands whose replies are taken as they are, all in one go. */
  send(call: Call, readOnly: boolean, ...commands: readonly BatchCommand[]): Promise<readonly Reply[]>
}

export function createExchanges(client: Redis, owner: ExchangeOwner): Exchanges {
  const deadlines = new Deadlines()
  return {
    run<T>(call: Call, readOnly: boolean, command: () => Promise<T>) {
      const pending = new Pending<T>(owner, deadlines, call, readOnly)
      command().then(
        (reply) => pending.answer(reply),
        (error: unknown) => pending.fail(error),
      )
      return pending.promise
    },
    send(call, readOnly, ...commands) {
      const pending = new Pending<readonly Reply[]>(owner, deadlines, call, readOnly)
      sendBatch(client, commands, pending)
      return pending.promise
    },
  }
}

/** No signal: a command can not be taken back when its caller leaves, and is over in a moment. */
class Pending<T> implements Exchange, Waiting {
  readonly promise: Promise<T>
  readonly readOnly: boolean
  readonly sent = performance.now()
  readonly until: number
  readonly #owner: ExchangeOwner
  readonly #deadlines: Deadlines
  readonly #resolve: (value: T) => void
  readonly #reject: (reason: unknown) => void

  constructor(owner: ExchangeOwner, deadlines: Deadlines, call: Call, readOnly: boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.promise = promise
    this.#resolve = resolve
    this.#reject = reject
    this.readOnly = readOnly
    this.until = Math.min(this.sent + owner.commandTimeoutMs, call.deadline)
    this.#owner = owner
    this.#deadlines = deadlines
    deadlines.add(this)
  }

  answer(value: T): void {
    this.#deadlines.delete(this)
    this.#owner.answered()
    this.#resolve(value)
  }

  fail(error: unknown): void {
    this.#deadlines.delete(this)
    this.#reject(this.#owner.failed(this, error))
  }

  expire(): void {
    this.#reject(this.#owner.late(this, this.until >= this.sent + this.#owner.commandTimeoutMs))
  }
}
