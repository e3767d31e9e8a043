import type { Server } from 'bun'
import type { Deps } from '../deps.ts'
import type { Call } from '../engines/engine.ts'
import type { Declaration } from './contract.ts'

/** What middlewares leave on the context for handlers. */
export interface Env {
  Bindings: { readonly server?: Server<unknown> }
  Variables: {
    deps: Deps
    requestId: string
    /** The request's deadline and the client's presence, for every session method. */
    call: Call
    /** Set by the matched route: what it needs and what it does. */
    declaration: Declaration | undefined
    /** The registered database the route works on. */
    databaseId: string | undefined
    /** Set when the request failed: the code of the answer. */
    errorCode: string | undefined
  }
}
