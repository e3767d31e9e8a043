import type { CutMark } from '../replies.ts'

/** Where a page goes on, for a cursor to carry: what the page before gave as `next`. Empty is the beginning. */
export type Position = readonly string[]

/** Cursors travel in URLs: a member above it is not in them, and its place is there instead, which shifts when others change. */
export const maxCursorBytes = 1_024

/**
 * A page of what the server answered at once, in the order of its names' bytes. It goes on after the last name, which need not be there any
 * more, so that nothing is lost when others come and go.
 */
export function pageByName<T>(
  all: readonly T[],
  nameOf: (item: T) => Buffer,
  count: number,
  [after = '', index]: Position,
): { readonly page: readonly T[]; readonly next: Position | null } {
  const last = Buffer.from(after, 'base64')
  const sorted = all.toSorted((a, b) => Buffer.compare(nameOf(a), nameOf(b)))
  const found = after === '' ? Number(index ?? 0) : sorted.findIndex((item) => Buffer.compare(nameOf(item), last) > 0)
  const start = found === -1 ? sorted.length : found
  const page = sorted.slice(start, start + count)
  const end = page.at(-1)
  if (end === undefined || start + count >= sorted.length) return { page, next: null }
  const name = nameOf(end)
  const isKept = name.length > 0 && name.length <= maxCursorBytes
  return { page, next: isKept ? [name.toString('base64')] : ['', String(start + count)] }
}

/** Says of a member that nothing of it is there; its size is known where it was read. */
export function leftOutMark(member?: Buffer): CutMark {
  return { truncated: true, ...(member === undefined ? {} : { size_bytes: member.length }) }
}
