import type { OpenAPIHono } from '@hono/zod-openapi'
import { Context, type Handler } from 'hono'
import type { Result } from 'hono/router'
import { getPath } from 'hono/utils/url'
import type { Env } from './env.ts'
import type { RequestState } from './request-state.ts'

/** What answers a request that has been let in. */
export interface Routes {
  fetch(request: Request, state: RequestState): Response | Promise<Response>
}

/**
 * The app's routes, asked as hono asks a route that is one handler, but for the two promises it puts around each answer: what a handler
 * throws or rejects with is the frame's to answer. All else is left to hono.
 */
export function dispatching(app: OpenAPIHono<Env>): Routes {
  return {
    fetch(request, state) {
      if (request.method === 'HEAD') return app.fetch(request, state)
      const path = getPath(request)
      const matchResult = app.router.match(request.method, path) as Result<[Handler<Env>, never]>
      const [handlers] = matchResult
      const only = handlers.length === 1 ? handlers[0] : undefined
      if (only === undefined) return app.fetch(request, state)
      const handler = only[0][0]
      const context = new Context<Env>(request, { env: state, path, matchResult: matchResult as never })
      return handler(context, unreached) as Response | Promise<Response>
    },
  }
}

async function unreached(): Promise<void> {
  throw new Error('A handler of its own is the last')
}
