import { OpenAPIHono, type z } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import { ApiError } from '../errors.ts'
import { answer } from './answer.ts'
import { authorize, type Scope } from '../access/authorize.ts'
import { type Declaration, listed, scoped } from './contract.ts'
import type { RequestState } from './request-state.ts'
import type { Env } from './env.ts'
import { limitBody } from './limits.ts'
import { RememberingRouter } from './remembering-router.ts'

/**
 * A router whose validation failures are thrown as `VALIDATION_FAILED`. The hook is pure: the first app it is mounted in binds it for ever.
 * A GET is one function, its validation and its handler: each of the library's middlewares would cost it a promise.
 */
export function createRouter() {
  const router = new OpenAPIHono<Env>({
    router: new RememberingRouter(),
    defaultHook: (result) => {
      if (!result.success) throw validationFailed(result.error.issues, result.target)
    },
  })
  const chained = router.openapi as unknown as Register
  const register: Register = (route, handler) => {
    const note = noteOf(route)
    if (route.method !== 'get') {
      const noted: MiddlewareHandler<Env> = async (c, next) => {
        await note(c)
        await next()
      }
      return chained({ ...route, middleware: [noted, limitBody, ...[route.middleware ?? []].flat()] }, handler)
    }
    router.openAPIRegistry.registerPath(route as never)
    router.get(route.path.replaceAll(/\/\{(\w+)\}/g, '/:$1'), readOf(route, note, handler) as never)
    return router
  }
  router.openapi = register as unknown as typeof router.openapi
  return router
}

interface Route {
  readonly method: string
  readonly path: string
  readonly request?: { readonly query?: z.ZodType; readonly params?: z.ZodType; readonly headers?: z.ZodType }
  readonly middleware?: MiddlewareHandler<Env> | readonly MiddlewareHandler<Env>[]
  readonly 'x-access': Declaration['access']
  readonly 'x-operation': Declaration['operation']
}
type Handler = (c: Context<Env>, next: () => Promise<void>) => Response | Promise<Response>
type Register = (route: Route, handler: Handler) => unknown

function readOf(route: Route, note: Note, handler: Handler): Handler {
  const { query, params, headers } = route.request ?? {}
  const isListed = listed in route
  return function read(c, next) {
    c.env.readOnly = true
    const noted = note(c)
    return noted === undefined ? answerOf(c, next) : noted.then(() => answerOf(c, next))
  }

  function answerOf(c: Context<Env>, next: () => Promise<void>) {
    // Others are shown a part of it.
    const kept = isListed && c.env.principal.kind === 'service' ? c.env.deps.lists.peek(c.req.url) : undefined
    if (kept) return answer(c.env, kept.json, 200, kept.headers)
    if (query) check(c, 'query', query, queryOf(c))
    if (params) check(c, 'param', params, c.req.param())
    if (headers) check(c, 'header', headers, c.req.header())
    return handler(c, next)
  }
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

function check(c: Context<Env>, target: 'query' | 'param' | 'header', schema: z.ZodType, value: unknown): void {
  const result = schema.safeParse(value)
  if (!result.success) throw validationFailed(result.error.issues, target)
  c.req.addValidatedData(target, result.data as object)
}

// As the library reads it: a parameter given twice is a list.
function queryOf(c: Context<Env>): Readonly<Record<string, unknown>> {
  const given = c.req.queries()
  const query: Record<string, unknown> = {}
  for (const name in given) query[name] = given[name]?.length === 1 ? given[name][0] : given[name]
  return query
}

const places: Readonly<Record<string, string>> = { json: 'body', query: 'query', param: 'path', header: 'header' }
const maxDetails = 20
const maxKeyLength = 64

/** Every wrong field with the rule it breaks; values are not repeated, and of a caller's own keys only the beginning. */
export function validationFailed(issues: readonly z.core.$ZodIssue[], target: string): ApiError {
  const place = places[target] ?? target
  const details = issues
    .flatMap((issue) => explain(issue))
    .slice(0, maxDetails)
    .map(({ path, rule }) => ({ in: place, field: path.map(String).join('.') || place, rule }))
  const first = details[0]
  return new ApiError('VALIDATION_FAILED', `${first?.field}: ${first?.rule}.`, { details })
}

function explain(issue: z.core.$ZodIssue): { readonly path: readonly PropertyKey[]; readonly rule: string }[] {
  if (issue.code !== 'unrecognized_keys') return [{ path: issue.path, rule: lowerFirst(issue.message) }]
  return issue.keys.map((key) => ({
    path: [...issue.path, key.slice(0, maxKeyLength)],
    rule: 'is not a field of this request',
  }))
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1).replace(/\.$/, '')
}
