import { cors } from 'hono/cors'
import { documentation, operations, platform } from '#routes/index.ts'
import type { Deps } from './deps.ts'
import { identification } from './http/auth.ts'
import { dispatching } from './http/dispatch.ts'
import { type Fetch, frame } from './http/frame.ts'
import { guarded, unasked } from './http/guard.ts'
import { urlLimit } from './http/limits.ts'
import { logObserver } from './http/observation.ts'
import { notFound, onError } from './http/on-error.ts'
import { createRouter } from './http/router.ts'

const corsHeaders = [
  'authorization',
  'apikey',
  'x-api-key',
  'content-type',
  'x-request-id',
  'if-match',
  'idempotency-key',
]
const exposedHeaders = [
  'Retry-After',
  'X-Request-Id',
  'Allow',
  'ETag',
  'Link',
  'Location',
  'Idempotency-Replayed',
  'X-Registry-Stale',
  'RateLimit',
  'RateLimit-Policy',
]

export interface App {
  readonly fetch: Fetch
  /** Every route, its methods and patterns. */
  readonly routes: readonly { readonly method: string; readonly path: string }[]
  /** Asks without a server; a path is taken on `http://localhost`. */
  request(path: string, init?: RequestInit): Promise<Response>
}

/** The whole HTTP server over its dependencies: guards, routes, observers. Opens no port and reads no environment. */
export function createApp(deps: Deps): App {
  const { CORS_ORIGINS, MAX_URL_BYTES } = deps.config
  const guards = [urlLimit(MAX_URL_BYTES)]
  const identify = identification(deps.serviceKeys)
  const observers = [logObserver(deps.log)]
  const app = createRouter()
  app.onError(onError)
  app.notFound(notFound(app))
  const browsers = CORS_ORIGINS.length > 0
  if (browsers) {
    const origin = [...CORS_ORIGINS]
    app.use(cors({ origin, credentials: true, allowHeaders: corsHeaders, exposeHeaders: exposedHeaders }))
    app.use(guarded(guards, identify))
  }
  const routes = app.route('/api', platform).route('/', operations).route('/', documentation)
  const before = browsers ? { guards: [], identify: unasked } : { guards, identify }
  const fetch = frame({ deps, routes: dispatching(routes as never), observers, ...before })
  return {
    fetch,
    routes: routes.routes,
    request: async (path, init) => fetch(new Request(new URL(path, 'http://localhost').href, init)),
  }
}
