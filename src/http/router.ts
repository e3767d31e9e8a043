import { OpenAPIHono, type z } from '@hono/zod-openapi'
import { ApiError } from '../errors.ts'
import type { Env } from './env.ts'

/** A router whose validation failures are thrown as `VALIDATION_FAILED`. The hook is pure: the first app it is mounted in binds it for ever. */
export function createRouter() {
  return new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (!result.success) throw validationFailed(result.error.issues, result.target)
    },
  })
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
