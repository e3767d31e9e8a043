import type { Context } from 'hono'
import { readCursor, signCursor } from '../credentials/signed.ts'
import type { AnswerHeaders } from './answer.ts'
import type { Env } from './env.ts'

interface Keyed {
  readonly id: string
  readonly created_at: string
}

/** Where a keyset page in `created_at desc, id desc` goes on. The cursor is good for this list with these filters only. */
export function readPosition(
  c: Context<Env>,
  cursor: string | undefined,
): { createdAt: string; id: string } | undefined {
  if (cursor === undefined) return undefined
  const [createdAt, id] = readCursor(c.env.deps.keyring, scopeOf(c), cursor)
  return { createdAt: String(createdAt), id: String(id) }
}

/** `limit` of the rows, `limit + 1` having been asked for, and where one is left over the header `Link: <…>; rel="next"`. */
export function pageOf<T extends Keyed>(
  c: Context<Env>,
  rows: readonly T[],
  limit: number,
): { readonly page: T[]; readonly headers: AnswerHeaders } {
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (rows.length <= limit || last === undefined) return { page, headers: {} }
  const query = new URLSearchParams(c.req.query())
  query.set('cursor', signCursor(c.env.deps.keyring, scopeOf(c), [last.created_at, last.id]))
  return { page, headers: { link: `<${c.req.path}?${query}>; rel="next"` } }
}

function scopeOf(c: Context<Env>): string {
  const { cursor: _cursor, limit: _limit, ...filters } = c.req.query()
  return JSON.stringify([c.req.path, Object.entries(filters).sort()])
}
