import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { BSON } from 'mongodb'
import { ejsonText, idFromText, idToText } from '#src/engines/mongodb/values.ts'
import { ejsonKey, ejsonValue } from './ejson-arbitraries.ts'

const { EJSON } = BSON
const bytesOf = (document: BSON.Document) => BSON.serialize(document, { ignoreUndefined: false })
const readBack = (text: string) => bytesOf(EJSON.parse(text, { relaxed: false }) as BSON.Document)
const write = (document: BSON.Document, mode: 'readable' | 'canonical' | 'relaxed' = 'readable') =>
  ejsonText(bytesOf(document), mode)

describe('Extended JSON', () => {
  test('reads back as the same bytes, for documents of every BSON type', () => {
    fc.assert(
      fc.property(fc.dictionary(ejsonKey, ejsonValue, { maxKeys: 8 }), (document) => {
        const bytes = bytesOf(document)
        for (const mode of ['readable', 'canonical'] as const)
          expect(Buffer.compare(readBack(ejsonText(bytes, mode)), bytes)).toBe(0)
      }),
      { numRuns: 2_000 },
    )
  })

  test('in its pure forms means what the reference library means', () => {
    fc.assert(
      fc.property(fc.dictionary(ejsonKey, ejsonValue, { maxKeys: 8 }), (document) => {
        const bytes = bytesOf(document)
        const lossless = { promoteValues: false, bsonRegExp: true } as const
        const reference = EJSON.stringify(BSON.deserialize(bytes, lossless), { relaxed: true })
        const plain = (text: string) => JSON.stringify(EJSON.parse(text))
        expect(plain(ejsonText(bytes, 'relaxed'))).toBe(plain(reference))
      }),
      { numRuns: 500 },
    )
  })

  test('is readable where that loses nothing, and canonical where it would', () => {
    const cases: readonly (readonly [value: unknown, text: string])[] = [
      [new BSON.Int32(1), '1'],
      [new BSON.Int32(-2147483648), '-2147483648'],
      [BSON.Long.fromNumber(1), '{"$numberLong":"1"}'],
      [BSON.Long.MIN_VALUE, '{"$numberLong":"-9223372036854775808"}'],
      [new BSON.Double(1.5), '1.5'],
      [new BSON.Double(5e-324), '5e-324'],
      [new BSON.Double(1), '{"$numberDouble":"1.0"}'],
      [new BSON.Double(-0), '{"$numberDouble":"-0.0"}'],
      [new BSON.Double(1e300), '{"$numberDouble":"1e+300"}'],
      [new BSON.Double(NaN), '{"$numberDouble":"NaN"}'],
      [new BSON.Double(-Infinity), '{"$numberDouble":"-Infinity"}'],
      [new Date(0), '{"$date":"1970-01-01T00:00:00.000Z"}'],
      [new Date(-1), '{"$date":{"$numberLong":"-1"}}'],
      [new Date(253402300799999), '{"$date":"9999-12-31T23:59:59.999Z"}'],
      [new Date(253402300800000), '{"$date":{"$numberLong":"253402300800000"}}'],
      [new Date(8.64e15), '{"$date":{"$numberLong":"8640000000000000"}}'],
      ['é\u0000"', '"é\\u0000\\""'],
      [[null, true, []], '[null,true,[]]'],
      [{ ['__proto__']: { a: 'b' } }, '{"__proto__":{"a":"b"}}'],
    ]
    for (const [value, text] of cases) expect(write({ value })).toBe(`{"value":${text}}`)
    expect(write({ value: BSON.Long.fromString('9007199254740993') }, 'relaxed')).toBe('{"value":9007199254740992}')
  })

  test('keeps what JavaScript objects lose: the order of number-like keys, keys that are there twice, dates beyond Date', () => {
    const element = (type: number, key: string, ...value: number[]) => [type, ...Buffer.from(key), 0, ...value]
    const document = (...elements: number[][]) => {
      const bytes = Buffer.from([0, 0, 0, 0, ...elements.flat(), 0])
      bytes.writeInt32LE(bytes.length)
      return bytes
    }
    const max = [255, 255, 255, 255, 255, 255, 255, 127]
    const bytes = document(
      element(0x08, '10', 1),
      element(0x08, '2', 0),
      element(0x0a, 'a'),
      element(0x08, 'a', 1),
      element(0x09, 'd', ...max),
      element(0x06, 'u'),
    )
    expect(ejsonText(bytes, 'readable')).toBe(
      '{"10":true,"2":false,"a":null,"a":true,"d":{"$date":{"$numberLong":"9223372036854775807"}},"u":{"$undefined":true}}',
    )
  })

  test('a document whose fields look like Extended JSON is passed on as it is, which no reader can tell apart', () => {
    for (const value of [{ $numberInt: '5' }, { $oid: 'x' }, { $date: 'soon' }, { $numberDouble: 7 }])
      expect(JSON.parse(write({ value }, 'relaxed'))).toEqual({ value })
  })

  test('RangeError for bytes that are no document, whatever they are', () => {
    const throwsWell = (bytes: Uint8Array) => {
      try {
        ejsonText(bytes, 'readable')
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), throwsWell), { numRuns: 2_000 })
    const whole = bytesOf({ a: [1, { b: 'text', c: new BSON.ObjectId(), d: new BSON.Code('x', { y: 1 }) }], e: /x/i })
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const broken = Uint8Array.from(whole)
        broken[at] = byte
        throwsWell(broken)
        throwsWell(whole.subarray(0, at))
      }),
      { numRuns: 2_000 },
    )
    let deep: BSON.Document = {}
    for (let level = 0; level < 300; level++) deep = { a: deep }
    expect(() => write(deep)).toThrow(RangeError)
  })
})

describe('an _id in a cursor', () => {
  test('comes back with its type', () => {
    fc.assert(
      fc.property(ejsonValue, (_id) => {
        const bytes = bytesOf({ before: 1, _id, after: 1 })
        const text = idToText(bytes)
        if (text === undefined) return
        expect(Buffer.compare(bytesOf({ before: 1, _id: idFromText(text), after: 1 }), bytes)).toBe(0)
      }),
    )
    expect(idToText(bytesOf({ _id: { a: new BSON.Int32(1) } }))).toBeString()
  })

  test('is left out where the driver would send other bytes, and where it is too long for a URL', () => {
    const beyondDates = bytesOf({ _id: BSON.Long.MAX_VALUE })
    beyondDates[4] = 0x09
    const twice = bytesOf({ _id: { a: 1, b: 1 } })
    twice[twice.lastIndexOf('b'.charCodeAt(0))] = 'a'.charCodeAt(0)
    const numberLike = bytesOf({
      _id: new Map([
        ['b', 1],
        ['2', 1],
        ['1', 1],
      ]),
    })
    const long = bytesOf({ _id: 'x'.repeat(2_048) })
    expect([beyondDates, twice, numberLike, long, bytesOf({ a: 1 })].map(idToText)).toEqual(Array(5).fill(undefined))
  })
})
