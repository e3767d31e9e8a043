import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Call, Engine, Session } from '../engines/engine.ts'
import { ApiError } from '../errors.ts'
import type { Borrower, Lease } from '../registry/live-session.ts'
import { answerHeaders } from './answer.ts'
import type { Env } from './env.ts'
import { idleSeconds } from './limits.ts'
import type { RequestState } from './request-state.ts'
import { bodyOf, eventStream, type Format, ndjson, type ServerEvent, stopped } from './stream-body.ts'

/** What is to be streamed, from a session that is lent as long as it lasts. It ends by itself or when `call.signal` aborts; there is no deadline. */
export type Source<S extends Session, T> = (session: Lease<S>, call: Call) => AsyncIterable<T>

/**
 * Answers with server-sent events. The first is waited for before the answer begins, so that what fails at once is an error with its own
 * status; what fails later is an `error` event, the last. `OVERLOADED` above `MAX_STREAMS` and `MAX_DATABASE_STREAMS`.
 */
export function replyEvents<S extends Session>(
  c: Context<Env>,
  engine: Engine<string, S>,
  databaseId: string,
  source: Source<S, ServerEvent>,
): Promise<never> {
  return replyStream(c, engine, databaseId, source, eventStream)
}

/** The same as JSON, one value a line; an error is the last line, in the one error shape. */
export function replyLines<S extends Session>(
  c: Context<Env>,
  engine: Engine<string, S>,
  databaseId: string,
  source: Source<S, unknown>,
  status: ContentfulStatusCode = 200,
): Promise<never> {
  return replyStream(c, engine, databaseId, source, ndjson, status)
}

async function replyStream<S extends Session, T>(
  c: Context<Env>,
  engine: Engine<string, S>,
  databaseId: string,
  source: Source<S, T>,
  format: Format<T>,
  status: ContentfulStatusCode = 200,
): Promise<never> {
  const { deps, request, server, requestId } = c.env
  deps.load.enterStream(databaseId)
  const left = new AbortController()
  const { signal } = left
  const items = lentTo(c.env, engine, databaseId, source, left)
  // Bun closes a connection that is silent for so long, and sending does not count (bun.sh/guides/http/sse).
  server?.timeout(request, 0)
  const idleAgain = () => server?.timeout(request, idleSeconds(deps.config.REQUEST_TIMEOUT_MS))
  const first = await items.next().catch((error: unknown) => {
    idleAgain()
    throw signal.aborted && !(error instanceof ApiError) ? stopped() : error
  })
  c.env.answered = true
  const headers = {
    ...answerHeaders,
    'content-type': format.contentType,
    'x-request-id': requestId,
    'x-accel-buffering': 'no',
  }
  if (request.method !== 'HEAD')
    return new Response(bodyOf(c.env, items, first, format, left), { status, headers }) as never
  // Nobody reads the body of a HEAD: it would be open for ever.
  await items.return(undefined)
  idleAgain()
  return new Response(null, { status, headers }) as never
}

/** The source's items from a session that is lent until the last. The store has answered with the first: a breaker need not wait for the end. */
async function* lentTo<S extends Session, T>(
  state: RequestState,
  engine: Engine<string, S>,
  databaseId: string,
  source: Source<S, T>,
  left: AbortController,
): AsyncGenerator<T, undefined> {
  const { deps, requestId: request_id, readOnly } = state
  const { signal } = left
  // AbortSignal.any keeps something of each signal for as long as the process's own lives.
  const sources = [state.request.signal, deps.stopping.signal]
  const leave = () => left.abort()
  for (const each of sources) {
    each.addEventListener('abort', leave, { once: true })
    if (each.aborted) leave()
  }
  const call: Call = { signal, deadline: Number.POSITIVE_INFINITY, readOnly, stale: (seconds) => state.stale(seconds) }
  const borrower: Borrower = { lent: undefined, lentAt: 0, trying: false }
  const started = performance.now()
  let failure: unknown
  let count = 0
  try {
    using session = await deps.open(engine, databaseId, call, borrower)
    for await (const item of source(session, call)) {
      count += 1
      if (count === 1) {
        const { lent } = borrower
        deps.connections.settled(borrower)
        Object.assign(borrower, { lent, lentAt: performance.now(), trying: false })
      }
      yield item
    }
  } catch (error) {
    failure = error
    throw error
  } finally {
    for (const each of sources) each.removeEventListener('abort', leave)
    deps.load.leaveStream(databaseId)
    // A reader who left says nothing about the store.
    const ended = signal.aborted ? (count > 0 ? undefined : signal.reason) : failure
    deps.connections.settled(borrower, ended)
    const code = failure instanceof ApiError && !signal.aborted ? failure.code : undefined
    const ms = Math.round(performance.now() - started)
    deps.log.info('stream ended', { request_id, database_id: databaseId, ms, items: count, code })
  }
}
