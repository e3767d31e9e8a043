import { invalid } from '../../errors.ts'
import { BSON } from './driver.ts'

type Fields = Readonly<Record<string, unknown>>

const maxDateMs = 8.64e15
const maxInt64 = 2n ** 63n

/**
 * Parsed Extended JSON v2 as what the driver writes as the same BSON. The driver's own reader drops keys beside a value's and makes a
 * `$regex` query a value; here what can't be written exactly is `VALIDATION_FAILED`, naming the place. Documents are maps, because an
 * object can't be trusted with every key.
 */
export function fromEjson(value: unknown, path: string): unknown {
  if (typeof value === 'number') return numberOf(value)
  if (typeof value === 'string') return textOf(value, path)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item, index) => fromEjson(item, `${path}.${index}`))
  const fields = value as Fields
  const keys = Object.keys(fields)
  const name = keys.find((key) => readers.has(key))
  if (name !== undefined) return readValue(name, fields, keys, path)
  return new Map(
    keys.map((key) => {
      if (key.includes('\0')) throw invalid(path, 'must not have NUL in a key')
      return [textOf(key, path), fromEjson(fields[key], `${path}.${key.slice(0, 64)}`)]
    }),
  )
}

function readValue(name: string, fields: Fields, keys: readonly string[], path: string): unknown {
  const read = readers.get(name)
  let value: unknown
  try {
    value = keys.length === 1 ? read?.(fields[name]) : undefined
  } catch {
    // BSON's own classes refuse what is left.
  }
  if (value === undefined) throw invalid(path, `must be a ${name} of Extended JSON v2 that can be sent`)
  return value
}

const never = () => undefined

/** Each gives `undefined`, or throws, for what is not of its form. */
const readers: ReadonlyMap<string, (given: unknown) => unknown> = new Map<string, (given: unknown) => unknown>([
  ['$oid', (given) => matching(given, /^[\da-f]{24}$/i, (hex) => new BSON.ObjectId(hex))],
  ['$numberInt', (given) => matching(given, /^-?\d{1,10}$/, (digits) => int32Of(Number(digits)))],
  ['$numberLong', (given) => matching(given, /^-?\d{1,19}$/, (digits) => int64Of(BigInt(digits)))],
  ['$numberDouble', (given) => matching(given, /^(NaN|-?Infinity|-?\d[\d.]*(e[+-]?\d+)?)$/i, doubleOf)],
  ['$numberDecimal', (given) => matching(given, /^/, (digits) => BSON.Decimal128.fromString(digits))],
  ['$date', dateOf],
  ['$binary', binaryOf],
  ['$uuid', (given) => matching(given, /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i, (hex) => new BSON.UUID(hex))],
  ['$timestamp', timestampOf],
  ['$regularExpression', regularExpressionOf],
  ['$symbol', (given) => matching(given, /^/, (symbol) => new BSON.BSONSymbol(symbol))],
  ['$minKey', (given) => (given === 1 ? new BSON.MinKey() : undefined)],
  ['$maxKey', (given) => (given === 1 ? new BSON.MaxKey() : undefined)],
  // Code is not sent, and the driver can't write the other two.
  ['$code', never],
  ['$scope', never],
  ['$dbPointer', never],
  ['$undefined', never],
])

function matching<T>(given: unknown, pattern: RegExp, read: (text: string) => T): T | undefined {
  return typeof given === 'string' && given.isWellFormed() && pattern.test(given) ? read(given) : undefined
}

// A whole number is an integer, as it is for the shell and for relaxed Extended JSON.
function numberOf(value: number): unknown {
  if (!Number.isInteger(value) || Object.is(value, -0)) return new BSON.Double(value)
  return int32Of(value) ?? int64Of(BigInt(value)) ?? new BSON.Double(value)
}

function int32Of(value: number): BSON.Int32 | undefined {
  return value === (value | 0) ? new BSON.Int32(value) : undefined
}

function int64Of(value: bigint): BSON.Long | undefined {
  return value >= -maxInt64 && value < maxInt64 ? BSON.Long.fromBigInt(value) : undefined
}

function doubleOf(text: string): BSON.Double | undefined {
  const value = Number(text)
  const isSpecial = /^(NaN|-?Infinity)$/.test(text)
  return isSpecial || Number.isFinite(value) ? new BSON.Double(value) : undefined
}

// The driver writes dates as JavaScript has them, so those of the years beyond can't be sent.
function dateOf(given: unknown): Date | undefined {
  const digits = fieldsOf(given, '$numberLong')?.['$numberLong']
  const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:?\d\d)$/
  const ms =
    digits === undefined
      ? matching(given, iso, (text) => (isDay(text.slice(0, 10)) ? Date.parse(text) : undefined))
      : matching(digits, /^-?\d{1,16}$/, (text) => Number(text))
  return ms !== undefined && Math.abs(ms) <= maxDateMs ? new Date(ms) : undefined
}

// 30 February would be read as 2 March.
function isDay(text: string): boolean {
  const day = new Date(text)
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text)
}

function binaryOf(given: unknown): BSON.Binary | undefined {
  const { base64, subType } = fieldsOf(given, 'base64', 'subType') ?? {}
  return matching(subType, /^[\da-f]{1,2}$/i, (type) =>
    matching(base64, /^/, (text) => {
      const bytes = Buffer.from(text, 'base64')
      if (bytes.toString('base64') !== text) return undefined
      const binary = new BSON.Binary(bytes, Number.parseInt(type, 16))
      // A vector is checked by the driver only when it is written.
      if (binary.sub_type === BSON.Binary.SUBTYPE_VECTOR) BSON.serialize({ binary })
      return binary
    }),
  )
}

function timestampOf(given: unknown): BSON.Timestamp | undefined {
  const { t, i } = fieldsOf(given, 't', 'i') ?? {}
  return isUint32(t) && isUint32(i) ? new BSON.Timestamp({ t, i }) : undefined
}

function isUint32(value: unknown): value is number {
  return typeof value === 'number' && value === value >>> 0
}

function regularExpressionOf(given: unknown): BSON.BSONRegExp | undefined {
  const { pattern, options } = fieldsOf(given, 'pattern', 'options') ?? {}
  return matching(pattern, /^/, (text) => matching(options, /^/, (flags) => new BSON.BSONRegExp(text, flags)))
}

/** The fields of an object that has exactly these. */
function fieldsOf(given: unknown, ...names: readonly string[]): Fields | undefined {
  if (typeof given !== 'object' || given === null || Object.keys(given).length !== names.length) return undefined
  return names.every((name) => Object.hasOwn(given, name)) ? (given as Fields) : undefined
}

function textOf(value: string, path: string): string {
  if (!value.isWellFormed()) throw invalid(path, 'must be well-formed text')
  return value
}
