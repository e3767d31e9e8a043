/** What `JSON.rawJSON` makes: `JSON.stringify` writes its text unchanged, so a number keeps all its digits. */
export interface RawJson {
  readonly rawJSON: string
}

/** Any value that `JSON.stringify` writes as PostgreSQL meant it. */
export type JsonValue =
  null | boolean | number | string | RawJson | readonly JsonValue[] | { readonly [key: string]: JsonValue }

type Reviver = (key: string, value: JsonValue, context: { readonly source?: string }) => JsonValue

// TypeScript's library has no types yet for the source text access proposal, which Bun implements.
const json = JSON as unknown as {
  parse(text: string, reviver?: Reviver): JsonValue
  rawJSON(text: string): RawJson
}

/** Levels of nesting that are embedded; far below where `JSON.parse` with a reviver and `JSON.stringify` overflow the stack. */
export const maxDepth = 500

/**
 * A `json` or `jsonb` text as a value with exact numbers: one that JavaScript would print otherwise (`1.10`, `-0`, more than
 * 15 digits) is kept as its text. What can't be embedded unchanged stays the text, as a string: nesting deeper than
 * `maxDepth`, and objects that repeat a key, which only type `json` keeps.
 */
export function parseJson(text: string): JsonValue {
  const facts = survey(text)
  if (facts.depth > maxDepth) return text
  const value = json.parse(text)
  if (facts.members !== countMembers(value)) return text
  return facts.exact ? value : json.parse(text, keepNumber)
}

const keepNumber: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && source !== undefined && String(value) !== source ? json.rawJSON(source) : value

/** One pass over a valid JSON text: how deep it nests, its members (repeated keys too), and whether its numbers print as they are. */
function survey(text: string): { depth: number; members: number; exact: boolean } {
  let depth = 0
  let level = 0
  let members = 0
  let exact = true
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at)
    if (char === '"') at = stringEnd(text, at)
    else if (char === ':') members += 1
    else if (char === '{' || char === '[') depth = Math.max(depth, (level += 1))
    else if (char === '}' || char === ']') level -= 1
    else if (char === '-' || (char >= '0' && char <= '9')) {
      const start = at
      while (isNumberPart(text.charCodeAt(at + 1))) at += 1
      if (exact) {
        const source = text.slice(start, at + 1)
        exact = String(Number(source)) === source
      }
    }
  }
  return { depth, members, exact }
}

function stringEnd(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  for (;;) {
    let backslashes = 0
    while (text.charAt(end - 1 - backslashes) === '\\') backslashes += 1
    if (backslashes % 2 === 0) return end
    end = text.indexOf('"', end + 1)
  }
}

/** `+ - . 0…9 E e` */
function isNumberPart(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) || code === 0x2e || code === 0x2d || code === 0x2b || code === 0x65 || code === 0x45
  )
}

function countMembers(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) {
    for (const element of value) count += countMembers(element)
    return count
  }
  for (const member of Object.values(value)) count += 1 + countMembers(member)
  return count
}
