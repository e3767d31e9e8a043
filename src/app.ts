import { cors } from 'hono/cors'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { requestId } from 'hono/request-id'
import { secureHeaders } from 'hono/secure-headers'
import { documentation, operations, platform } from '#routes/index.ts'
import type { Deps } from './deps.ts'
import { ApiError } from './errors.ts'
import { logObserver, observe } from './http/access-log.ts'
import { authentication } from './http/auth.ts'
import { bodyLimits, deadline, urlLimit } from './http/limits.ts'
import { onError, onNotFound, throwErrors } from './http/on-error.ts'
import { createRouter } from './http/router.ts'

const maxRequestIdLength = 128
const policyHeader = 'content-security-policy'
const corsHeaders = [
  'authorization',
  'apikey',
  'x-api-key',
  'content-type',
  'x-request-id',
  'if-match',
  'idempotency-key',
]
const exposedHeaders = ['Retry-After', 'X-Request-Id', 'Allow', 'ETag', 'Link', 'Location', 'Idempotency-Replayed']

const registryPaths = /^\/api\/platform\/(databases|organizations|projects)(\/|$)/

/** The whole HTTP server over its dependencies: middlewares in order, then routes. Opens no port and reads no environment. */
export function createApp(deps: Deps) {
  const { config } = deps
  const app = createRouter()
  app.onError(onError)
  app.notFound(onNotFound)

  app.use(async function provideDeps(c, next) {
    c.set('deps', deps)
    await next()
  })
  app.use(requestId({ limitLength: maxRequestIdLength }))
  app.use(secureHeaders({ crossOriginResourcePolicy: 'cross-origin' }))
  app.use(async function forbidStoring(c, next) {
    await next()
    c.header('cache-control', 'no-store')
    // A page brings a policy of its own.
    if (!c.res.headers.has(policyHeader)) c.header(policyHeader, "default-src 'none'; frame-ancestors 'none'")
  })
  app.use(observe([logObserver(deps.log)]))
  app.use(throwErrors)
  if (config.CORS_ORIGINS.length > 0) {
    app.use(
      cors({
        origin: [...config.CORS_ORIGINS],
        credentials: true,
        allowHeaders: corsHeaders,
        exposeHeaders: exposedHeaders,
      }),
    )
  }
  app.use(urlLimit(config.MAX_URL_BYTES))
  app.use(authentication(deps.serviceKeys))
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) =>
        onError(
          new ApiError('METHOD_NOT_ALLOWED', `This route takes ${methods.join(', ')}.`, {
            headers: { allow: methods.join(', ') },
          }),
          c,
        ),
    }),
  )
  const registryBodies = bodyLimits(config.MAX_REGISTRY_BODY_BYTES)
  const engineBodies = bodyLimits(config.MAX_ENGINE_BODY_BYTES)
  app.use('/api/*', function limitBodies(c, next) {
    return registryPaths.test(c.req.path) ? registryBodies(c, next) : engineBodies(c, next)
  })
  app.use(deadline(config.REQUEST_TIMEOUT_MS))

  return app.route('/api', platform).route('/', operations).route('/', documentation)
}
