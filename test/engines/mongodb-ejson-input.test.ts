import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { BSON } from 'mongodb'
import { fromEjson } from '#src/engines/mongodb/ejson-input.ts'
import { ejsonText } from '#src/engines/mongodb/values.ts'
import { ejsonKey, ejsonValue } from './ejson-arbitraries.ts'

const bytesOf = (document: unknown) => BSON.serialize(document as BSON.Document, { ignoreUndefined: false })
const read = (text: string) => fromEjson(JSON.parse(text), 'value')
const typeOf = (text: string) => Buffer.from(bytesOf({ value: read(text) })).subarray(4, 5)[0]

describe('Extended JSON that comes in', () => {
  for (const mode of ['readable', 'canonical'] as const)
    test(`is the same bytes as what was answered in ${mode} form, for every BSON type but code`, () => {
      let compared = 0
      fc.assert(
        fc.property(fc.dictionary(ejsonKey, ejsonValue, { maxKeys: 8 }), (document) => {
          const bytes = bytesOf(document)
          const text = ejsonText(bytes, mode)
          if (text.includes('"$code"')) return expect(() => read(text)).toThrow('$code')
          compared++
          expect(Buffer.compare(bytesOf(read(text)), bytes)).toBe(0)
        }),
        { numRuns: 2_000 },
      )
      expect(compared).toBeGreaterThan(300)
    })

  test('takes a plain number for int32, int64 or double', () => {
    const types = ['1', '-2147483648', '2147483648', '1e15', '1.5', '-0.0', '1e20', '{"$numberDouble":"1"}'].map(typeOf)
    expect(types).toEqual([0x10, 0x10, 0x12, 0x12, 0x01, 0x01, 0x01, 0x01])
  })

  test('leaves query operators as they are, $regex with others beside it too', () => {
    const text = '{"name":{"$regex":"^a","$options":"i","$nin":["ab"]},"ref":{"$ref":"tasks","$id":1}}'
    expect(ejsonText(bytesOf(read(text)), 'readable')).toBe(text)
  })

  test('is refused where it would be sent as something else, naming the place but not the value', () => {
    const wrong = [
      '{"$oid":"6b02f060092a89321941688"}',
      '{"$oid":"6b02f060092a893219416880","$gt":1}',
      '{"$numberInt":"2147483648"}',
      '{"$numberInt":1}',
      '{"$numberLong":"9223372036854775808"}',
      '{"$numberLong":"1.5"}',
      '{"$numberLong":"0x10"}',
      '{"$numberDouble":"1e999"}',
      '{"$numberDouble":"1.2.3"}',
      '{"$numberDouble":"nan"}',
      '{"$numberDecimal":"1e9999"}',
      '{"$numberDecimal":"12345678901234567890123456789012345"}',
      '{"$date":"yesterday"}',
      '{"$date":"2026"}',
      '{"$date":"2026-02-30T00:00:00Z"}',
      '{"$date":"2026-01-01T00:00:00.0001Z"}',
      '{"$date":1}',
      '{"$date":{"$numberLong":"8640000000000001"}}',
      '{"$date":{"$numberLong":"9223372036854775807"}}',
      '{"$binary":{"base64":"YQ","subType":"00"}}',
      '{"$binary":{"base64":"a-_b","subType":"00"}}',
      '{"$binary":{"base64":"","subType":"100"}}',
      '{"$binary":{"base64":"AwE=","subType":"09"}}',
      '{"$binary":"YQ==","$type":"00"}',
      '{"$uuid":"6b02f060"}',
      '{"$timestamp":{"t":-1,"i":1}}',
      '{"$timestamp":{"t":1}}',
      '{"$timestamp":{"t":4294967296,"i":1}}',
      '{"$regularExpression":{"pattern":"a","options":"g"}}',
      '{"$regularExpression":{"pattern":"a\\u0000","options":""}}',
      '{"$symbol":1}',
      '{"$minKey":2}',
      '{"$undefined":true}',
      '{"$code":"sleep(1)"}',
      '{"$code":"sleep(1)","$scope":{}}',
      '{"$scope":{}}',
      '{"$dbPointer":{"$ref":"a","$id":{"$oid":"6b02f060092a893219416880"}}}',
      '"\\ud800"',
      '{"\\udfff":1}',
      '{"a\\u0000":1}',
    ]
    for (const text of wrong) {
      const problem = () => fromEjson(JSON.parse(`[{"inner":${text}}]`), 'value')
      expect(problem, text).toThrow(/^value\.0\.inner must /)
    }
  })
})
