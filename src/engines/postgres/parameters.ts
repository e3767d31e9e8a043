/** A JSON array or object as a query parameter: an array literal for an array type, JSON text for json and jsonb. */
class JsonParameter {
  readonly json: string
  readonly #text: string

  constructor(value: object) {
    this.json = JSON.stringify(value)
    this.#text = Array.isArray(value) ? arrayLiteral(value) : this.json
  }

  toString(): string {
    return this.#text
  }
}

export type QueryParameter = string | number | boolean | null | readonly unknown[] | Readonly<Record<string, unknown>>

/** Turns JSON parameters into what the server reads as text, whatever the type of `$n`; strings go through untouched. */
export function toParameters(values: readonly QueryParameter[]): (string | JsonParameter | null)[] {
  return values.map((value) => {
    if (value === null) return null
    return typeof value === 'object' ? new JsonParameter(value) : String(value)
  })
}

const text = (value: unknown) => String(value)
const json = (value: unknown) => (value instanceof JsonParameter ? value.json : String(value))

/**
 * postgres.js rewrites parameters by the type the server names (a string for a boolean becomes false, a timestamp loses its
 * microseconds): under these, text stays text. Parsers are left alone; results are read raw.
 */
export const serializers = {
  string: { to: 25, from: [], serialize: text, parse: text },
  number: { to: 0, from: [], serialize: text, parse: text },
  json: { to: 114, from: [], serialize: json, parse: text },
  jsonb: { to: 3802, from: [], serialize: json, parse: text },
  boolean: { to: 16, from: [], serialize: text, parse: text },
  date: { to: 1184, from: [], serialize: text, parse: text },
  timestamp: { to: 1114, from: [], serialize: text, parse: text },
  day: { to: 1082, from: [], serialize: text, parse: text },
  bytea: { to: 17, from: [], serialize: text, parse: text },
}

function arrayLiteral(values: readonly unknown[]): string {
  const elements = values.map((value) => {
    if (value === null || value === undefined) return 'NULL'
    if (Array.isArray(value)) return arrayLiteral(value)
    const element = typeof value === 'object' ? JSON.stringify(value) : String(value)
    return `"${element.replace(/[\\"]/g, '\\$&')}"`
  })
  return `{${elements.join(',')}}`
}
