import type { RequestState } from './request-state.ts'

/** What a handler finds in its context: `c.env`, made once for each request. */
export interface Env {
  Bindings: RequestState
}
