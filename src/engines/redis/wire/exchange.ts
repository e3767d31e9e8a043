import type { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Receiver, Reply } from './batch.ts'
import type { Commands, Effect } from '../commands.ts'
import { Deadlines, type Waiting } from './deadlines.ts'
import { replyCode } from '../errors.ts'
import type { Wire } from './wire.ts'

/** What the owner of a connection has to say of the ends of its exchanges. */
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
  readonly effect: Effect
  /** In `performance.now()` milliseconds. */
  readonly sent: number
}

/** The commands of one connection. */
export function createExchanges(wire: Wire, owner: ExchangeOwner): Commands {
  const deadlines = new Deadlines()
  return {
    send(call, effect, ...commands) {
      const pending = new Pending(owner, deadlines, call, effect, false)
      wire.send(commands, pending)
      return pending.promise
    },
    each(call, effect, ...commands) {
      const pending = new Pending(owner, deadlines, call, effect, true)
      wire.send(commands, pending)
      return pending.promise.then((replies) =>
        replies.map((reply) => (reply instanceof Error ? { error: owner.failed(pending, reply) } : { reply })),
      )
    },
  }
}

/** No signal: a command can not be taken back when its caller leaves, and is over in a moment. */
class Pending implements Exchange, Receiver, Waiting {
  readonly promise: Promise<readonly Reply[]>
  readonly effect: Effect
  readonly sent = performance.now()
  readonly until: number
  readonly #owner: ExchangeOwner
  readonly #deadlines: Deadlines
  readonly #errorsInPlace: boolean
  readonly #resolve: (value: readonly Reply[]) => void
  readonly #reject: (reason: unknown) => void

  constructor(owner: ExchangeOwner, deadlines: Deadlines, call: Call, effect: Effect, errorsInPlace: boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Reply[]>()
    this.promise = promise
    this.#resolve = resolve
    this.#reject = reject
    this.effect = effect
    this.until = Math.min(this.sent + owner.commandTimeoutMs, call.deadline)
    this.#owner = owner
    this.#deadlines = deadlines
    this.#errorsInPlace = errorsInPlace
    deadlines.add(this)
  }

  answer(replies: readonly Reply[], failure: unknown): void {
    this.#deadlines.delete(this)
    if (failure === undefined) {
      this.#owner.answered()
      this.#resolve(replies)
      return
    }
    const failed = this.#owner.failed(this, failure)
    // What ended the connection is no command's own error.
    if (this.#errorsInPlace && replyCode(failure) !== undefined) this.#resolve(replies)
    else this.#reject(failed)
  }

  expire(): void {
    this.#reject(this.#owner.late(this, this.until >= this.sent + this.#owner.commandTimeoutMs))
  }
}
