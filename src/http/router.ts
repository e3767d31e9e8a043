import { OpenAPIHono, type z } from '@hono/zod-openapi'
import type { Context, Next } from 'hono'
import { routePath } from 'hono/route'
import { authorize, type Scope } from '../access/authorize.ts'
import { answerKept } from './answer.ts'
import { assertJson, readBody } from './body.ts'
import { type Declaration, listed, repetition, scoped, streamedBody } from './contract.ts'
import type { Env } from './env.ts'
import { answerOnce, type Repetition } from './idempotency.ts'
import { parseJson, refuseJsonProblem } from './json-text.ts'
import { RememberingRouter } from './remembering-router.ts'
import type { RequestState } from './request-state.ts'
import { check, checkParams, queryOf } from './validation.ts'

/**
 * A router whose validation failures are thrown as `VALIDATION_FAILED`. A route is one function, its validation and its handler: each of the
 * library's middlewares would cost it a promise.
 */
export function createRouter() {
  const router = new OpenAPIHono<Env>({ router: new RememberingRouter() })
  const register: Register = (route, handler) => {
    const note = noteOf(route)
    const handle = route.method === 'get' ? readOf(route, note, handler) : writeOf(route, note, handler)
    router.openAPIRegistry.registerPath(route as never)
    router.on(route.method, route.path.replaceAll(/\/\{(\w+)\}/g, '/:$1'), handle as never)
    return router
  }
  router.openapi = register as unknown as typeof router.openapi
  return router
}

interface Route {
  readonly method: string
  readonly path: string
  readonly request?: {
    readonly query?: z.ZodType
    readonly params?: z.ZodType
    readonly headers?: z.ZodType
    readonly body?: { readonly content: { readonly 'application/json'?: { readonly schema: z.ZodType } } }
  }
  readonly [repetition]?: Repetition
  readonly 'x-access': Declaration['access']
  readonly 'x-operation': Declaration['operation']
}
type Handler = (c: Context<Env>, next: Next) => Response | Promise<Response>
type Register = (route: Route, handler: Handler) => unknown

function readOf(route: Route, note: Note, handler: Handler): Handler {
  const { query, params, headers } = route.request ?? {}
  const isListed = listed in route
  const checkedPaths = new Map<string, object>()
  return function read(c, next) {
    c.env.readOnly = true
    const noted = note(c)
    return noted === undefined ? answerOf(c, next) : noted.then(() => answerOf(c, next))
  }

  function answerOf(c: Context<Env>, next: Next) {
    // Others are shown a part of it.
    const kept = isListed && c.env.principal.kind === 'service' ? c.env.deps.lists.peek(c.req.url) : undefined
    if (kept) return answerKept(c.env, kept.json, kept.headers)
    if (query) check(c, 'query', query, queryOf(c))
    if (params) checkParams(c, params, checkedPaths)
    if (headers) check(c, 'header', headers, c.req.header())
    return handler(c, next)
  }
}

function writeOf(route: Route, note: Note, handler: Handler): Handler {
  const { query, params, headers, body } = route.request ?? {}
  const isStreamed = streamedBody in route
  const schema = isStreamed ? undefined : body?.content['application/json']?.schema
  const repeated = route[repetition]
  const checkedPaths = new Map<string, object>()
  return function write(c, next) {
    const noted = note(c)
    return noted === undefined ? read(c, next) : noted.then(() => read(c, next))
  }

  function read(c: Context<Env>, next: Next) {
    const reading = isStreamed ? undefined : readBody(c)
    return reading === undefined ? answerOf(c, next) : reading.then((bytes) => answerOf(c, next, bytes))
  }

  function answerOf(c: Context<Env>, next: Next, bytes?: ArrayBuffer) {
    if (bytes && !schema) refuseJsonProblem(bytes)
    const run = () => {
      if (query) check(c, 'query', query, queryOf(c))
      if (params) checkParams(c, params, checkedPaths)
      if (headers) check(c, 'header', headers, c.req.header())
      if (schema) checkBody(c, schema, bytes)
      return handler(c, next)
    }
    const key = repeated && c.req.header('idempotency-key')
    return key === undefined ? run() : answerOnce(c, key, repeated ?? 'refused', bytes, run)
  }
}

function checkBody(c: Context<Env>, schema: z.ZodType, bytes: ArrayBuffer | undefined): void {
  const mediaType = c.req.header('content-type')
  assertJson(mediaType, bytes !== undefined)
  check(c, 'json', schema, mediaType ? parseJson(bytes ?? new ArrayBuffer(0)) : {})
}

/** Notes the matched route in the request's state and asks whether its principal may; a promise where that has to be read. */
type Note = (c: Context<Env>) => undefined | Promise<void>

function noteOf(route: Route): Note {
  const declaration = { access: route['x-access'], operation: route['x-operation'] }
  const { scope, parameter } = placeOf(route)
  // The same in every app it is mounted in.
  let pattern: string | undefined
  return (c) => {
    const state = c.env
    state.declaration = declaration
    state.pattern = pattern ??= routePath(c)
    if (state.principal.kind === 'service') return undefined
    state.refuseStaleChange()
    return permitted(state, declaration, scope, parameter === undefined ? undefined : c.req.param(parameter))
  }
}

async function permitted(state: RequestState, declaration: Declaration, scope: Scope, name: string | undefined) {
  state.rateHeaders ??= await state.deps.limits.check(state.principal, declaration, name)
  // What is no id is for the route's validation to say.
  if (scope === 'database' && !isUuid.test(name ?? '')) return
  await authorize(state, scope, name)
}

const isUuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i

/** Where a route works, by the parameters of its path. What names none and is not `scoped` is the server's. */
export function placeOf(route: Pick<Route, 'path'>): { readonly scope: Scope; readonly parameter?: string } {
  if (scoped in route) return { scope: 'own' }
  if (route.path.includes('{databaseId}')) return { scope: 'database', parameter: 'databaseId' }
  if (route.path.includes('{id}')) return { scope: 'database', parameter: 'id' }
  return route.path.includes('{ref}') ? { scope: 'project', parameter: 'ref' } : { scope: 'server' }
}
