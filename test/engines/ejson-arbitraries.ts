import fc from 'fast-check'
import { BSON } from 'mongodb'

/** Keys as they come in documents: dots, dollars, `__proto__`, empty; not those that JavaScript reorders or Extended JSON reserves. */
export const ejsonKey = fc
  .oneof(
    fc.constantFrom('', '__proto__', 'constructor', 'a.b', 'price$', 'é', '_id ', 'toString'),
    fc.string({ unit: 'grapheme', maxLength: 12 }),
  )
  .filter((key) => !key.includes('\0') && !key.startsWith('$') && !/^\d+$/.test(key))

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const noNul = text.filter((value) => !value.includes('\0'))
const bytes = fc.uint8Array({ maxLength: 24 })

const scalar: fc.Arbitrary<unknown> = fc.oneof(
  text,
  fc.boolean(),
  fc.constant(null),
  fc.integer({ min: -2147483648, max: 2147483647 }).map((value) => new BSON.Int32(value)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => BSON.Long.fromBigInt(value)),
  fc.double().map((value) => new BSON.Double(value)),
  fc.integer().map((value) => new BSON.Double(value)),
  fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 1e21, 2 ** 53).map((value) => new BSON.Double(value)),
  fc.integer({ min: -8.64e15, max: 8.64e15 }).map((ms) => new Date(ms)),
  fc.constantFrom(-1, 0, 253402300799999, 253402300800000, 8.64e15, -8.64e15).map((ms) => new Date(ms)),
  fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((value) => new BSON.Decimal128(value))
    .filter(isNormal),
  fc.constantFrom('0', '-0', 'NaN', 'Infinity', '1E+6000', '0.10', '-1E-6176').map(BSON.Decimal128.fromString),
  fc
    .tuple(bytes, fc.constantFrom(0, 1, 2, 3, 5, 6, 7, 8, 128, 255))
    .map(([value, type]) => new BSON.Binary(value, type)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((value) => new BSON.Binary(value, BSON.Binary.SUBTYPE_UUID)),
  fc.uint8Array({ minLength: 12, maxLength: 12 }).map((value) => new BSON.ObjectId(value)),
  fc.tuple(fc.nat(0xffffffff), fc.nat(0xffffffff)).map(([t, i]) => new BSON.Timestamp({ t: t >>> 0, i: i >>> 0 })),
  fc
    .tuple(noNul, fc.constantFrom('', 'i', 'imsx', 'su'))
    .map(([pattern, flags]) => new BSON.BSONRegExp(pattern, flags)),
  text.map((code) => new BSON.Code(code)),
  text.map((value) => new BSON.BSONSymbol(value)),
  fc.constantFrom(new BSON.MinKey(), new BSON.MaxKey()),
)

/** A value of any BSON type, nested a little. */
export const ejsonValue: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(ejsonKey, tie('value'), { maxKeys: 4 }),
    fc.tuple(text, fc.dictionary(ejsonKey, scalar, { maxKeys: 2 })).map(([code, scope]) => new BSON.Code(code, scope)),
    fc.uint8Array({ minLength: 12, maxLength: 12 }).map((id) => ({ $ref: 'tasks', $id: new BSON.ObjectId(id) })),
  ),
})).value

// Other encodings of the same number exist, which no text can tell apart.
function isNormal(value: BSON.Decimal128): boolean {
  try {
    return Buffer.compare(BSON.Decimal128.fromString(value.toString()).bytes, value.bytes) === 0
  } catch {
    return false
  }
}
