import { parseArray } from './array-text.ts'
import { parseJson, type JsonValue } from './json-text.ts'
import { elementOf as builtinElementOf, type ArrayElement } from './type-names.ts'

export type { JsonValue } from './json-text.ts'

/** Finds the element type of an array type that isn't built in (an enum's array); `undefined` leaves its values as text. */
export type ElementOf = (arrayOid: number) => ArrayElement | undefined

/** A column as `RowDescription` names it; a domain's column has its base type's oid. */
export interface ColumnType {
  readonly name: string
  readonly typeOid: number
}

type Read = (text: string) => JsonValue

const asText: Read = (text) => text

const asFloat: Read = (text) => {
  const value = Number(text)
  return Number.isFinite(value) && !Object.is(value, -0) ? value : text
}

/** By type oid; whatever is absent (int8, numeric, money, bytea, date and time, ranges, composites, …) stays PostgreSQL's text. */
const scalars: ReadonlyMap<number, Read> = new Map([
  [16, (text) => text === 't'],
  [21, Number],
  [23, Number],
  [26, Number],
  [114, parseJson],
  [700, asFloat],
  [701, asFloat],
  [3802, parseJson],
])

/**
 * PostgreSQL's text output as the JSON value that reads back as the same: bool, int2, int4, oid and finite floats as JSON
 * has them (`NaN`, `Infinity` and `-0` are strings), json embedded with exact numbers, arrays nested, all else the text.
 * An array with lower bounds of its own or of an unknown element type is its text. SQL NULL is `null`, as json `null` is.
 */
export function fromText(typeOid: number, text: string, elementOf?: ElementOf): JsonValue {
  return readerOf(typeOid, elementOf)(text)
}

/** The reading of one column, found once for all its rows. */
export function readerOf(typeOid: number, elementOf?: ElementOf): Read {
  const element = builtinElementOf(typeOid) ?? elementOf?.(typeOid)
  if (element === undefined) return scalars.get(typeOid) ?? asText
  const read = scalars.get(element.oid) ?? asText
  return (text) => parseArray(text, element.delimiter, read) ?? text
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads rows of a query's raw output (`.raw()`: bytes, or `null`) into values in column order. Bytes that are no UTF-8 become
 * `{ base64 }`: the server sends none, `SQL_ASCII` or not, unless the statement itself changes `client_encoding`.
 */
export function rowReader(
  columns: readonly ColumnType[],
  elementOf?: ElementOf,
): (row: readonly (Uint8Array | null)[]) => JsonValue[] {
  const reads = columns.map((column) => readerOf(column.typeOid, elementOf))
  return (row) => row.map((bytes, index) => (bytes === null ? null : fromBytes(bytes, reads[index] ?? asText)))
}

function fromBytes(bytes: Uint8Array, read: Read): JsonValue {
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return { base64: bytes.toBase64() }
  }
  return read(text)
}

/** A row as an object; `__proto__` is a key like any other. Of columns with one name the last wins: arrays keep them all. */
export function toRow(
  columns: readonly Pick<ColumnType, 'name'>[],
  values: readonly JsonValue[],
): Record<string, JsonValue> {
  return Object.fromEntries(columns.map(({ name }, index) => [name, values[index] ?? null]))
}
