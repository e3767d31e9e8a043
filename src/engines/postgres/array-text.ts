export type Nested<T> = T | null | readonly Nested<T>[]

const quote = 0x22
const backslash = 0x5c
const open = 0x7b
const close = 0x7d

/**
 * PostgreSQL's text of an array as nested arrays, each element through `read`, NULL as `null`. `undefined` for what a JSON
 * array can't say: explicit lower bounds (`[0:1]={1,2}`), or a text of another form.
 * See https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function parseArray<T>(text: string, delimiter: string, read: (element: string) => T): Nested<T>[] | undefined {
  const separator = delimiter.charCodeAt(0)
  const outer: Nested<T>[] = []
  const parents: Nested<T>[][] = []
  let current = outer
  let at = 1
  if (text.charCodeAt(0) !== open) return undefined
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === separator) {
      at += 1
    } else if (code === open) {
      const inner: Nested<T>[] = []
      current.push(inner)
      parents.push(current)
      current = inner
      at += 1
    } else if (code === close) {
      const parent = parents.pop()
      at += 1
      if (parent === undefined) return at === text.length ? outer : undefined
      current = parent
    } else if (code === quote) {
      const end = closingQuote(text, at + 1)
      if (end === -1) return undefined
      const body = text.slice(at + 1, end)
      current.push(read(body.includes('\\') ? body.replace(/\\([^])/g, '$1') : body))
      at = end + 1
    } else {
      const start = at
      while (at < text.length && text.charCodeAt(at) !== separator && text.charCodeAt(at) !== close) at += 1
      const element = text.slice(start, at)
      current.push(element === 'NULL' ? null : read(element))
    }
  }
  return undefined
}

function closingQuote(text: string, from: number): number {
  let at = from
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === quote) return at
    at += code === backslash ? 2 : 1
  }
  return -1
}
