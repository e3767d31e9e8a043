import type { Server } from 'bun'
import { getPath } from 'hono/utils/url'
import type { Principal } from '../access/principal.ts'
import type { Deps } from '../deps.ts'
import { answerHeaders } from './answer.ts'
import { type Identify, uncountedPaths } from './auth.ts'
import type { Routes } from './dispatch.ts'
import type { Guard } from './guard.ts'
import { observationOf, type Observer } from './observation.ts'
import { failure } from './on-error.ts'
import { RequestState } from './request-state.ts'

export type Fetch = (request: Request, server?: Server<unknown>) => Response | Promise<Response>

export interface Frame {
  readonly deps: Deps
  /** The routes. */
  readonly routes: Routes
  /** Run before the routes are asked; the first that throws answers. */
  readonly guards: readonly Guard[]
  /** Tells who asks. */
  readonly identify: Identify
  /** Told of every request once it is answered, also of those that failed. */
  readonly observers: readonly Observer[]
}

/**
 * What surrounds every request: its state, the guards, the headers all answers have, and the observers. Around the routes and not in front
 * of them, since every middleware costs each request a promise: a read that needs no store is answered without any.
 */
export function frame({ deps, routes, guards, identify, observers }: Frame): Fetch {
  const { load } = deps
  const maxInFlight = deps.config.MAX_IN_FLIGHT
  return function serve(request, server) {
    const state = new RequestState(deps, request, server)
    const finish = (response: Response) => finished(response, state, observers)
    const fail = (thrown: unknown) => finish(bodiless(failure(thrown, state), request))
    try {
      // A full server still says that it is alive.
      if (load.inFlight < maxInFlight || !uncountedPaths.has(getPath(request))) {
        load.enter()
        state.entered = true
      }
      for (const guard of guards) guard(request)
      const ask = (principal: Principal) => {
        state.principal = principal
        return routes.fetch(request, state)
      }
      const who = identify(state)
      const answered = who instanceof Promise ? who.then(ask) : ask(who)
      return answered instanceof Promise ? answered.then(finish, fail) : finish(answered)
    } catch (thrown) {
      return fail(thrown)
    }
  }
}

// What a guard refuses never comes by the routes, which answer a HEAD without its body.
function bodiless(response: Response, { method }: Request): Response {
  return method === 'HEAD' ? new Response(null, response) : response
}

function finished(response: Response, state: RequestState, observers: readonly Observer[]): Response {
  if (state.lent !== undefined) state.deps.connections.settled(state, state.error)
  state[Symbol.dispose]()
  if (!state.answered) complete(response.headers, state.requestId)
  if (state.rateHeaders) for (const name in state.rateHeaders) response.headers.set(name, state.rateHeaders[name] ?? '')
  if (state.staleSeconds !== undefined && response.status < 400)
    response.headers.set('x-registry-stale', String(state.staleSeconds))
  const observation = observationOf(state, response.status)
  for (const observer of observers) observer(observation)
  return response
}

/** Answers that were not made by `answer`: a page, a preflight. What they say themselves wins. */
function complete(headers: Headers, requestId: string): void {
  headers.set('x-request-id', requestId)
  for (const [name, value] of Object.entries(answerHeaders)) if (!headers.has(name)) headers.set(name, value)
}
