import { createRoute, type RouteConfig, z } from '@hono/zod-openapi'
import { type ErrorCode, errorTable } from '../errors.ts'
import type { Repetition } from './idempotency.ts'

export type Access = 'open' | 'read' | 'write' | 'admin'
export type Operation = 'read' | 'write' | 'delete' | 'connect'

/** What a route needs of its caller and does to a database: roles, limits, audit and metrics read it from here. */
export interface Declaration {
  readonly access: Access
  readonly operation: Operation
}

/** What `answerOnce` reads of every POST. */
const idempotencyKey = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'Repeats are answered with the first answer for 24 hours, with `Idempotency-Replayed: true`; another body or a first request that still runs is 409',
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
} as const

/** Marks a route whose answers are kept for their URL until the registry changes. */
export const listed = Symbol('listed')

/** Marks a route that reads its body as it arrives: nothing buffers it, or checks it as JSON. */
export const streamedBody = Symbol('streamedBody')

/** Marks a route whose handler narrows what it does to the principal: no database or project stands in its path. */
export const scoped = Symbol('scoped')

/** How a POST answers a repetition of its request. */
export const repetition = Symbol('repetition')

/** A route's whole contract in one object: path, schemas, and its declaration, which is published as `x-access` and `x-operation`. */
export function contract<
  P extends string,
  const R extends Omit<RouteConfig, 'path'> & { path: P } & Declaration & {
      readonly answerKept?: false
      readonly [listed]?: true
      readonly [streamedBody]?: true
      readonly [scoped]?: true
    },
>(route: R) {
  const { access, operation } = route
  const security = access === 'open' ? [] : [{ bearer: [] }, { apikey: [] }]
  // The extra keys are not of R's type, so that handlers are typed by the contract alone.
  const repeatable = {
    [repetition]: (route.answerKept === false ? 'refused' : 'replayed') satisfies Repetition,
    parameters: [idempotencyKey],
    responses: withFailures(route.responses, 'VALIDATION_FAILED', 'CONFLICT'),
  }
  // Its answer is for one body, which is known only once it has been read.
  const isRepeatable = route.method === 'post' && !(streamedBody in route)
  const extra = {
    ...(isRepeatable ? repeatable : {}),
    security,
    'x-access': access,
    'x-operation': operation,
    access: undefined,
    answerKept: undefined,
    operation: undefined,
  }
  return createRoute<P, R>({ ...route, ...extra } as R)
}

/** A JSON answer. */
export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } }
}

/** An answer of server-sent events; an `error` event has the one error shape, and is the last. */
export function events(description: string) {
  return { description, content: { 'text/event-stream': { schema: z.string() } } }
}

/** An answer of JSON, one value a line; an error is the last line, in the one error shape. */
export function lines(description: string) {
  return { description, content: { 'application/x-ndjson': { schema: z.string() } } }
}

/** A JSON body. Always required: an optional one is not validated when the media type is missing. */
export function body<T extends z.ZodType>(schema: T) {
  return { required: true, content: { 'application/json': { schema } } } as const
}

export const ErrorBody = z
  .object({
    message: z.string(),
    error: z.object({
      code: z.enum(Object.keys(errorTable) as [ErrorCode, ...ErrorCode[]]),
      message: z.string(),
      retryable: z.boolean(),
      requestId: z.string(),
      details: z.unknown().optional(),
    }),
  })
  .openapi('Error')

type StatusOfCode<C extends ErrorCode> = (typeof errorTable)[C]['status']
type Failures<C extends ErrorCode> = {
  [S in StatusOfCode<C>]: { description: string; content: { 'application/json': { schema: typeof ErrorBody } } }
}

/** Failures every route with a key has. */
const common = [
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'RATE_LIMITED',
  'OVERLOADED',
  'INTERNAL',
  'REGISTRY_UNAVAILABLE',
  'URI_TOO_LONG',
] as const

/** One entry per status, naming the codes it can carry; the common ones are added. */
export function failures<const C extends ErrorCode>(...codes: readonly C[]): Failures<C | (typeof common)[number]> {
  const byStatus = new Map<number, string[]>()
  for (const code of new Set<ErrorCode>([...codes, ...common])) {
    const { status } = errorTable[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  const entries = [...byStatus]
    .sort(([a], [b]) => a - b)
    .map(([status, names]) => [status, json(ErrorBody, names.join(', '))])
  return Object.fromEntries(entries) as Failures<C | (typeof common)[number]>
}

/** Adds codes to a route's answers where it does not name them itself. */
function withFailures(responses: RouteConfig['responses'], ...codes: readonly ErrorCode[]): RouteConfig['responses'] {
  const added = codes.map((code) => {
    const { status } = errorTable[code]
    const present = responses[status]
    const named = present && 'description' in present ? present.description.split(', ') : []
    return [status, json(ErrorBody, [...new Set([...named, code])].join(', '))] as const
  })
  return { ...responses, ...Object.fromEntries(added) }
}

/** Failures of every route that works on a registered database. */
export const databaseFailures = [
  'VALIDATION_FAILED',
  'FEATURE_DISABLED',
  'DB_NOT_FOUND',
  'TARGET_NOT_ALLOWED',
  'DB_INVALID_CREDENTIALS',
  'DB_CREDENTIALS_UNREADABLE',
  'DB_CONNECTION_FAILED',
  'DB_UNAVAILABLE',
  'DB_TIMEOUT',
  'DB_UNSUPPORTED',
  'POOL_EXHAUSTED',
  'RESULT_TOO_LARGE',
] as const satisfies readonly ErrorCode[]
