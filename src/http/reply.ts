import type { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { answer, type AnswerHeaders } from './answer.ts'
import type { Env } from './env.ts'

interface HasResponses {
  readonly responses: Readonly<Record<number, unknown>>
}
type SchemaOf<R extends HasResponses, S extends keyof R['responses']> = R['responses'][S] extends {
  content: { 'application/json': { schema: infer T extends z.ZodType } }
}
  ? T
  : never

/** Answers through the route's own response schema: what it does not name does not leave. A row that does not fit is `INTERNAL`. */
export function reply<R extends HasResponses, S extends keyof R['responses'] & ContentfulStatusCode>(
  c: Context<Env>,
  route: R,
  status: S,
  data: z.input<SchemaOf<R, S>>,
  headers?: AnswerHeaders,
) {
  return answer(c.env, write(route, status, data), status, headers) as never
}

/** Answers a list, and keeps the answer for its URL until a change is heard: the route is marked `listed`. */
export async function replyListed<R extends HasResponses, S extends keyof R['responses'] & ContentfulStatusCode>(
  c: Context<Env>,
  route: R,
  status: S,
  load: () => Promise<{ readonly page: z.input<SchemaOf<R, S>>; readonly headers: AnswerHeaders }>,
) {
  const make = async () => {
    const { page, headers: own } = await load()
    return { json: write(route, status, page), headers: own }
  }
  // What others see of a list follows from their grants, which change on their own.
  const kept = c.env.principal.kind === 'service'
  const { json: text, headers } = await (kept ? c.env.deps.lists.get(c.req.url, make, c.env) : make())
  return answer(c.env, text, status, headers) as never
}

/** `reply` for what is made of a kept object that never changes: checked and written once, however often it is asked for. */
export function replyKept<
  R extends HasResponses,
  S extends keyof R['responses'] & ContentfulStatusCode,
  K extends object,
>(c: Context<Env>, route: R, status: S, kept: K, make: (kept: K) => z.input<SchemaOf<R, S>>, headers?: AnswerHeaders) {
  let texts = written.get(route)
  if (texts === undefined) written.set(route, (texts = new WeakMap()))
  let text = texts.get(kept)
  if (text === undefined) texts.set(kept, (text = write(route, status, make(kept))))
  return answer(c.env, text, status, headers) as never
}

const written = new WeakMap<object, WeakMap<object, string>>()

function write(route: HasResponses, status: ContentfulStatusCode, data: unknown): string {
  const response = route.responses[status] as { content: { 'application/json': { schema: z.ZodType } } }
  return JSON.stringify(response.content['application/json'].schema.parse(data))
}
