import type { Context } from 'hono'
import { readCursor, signCursor } from '../credentials/signed.ts'
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
  const [createdAt, id] = readCursor(c.var.deps.keyring, scopeOf(c), cursor)
  return { createdAt: String(createdAt), id: String(id) }
}

/** Sends `limit` of the rows, `limit + 1` having been asked for; where one is left over, `Link: <…>; rel="next"` names the next page. */
export function pageOf<T extends Keyed>(c: Context<Env>, rows: readonly T[], limit: number): T[] {
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (rows.length > limit && last) {
    const query = new URLSearchParams(c.req.query())
    query.set('cursor', signCursor(c.var.deps.keyring, scopeOf(c), [last.created_at, last.id]))
    c.header('link', `<${c.req.path}?${query}>; rel="next"`)
  }
  return page
}

function scopeOf(c: Context<Env>): string {
  const { cursor: _cursor, limit: _limit, ...filters } = c.req.query()
  return JSON.stringify([c.req.path, Object.entries(filters).sort()])
}
