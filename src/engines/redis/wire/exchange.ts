import type { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Receiver, Reply } from './batch.ts'
import type { Commands, Effect } from '../commands.ts'
import { Deadlines } from './deadlines.ts'
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
export function createExchanges(wire: Wire<Pending>, owner: ExchangeOwner): Commands {
  const deadlines = new Deadlines(wire)
  return {
    send(call, effect, ...commands) {
      const pending = new Pending(owner, call, effect, commands.length, false)
      wire.send(commands, pending)
      deadlines.watch()
      return pending.promise
    },
    each(call, effect, ...commands) {
      const pending = new Pending(owner, call, effect, commands.length, true)
      wire.send(commands, pending)
      deadlines.watch()
      return pending.promise.then((replies) =>
        replies.map((reply) => (reply instanceof Error ? { error: owner.failed(pending, reply) } : { reply })),
      )
    },
  }
}

/** No signal: a command can not be taken back when its caller leaves, and is over in a moment. */
export class Pending implements Exchange, Receiver {
  readonly promise: Promise<readonly Reply[]>
  readonly effect: Effect
  readonly sent = performance.now()
  readonly count: number
  readonly replies: Reply[] = []
  failure: unknown = undefined
  /** In `performance.now()` milliseconds. */
  until: number
  readonly #owner: ExchangeOwner
  readonly #errorsInPlace: boolean
  #resolve: (value: readonly Reply[]) => void = nothing
  #reject: (reason: unknown) => void = nothing

  constructor(owner: ExchangeOwner, call: Call, effect: Effect, count: number, errorsInPlace: boolean) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.effect = effect
    this.count = count
    this.until = Math.min(this.sent + owner.commandTimeoutMs, call.deadline)
    this.#owner = owner
    this.#errorsInPlace = errorsInPlace
  }

  answer(): void {
    const { failure } = this
    if (failure === undefined) {
      this.#owner.answered()
      this.#resolve(this.replies)
      return
    }
    const failed = this.#owner.failed(this, failure)
    // What ended the connection is no command's own error.
    if (this.#errorsInPlace && replyCode(failure) !== undefined) this.#resolve(this.replies)
    else this.#reject(failed)
  }

  /** Its replies may come still, and are nobody's then. */
  expire(): void {
    const waitedLong = this.until >= this.sent + this.#owner.commandTimeoutMs
    this.until = Number.POSITIVE_INFINITY
    this.#reject(this.#owner.late(this, waitedLong))
  }
}

function nothing(): void {}
