import type { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { ApiError } from '../errors.ts'
import type { Env } from './env.ts'

type Target = 'query' | 'param' | 'header' | 'json'

/** Notes what a schema makes of a part of the request. */
export function check(c: Context<Env>, target: Target, schema: z.ZodType, value: unknown): void {
  const result = schema.safeParse(value)
  if (!result.success) throw validationFailed(result.error.issues, target)
  c.req.addValidatedData(target, result.data as object)
}

const maxCheckedPaths = 16_384

/** The same for the parameters of a path, which says every time what it said once. */
export function checkParams(c: Context<Env>, schema: z.ZodType, checked: Map<string, object>): void {
  const known = checked.get(c.req.path)
  if (known) return c.req.addValidatedData('param', known)
  check(c, 'param', schema, c.req.param())
  if (checked.size >= maxCheckedPaths) checked.clear()
  checked.set(c.req.path, c.req.valid('param' as never))
}

/** The query as the library reads it: a parameter given twice is a list. */
export function queryOf(c: Context<Env>): Readonly<Record<string, unknown>> {
  const { url } = c.req
  const start = url.indexOf('?')
  const query: Record<string, unknown> = {}
  if (start === -1 || readPlain(url, start, query)) return query
  const given = c.req.queries()
  const found: Record<string, unknown> = {}
  for (const name in given) found[name] = given[name]?.length === 1 ? given[name][0] : given[name]
  return found
}

// Most queries have nothing to decode and no name twice: the library's way costs them more than their validation.
function readPlain(url: string, start: number, query: Record<string, unknown>): boolean {
  let name: string | undefined
  let from = start + 1
  for (let at = from; at <= url.length; at++) {
    const code = url.charCodeAt(at)
    if (code === equals && name === undefined) {
      name = url.slice(from, at)
      from = at + 1
    } else if (code === ampersand || at === url.length) {
      if (name === undefined || name === '' || name in query) return false
      query[name] = url.slice(from, at)
      name = undefined
      from = at + 1
    } else if (code === percent || code === plus || code === hash) return false
  }
  return true
}

const equals = 0x3d
const ampersand = 0x26
const percent = 0x25
const plus = 0x2b
const hash = 0x23

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
