import { type Connection, type Notify, openConnection, type StartTarget } from '../engines/postgres/connection.ts'
import { callWithin, untilAborted } from '../engines/engine.ts'
import type { Log } from '../log.ts'

/** What the triggers of migration 003 send on this channel. */
export const channel = 'bun_api_changes'

export interface Change {
  readonly table: string
  readonly id: string
  /** The row's version now: sessions of older ones are out of date. `Infinity` when the row is gone, 0 when only what is shown changed. */
  readonly version: number
}

/** Told of changes; `lost` when some may have been missed, so that all that is cached has to be read anew. */
export interface ChangeListener {
  changed(change: Change): void
  lost(): void
}

/** A subscription to registry changes. While `live` is false nothing in a cache may be believed. */
export interface Changes extends AsyncDisposable {
  readonly live: boolean
  close(): Promise<void>
}

const retryMs = 500
const connectTimeoutMs = 2_000
const pingEveryMs = 250
const pingTimeoutMs = 2_000
// A half-open connection says nothing either: silence longer than this is not trusted.
const silenceMs = 750

/** Reads a notification's payload; `undefined` for text that is none of ours. */
export function readChange(payload: string): Change | undefined {
  try {
    const { table, id, version, op } = JSON.parse(payload) as Readonly<Record<string, unknown>>
    if (typeof table !== 'string' || typeof id !== 'string') return undefined
    return { table, id, version: typeof version === 'number' && op !== 'DELETE' ? version : Number.POSITIVE_INFINITY }
  } catch {
    return undefined
  }
}

/** Passes a notification on to a listener. */
export function notifier(listener: ChangeListener): Notify {
  return (from, payload) => {
    if (from !== channel) return
    const change = readChange(payload)
    if (change) listener.changed(change)
    else listener.lost()
  }
}

/**
 * Listens on a connection of its own, which is asked four times a second whether it is still there, and made anew when it is not. The
 * embedded registry needs none of this: its one connection is given the notifier and sends LISTEN itself, because pglite-socket tells a
 * change only to the connection that made it.
 */
export function listenForChanges(target: StartTarget, listener: ChangeListener, log: Log): Changes {
  const closing = new AbortController()
  let connection: Connection | undefined
  let heardAt = 0
  const listening = keepListening()
  const close = async () => {
    closing.abort()
    await listening
  }
  return {
    // A lost connection is not live before anybody was told of it.
    get live() {
      return connection !== undefined && !connection.closed && performance.now() - heardAt < silenceMs
    },
    close,
    [Symbol.asyncDispose]: close,
  }

  async function keepListening(): Promise<void> {
    let told = false
    while (!closing.signal.aborted) {
      const opened = await listen().catch((error: unknown) => {
        if (!told && !closing.signal.aborted) log.warn('registry changes are not heard', {}, error)
        told = true
      })
      if (opened) {
        if (told) log.info('registry changes are heard again', {})
        told = false
        // What changed before LISTEN took effect was not told.
        listener.lost()
        heardAt = performance.now()
        connection = opened
        await untilLost(opened)
        connection = undefined
        listener.lost()
        // A server that is gone answers no goodbye: not waited for, but at the end.
        const ended = opened.close().catch(() => undefined)
        if (closing.signal.aborted) await ended
      } else await pause(retryMs)
    }
  }

  async function listen(): Promise<Connection> {
    using call = callWithin(connectTimeoutMs, closing.signal)
    const opened = await openConnection(target, call, notifier(listener))
    try {
      await untilAborted(opened.sql.unsafe(`listen ${channel}`), call.signal)
      return opened
    } catch (error) {
      await opened.close().catch(() => undefined)
      throw error
    }
  }

  async function untilLost(opened: Connection): Promise<void> {
    while (!opened.closed && !closing.signal.aborted) {
      await pause(pingEveryMs)
      using call = callWithin(pingTimeoutMs, closing.signal)
      const answered = await untilAborted(opened.sql`select 1`.simple(), call.signal).then(
        () => true,
        () => false,
      )
      if (!answered) return
      heardAt = performance.now()
    }
  }

  async function pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = () => resolve()
    const timer = setTimeout(wake, ms)
    timer.unref()
    closing.signal.addEventListener('abort', wake, { once: true })
    if (closing.signal.aborted) wake()
    await promise
    clearTimeout(timer)
    closing.signal.removeEventListener('abort', wake)
  }
}
