import type { MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import type { Env } from './env.ts'

/** What is known of a request once it is answered: the one place where audit and metrics are fed as well. */
export interface Observation {
  readonly requestId: string
  readonly method: string
  /** The route's pattern, never the URL: queries hold keys and filters. */
  readonly route: string
  readonly status: number
  readonly ms: number
  readonly access: string | undefined
  readonly operation: string | undefined
  readonly databaseId: string | undefined
  readonly code: string | undefined
}

export type Observer = (observation: Observation) => void

/** Tells the observers of every request, also of those that failed. */
export function observe(observers: readonly Observer[]): MiddlewareHandler<Env> {
  return async function observeRequest(c, next) {
    const started = performance.now()
    await next()
    const observation: Observation = {
      requestId: c.var.requestId,
      method: c.req.method,
      route: routePath(c, -1),
      status: c.res.status,
      ms: Math.round((performance.now() - started) * 100) / 100,
      access: c.var.declaration?.access,
      operation: c.var.declaration?.operation,
      databaseId: c.var.databaseId,
      code: c.var.errorCode,
    }
    for (const observer of observers) observer(observation)
  }
}

/** One wide log line per request. */
export function logObserver(log: {
  info(event: string, fields: Readonly<Record<string, string | number | undefined>>): void
}): Observer {
  return function logRequest(seen) {
    log.info('request', {
      request_id: seen.requestId,
      method: seen.method,
      route: seen.route,
      status: seen.status,
      ms: seen.ms,
      access: seen.access,
      operation: seen.operation,
      database_id: seen.databaseId,
      code: seen.code,
    })
  }
}
