import { type Call, callWithin, type Limits, remainingMs } from '../engines/engine.ts'
import { ApiError } from '../errors.ts'

/** How many sessions of one engine may live at once in this process. */
export class Slots {
  readonly #max: number
  readonly #waitTimeoutMs: number
  readonly #waiting: (() => void)[] = []
  #taken = 0

  constructor(max: number, waitTimeoutMs: number) {
    this.#max = max
    this.#waitTimeoutMs = waitTimeoutMs
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Takes a slot. When all are taken the caller joins a queue no longer than twice the slots, `makeRoom` is told, and a slot that comes
   * free within a bounded time is the caller's; else `POOL_EXHAUSTED`.
   */
  async take(call: Call, makeRoom: () => void): Promise<void> {
    if (call.signal.aborted) throw exhausted()
    if (this.#taken < this.#max) {
      this.#taken += 1
      return
    }
    if (this.#waiting.length >= this.#max * 2) throw exhausted()
    using limit = callWithin(Math.min(this.#waitTimeoutMs, remainingMs(call)), call.signal)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const giveUp = () => {
      const index = this.#waiting.indexOf(resolve)
      if (index === -1) return
      this.#waiting.splice(index, 1)
      reject(exhausted())
    }
    this.#waiting.push(resolve)
    limit.signal.addEventListener('abort', giveUp, { once: true })
    makeRoom()
    await promise
  }

  /** Gives a slot back, to the first who waits. */
  give(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#taken -= 1
  }
}

export interface SlotsOptions {
  readonly maxSessionsOf: (kind: string) => number
  readonly limitsOf: (kind: string) => Limits
}

export interface SlotHolder {
  readonly kind: string
  hasSlot: boolean
}

/** The slots of each kind of engine. */
export class SlotsByKind {
  readonly #slots = new Map<string, Slots>()
  readonly #options: SlotsOptions

  constructor(options: SlotsOptions) {
    this.#options = options
  }

  get waiting(): number {
    return [...this.#slots.values()].reduce((sum, slots) => sum + slots.waiting, 0)
  }

  of(kind: string): Slots {
    const known = this.#slots.get(kind)
    if (known) return known
    const { maxSessionsOf, limitsOf } = this.#options
    const slots = new Slots(maxSessionsOf(kind), limitsOf(kind).waitTimeoutMs)
    this.#slots.set(kind, slots)
    return slots
  }

  /** Gives back the slot that a holder has, if it has one. */
  free(holder: SlotHolder): void {
    if (!holder.hasSlot) return
    holder.hasSlot = false
    this.of(holder.kind).give()
  }
}

function exhausted(): ApiError {
  return new ApiError(
    'POOL_EXHAUSTED',
    'This server has no connection left for this kind of database. Try again shortly.',
  )
}
