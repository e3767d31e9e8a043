import { ApiError } from '../errors.ts'
import { maxIdleSeconds } from './limits.ts'
import { explained } from './on-error.ts'
import type { RequestState } from './request-state.ts'

/** A server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html); `data` is written as JSON, in one line. */
export interface ServerEvent {
  readonly event?: string
  readonly id?: string
  readonly data: unknown
}

/** How items are written. */
export interface Format<T> {
  readonly contentType: string
  write(item: T): string
  /** An error in the one error shape, once the answer has begun. */
  writeError(body: unknown): string
  /** Said while nothing else is, so that nobody takes the stream for dead. */
  readonly heartbeat?: string
}

/** Server-sent events; an error is an `error` event. */
export const eventStream: Format<ServerEvent> = {
  contentType: 'text/event-stream',
  heartbeat: ':\n\n',
  write: ({ event, id, data }) =>
    `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`,
  writeError: (data) => eventStream.write({ event: 'error', data }),
}

/** JSON, one value a line. */
export const ndjson: Format<unknown> = {
  contentType: 'application/x-ndjson',
  write: (item) => `${JSON.stringify(item)}\n`,
  writeError: (body) => `${JSON.stringify(body)}\n`,
}

/** Milliseconds between signs of life of an event stream, and after which one is ended: who may listen is asked anew when it is opened again. */
export const pace = { heartbeatMs: 15_000, maxEventStreamMs: 3_600_000 }

/**
 * The body that is written as it is read: the source is asked for the next item when the last one has been taken. When the reader leaves or
 * the server stops, `left` is aborted and the source ended.
 */
export function bodyOf<T>(
  state: RequestState,
  items: AsyncGenerator<T, undefined>,
  first: IteratorResult<T>,
  format: Format<T>,
  left: AbortController,
): ReadableStream<Uint8Array> {
  const { signal } = left
  const encoder = new TextEncoder()
  const { stopping } = state.deps
  const started = performance.now()
  let waiting: IteratorResult<T> | undefined = first
  let timer: ReturnType<typeof setInterval> | undefined
  let pulling = false
  let ended = false
  const end = (controller: ReadableStreamDefaultController<Uint8Array>, error?: ApiError) => {
    if (ended) return
    ended = true
    clearInterval(timer)
    items.return(undefined).catch(() => undefined)
    // What is still to be sent has so long; the connection may serve another request.
    state.server?.timeout(state.request, maxIdleSeconds)
    if (error !== undefined) controller.enqueue(encoder.encode(format.writeError(error.toBody(state.requestId))))
    controller.close()
  }
  /** What a reader who has not left is told of an end before its time. */
  const interrupted = () => (stopping.signal.aborted && !state.request.signal.aborted ? stopped() : undefined)
  return new ReadableStream<Uint8Array>({
    start(controller) {
      // A source that waits ends by the signal itself; one whose reader is slow is not asked.
      const over = () => {
        if (!pulling) end(controller, interrupted())
      }
      signal.addEventListener('abort', over, { once: true })
      const beat = format.heartbeat
      if (beat === undefined) return
      timer = setInterval(() => {
        if (performance.now() - started > pace.maxEventStreamMs) left.abort()
        else if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(beat))
      }, pace.heartbeatMs)
    },
    async pull(controller) {
      pulling = true
      try {
        const next = waiting ?? (await items.next())
        waiting = undefined
        if (ended) return
        if (next.done) return end(controller)
        controller.enqueue(encoder.encode(format.write(next.value)))
        if (signal.aborted) end(controller, interrupted())
      } catch (error) {
        if (!ended) end(controller, signal.aborted ? interrupted() : explained(error, state))
      } finally {
        pulling = false
      }
    },
    async cancel() {
      ended = true
      clearInterval(timer)
      left.abort()
      await items.return(undefined)
    },
  })
}

/** What a reader is told whose stream ends with the server. */
export function stopped(): ApiError {
  return new ApiError('OVERLOADED', 'The server is stopping. Connect again.')
}
