import type { Server } from 'bun'
import type { Deps } from '../deps.ts'
import { type Call, callWithin } from '../engines/engine.ts'
import { anonymous, type Principal } from '../access/principal.ts'
import type { RateHeaders } from '../access/rate-limits.ts'
import { ApiError } from '../errors.ts'
import type { Borrower, LiveSession } from '../registry/live-session.ts'
import type { Declaration } from './contract.ts'

const givenRequestId = /^[\w\-=]{1,128}$/

/** All that is known of one request while it is served; it is the request's own call as well. */
export class RequestState implements Call, Borrower, Disposable {
  readonly deps: Deps
  readonly request: Request
  /** `undefined` where the app is asked without a server. */
  readonly server: Server<unknown> | undefined
  readonly started = performance.now()
  /** The caller's `X-Request-Id` where it is well formed. */
  readonly requestId: string
  /** The pattern of the matched route, never the URL: queries hold keys and filters. */
  pattern = '/*'
  /** What the matched route needs and does; `undefined` for what is in no contract. */
  declaration: Declaration | undefined = undefined
  /** Who asks; set before the routes are asked. */
  principal: Principal = anonymous
  /** The caller, the route or the database allows no write: engines refuse it themselves. */
  readOnly = false
  /** How old what is shown is, in seconds, where the registry could not be asked. */
  staleSeconds: number | undefined = undefined
  /** What the answer says of the principal's budget. */
  rateHeaders: RateHeaders | undefined = undefined
  /** Counted among the requests at work. */
  entered = false
  /** Set when the request failed: the code of the answer. */
  errorCode: string | undefined = undefined
  /** Set once the answer has the headers all answers have. */
  answered = false
  readonly deadline: number
  /** What `deps.connections` has lent to this request, and how it ends. */
  lent: LiveSession | undefined = undefined
  lentAt = 0
  trying = false
  /** What the request ended with, where it failed. */
  error: ApiError | undefined = undefined
  #databaseId: string | undefined = undefined
  #within: (Call & Disposable) | undefined = undefined

  constructor(deps: Deps, request: Request, server: Server<unknown> | undefined) {
    this.deps = deps
    this.request = request
    this.server = server
    this.deadline = this.started + deps.config.REQUEST_TIMEOUT_MS
    const given = request.headers.get('x-request-id')
    this.requestId = given !== null && givenRequestId.test(given) ? given : crypto.randomUUID()
  }

  /** The registered database the route works on. Set once it is known, which counts the request among those on it: `OVERLOADED`. */
  get databaseId(): string | undefined {
    return this.#databaseId
  }

  set databaseId(id: string | undefined) {
    if (id === this.#databaseId || id === undefined) return
    this.deps.load.enterDatabase(id)
    this.#databaseId = id
  }

  /** Told that what is used was read so long ago. What changes something does not rest on that. */
  stale(seconds: number): void {
    this.staleSeconds = Math.max(this.staleSeconds ?? 0, seconds)
    this.refuseStaleChange()
  }

  /** Asked again once the route is known: the principal is read before that. */
  refuseStaleChange(): void {
    if (this.staleSeconds === undefined || this.declaration === undefined || this.declaration.operation === 'read')
      return
    const message = 'The registry can not be reached, and nothing is changed meanwhile. Try again shortly.'
    throw new ApiError('REGISTRY_UNAVAILABLE', message)
  }

  /** The request's deadline and the client's presence, for every session method. */
  get call(): Call {
    return this
  }

  /** Made when it is first asked for: most requests are answered before anybody does. */
  get signal(): AbortSignal {
    this.#within ??= callWithin(this.deadline - performance.now(), this.request)
    return this.#within.signal
  }

  [Symbol.dispose](): void {
    this.#within?.[Symbol.dispose]()
    if (this.#databaseId !== undefined) this.deps.load.leaveDatabase(this.#databaseId)
    if (this.entered) this.deps.load.leave()
  }
}
