import type { MiddlewareHandler } from 'hono'
import { anonymous } from '../access/principal.ts'
import type { Identify } from './auth.ts'
import type { Env } from './env.ts'

/** Looks at a request before its route does; throws `ApiError` to refuse it. */
export type Guard = (request: Request) => void

/** Nobody is asked who they are yet: a browser's preflight has no key. */
export const unasked: Identify = () => anonymous

/** Guards and identification as a middleware, behind what has to answer before them. */
export function guarded(guards: readonly Guard[], identify: Identify): MiddlewareHandler<Env> {
  return async function guardRequest(c, next) {
    for (const guard of guards) guard(c.req.raw)
    c.env.principal = await identify(c.env)
    await next()
  }
}
