import { type Call, callWithin } from '../engines/engine.ts'

export interface OutageOptions {
  /** Whether the registry is heard on another connection: work that takes long is then slow, and no outage. */
  readonly heard: () => boolean
  /** Asks the registry anything, to find out whether it is back. */
  readonly ask: (call: Call) => Promise<unknown>
  /** Called at the beginning of an outage. */
  readonly began: () => void
  readonly askTimeoutMs: number
}

/** Knows whether the registry hangs. One that refuses needs no such knowledge: its answers are quick. */
export interface Outage extends Disposable {
  readonly down: boolean
  /** Aborts as the next outage begins. */
  readonly signal: AbortSignal
  /** Watches work that waits for the registry, until disposed. */
  watch(): Disposable
  /** The registry has answered something. */
  answered(): void
}

// With the silence after which a listening connection is not trusted: less than a second in all.
const hungAfterMs = 600
const lookEveryMs = 100
const askEveryMs = 250

/**
 * Takes the registry for down when work waits and nothing at all is heard: no answer since it began, none on the listening connection.
 * Whatever waits then ends at once, and nothing is tried but one question at a time, until one is answered.
 */
export function createOutage({ heard, ask, began, askTimeoutMs }: OutageOptions): Outage {
  let falling = new AbortController()
  let answeredAt = Number.NEGATIVE_INFINITY
  let down = false
  let ended = false
  return {
    get down() {
      return down
    },
    get signal() {
      return falling.signal
    },
    watch,
    answered() {
      answeredAt = performance.now()
    },
    [Symbol.dispose]() {
      ended = true
    },
  }

  function watch(): Disposable {
    const since = performance.now()
    let suspected = false
    let timer = setTimeout(look, hungAfterMs)
    return { [Symbol.dispose]: () => clearTimeout(timer) }

    function look() {
      const silent = answeredAt < since && !heard()
      // Twice in a row: it may be this process that stood still, with the answers waiting in its sockets.
      if (silent && suspected) return fall()
      suspected = silent
      timer = setTimeout(look, lookEveryMs)
    }
  }

  function fall(): void {
    if (down || ended) return
    down = true
    const fallen = falling
    falling = new AbortController()
    began()
    fallen.abort(new DOMException('The registry says nothing', 'TimeoutError'))
    void recover()
  }

  async function recover(): Promise<void> {
    while (down && !ended) {
      const { promise: waited, resolve } = Promise.withResolvers<void>()
      setTimeout(resolve, askEveryMs).unref()
      await waited
      using call = callWithin(askTimeoutMs)
      await ask(call).then(
        () => (down = false),
        () => undefined,
      )
    }
  }
}
