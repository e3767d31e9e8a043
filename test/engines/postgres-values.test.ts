import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { maxDepth } from '#src/engines/postgres/json-text.ts'
import { elementOf, typeName } from '#src/engines/postgres/type-names.ts'
import { fromText, type JsonValue, rowReader, toRow } from '#src/engines/postgres/values.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type FreshDatabase, freshDatabase } from './postgres-database.ts'

const text = fc.string({ unit: 'binary', maxLength: 20 }).filter((value) => !value.includes('\0'))

for (const name of ['postgres18', 'postgres15'] as const) {
  describeWith(name, `values of ${name}`, (store) => {
    let database: FreshDatabase
    beforeAll(async () => {
      database = await freshDatabase(store)
    })
    afterAll(() => database[Symbol.asyncDispose]())

    async function typeOid(type: string): Promise<number> {
      const [row] = await database.sql.unsafe('select $1::text::regtype::oid::int8::text as oid', [type])
      return Number(row?.['oid'])
    }

    /** What a caller gets for a literal of a type, as JSON text, and what the server itself says of it. */
    async function read(type: string, literal: string): Promise<{ value: JsonValue; json: string; server: string }> {
      const [row] = await database.raw(`select v, v::text from (select $1::text::${type}) as t (v)`, literal)
      const [value = null, server = null] = rowReader([
        { name: 'v', typeOid: await typeOid(type) },
        { name: 'text', typeOid: 25 },
      ])(row ?? [])
      return { value, json: JSON.stringify(value), server: String(server) }
    }

    const examples: readonly [type: string, literal: string, json: string][] = [
      ['bool', 'yes', 'true'],
      ['int2', '-32768', '-32768'],
      ['int4', '2147483647', '2147483647'],
      ['oid', '4294967295', '4294967295'],
      ['int8', '1', '"1"'],
      ['int8', '-9223372036854775808', '"-9223372036854775808"'],
      ['numeric', '1.10', '"1.10"'],
      ['numeric', 'NaN', '"NaN"'],
      ['money', '12.5', '"$12.50"'],
      ['float8', '0.1', '0.1'],
      ['float8', '-0', '"-0"'],
      ['float8', 'NaN', '"NaN"'],
      ['float4', '-Infinity', '"-Infinity"'],
      ['float4', '0.1', '0.1'],
      ['bytea', '\\x00ff', '"\\\\x00ff"'],
      ['timestamptz', '2024-02-29 12:00:00.123456+00', '"2024-02-29 12:00:00.123456+00"'],
      ['timestamp', 'infinity', '"infinity"'],
      ['date', '0044-03-15 BC', '"0044-03-15 BC"'],
      ['interval', '1 year -2 days', '"1 year -2 days"'],
      ['int4range', '[1,3)', '"[1,3)"'],
      ['bit(3)', '101', '"101"'],
      ['point', '(1,2)', '"(1,2)"'],
      ['json', '{"b":12345678901234567890,"a":1.10}', '{"b":12345678901234567890,"a":1.10}'],
      ['jsonb', '[1e3, 0.0, 1e400]', `[1000,0.0,1${'0'.repeat(400)}]`],
      ['json', '[1e3, -0, 1E+2, 100]', '[1e3,-0,1E+2,100]'],
      ['json', '{"__proto__":{"x":1.0},"":null}', '{"__proto__":{"x":1.0},"":null}'],
      ['json', '{"a":1,"\\u0061":2}', JSON.stringify('{"a":1,"\\u0061":2}')],
      ['json', '"\\ud800 \\u0000"', '"\\ud800 \\u0000"'],
      ['json', 'null', 'null'],
      ['int4[]', '{1,NULL,3}', '[1,null,3]'],
      ['int8[]', '{{1,2},{3,4}}', '[["1","2"],["3","4"]]'],
      ['int4[]', '{}', '[]'],
      ['int4[]', '[0:1]={1,2}', '"[0:1]={1,2}"'],
      ['text[]', '{"NULL",NULL,"","a,b","{}","\\"\\\\"}', '["NULL",null,"","a,b","{}","\\"\\\\"]'],
      ['bool[]', '{t,f}', '[true,false]'],
      ['float8[]', '{NaN,1,-0}', '["NaN",1,"-0"]'],
      ['json[]', '{"{\\"a\\":1.0}",NULL}', '[{"a":1.0},null]'],
      ['box[]', '{(1,1),(0,0);(2,2),(0,0)}', '["(1,1),(0,0)","(2,2),(0,0)"]'],
      ['point[]', '{"(1,2)"}', '["(1,2)"]'],
      ['int2vector', '1 2', '"1 2"'],
      ['bytea[]', '{"\\\\x00"}', '["\\\\x00"]'],
    ]
    test.each(examples)('%s %s reads as %s', async (type, literal, json) => {
      expect((await read(type, literal)).json).toBe(json)
    })

    test('an array of an enum is its text, and a JSON array where its element is known', async () => {
      await database.sql.unsafe(`create type mood as enum ('a, b', 'NULL')`)
      const [array, element] = [await typeOid('mood[]'), await typeOid('mood')]
      const { server } = await read('mood[]', '{"a, b","NULL",NULL}')
      expect([fromText(array, server), fromText(array, server, () => ({ oid: element, delimiter: ',' }))]).toEqual([
        '{"a, b","NULL",NULL}',
        ['a, b', 'NULL', null],
      ])
    })

    test('every finite float8 and float4 comes back as the same number', async () => {
      await fc.assert(
        fc.asyncProperty(fc.double({ noNaN: true, noDefaultInfinity: true }), async (value) => {
          const literal = Object.is(value, -0) ? '-0' : String(value)
          const { json } = await read('float8', literal)
          expect(Number(JSON.parse(json))).toBe(value)
        }),
      )
      await fc.assert(
        fc.asyncProperty(fc.float({ noNaN: true, noDefaultInfinity: true }), async (value) => {
          const { json } = await read('float4', Object.is(value, -0) ? '-0' : String(value))
          expect(Math.fround(Number(JSON.parse(json)))).toBe(value)
        }),
      )
    })

    test('every integer and numeric keeps its digits', async () => {
      await fc.assert(
        fc.asyncProperty(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.nat(30), async (value, scale) => {
          expect((await read('int8', String(value))).value).toBe(String(value))
          const literal = `${value}.${'0'.repeat(scale)}7`
          expect((await read('numeric', literal)).value).toBe(literal)
        }),
      )
    })

    test('every text comes back unchanged, alone and in arrays of up to three dimensions', async () => {
      const element = fc.option(text, { freq: 5 })
      const array = fc
        .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }))
        .chain(([size, rows, columns]) => {
          const list = fc.array(element, { minLength: size, maxLength: size })
          const table = fc.array(list, { minLength: rows, maxLength: rows })
          return fc.oneof(list, table, fc.array(table, { minLength: columns, maxLength: columns }))
        })
      await fc.assert(
        fc.asyncProperty(text, array, async (single, many) => {
          expect((await read('text', single)).value).toBe(single)
          expect((await read('text[]', arrayLiteral(many))).value).toEqual(many)
        }),
      )
    })

    test('every json and jsonb keeps its numbers, keys and strings', async () => {
      const number = fc
        .tuple(
          fc.bigInt(-(10n ** 25n), 10n ** 25n),
          fc.constantFrom('', '.0', '.10', '.123456789012345678901', 'e5', 'E-7'),
        )
        .map(([integer, rest]) => `${integer}${rest}`)
      const string = text.map((value) => JSON.stringify(value))
      const key = fc.oneof(string, fc.constantFrom('"__proto__"', '"constructor"', '"1"', '""', '"a:b"', '"\\\\\\""'))
      const { document } = fc.letrec<{ document: string }>((tie) => ({
        document: fc.oneof(
          { maxDepth: 4 },
          fc.constantFrom('null', 'true', 'false', '-0', '0'),
          number,
          string,
          fc.array(tie('document'), { maxLength: 4 }).map((items) => `[${items.join(', ')}]`),
          fc
            .uniqueArray(fc.tuple(key, tie('document')), {
              maxLength: 4,
              selector: ([name]) => JSON.parse(name) as string,
            })
            .map((members) => `{${members.map(([name, value]) => `${name} : ${value}`).join(',')}}`),
        ),
      }))
      await fc.assert(
        fc.asyncProperty(document, async (literal) => {
          const [json, jsonb] = [await read('json', literal), await read('jsonb', literal)]
          const same = await database.sql.unsafe(
            'select $1::text::jsonb::text = $3::text and $2::text::jsonb::text = $3::text as same',
            [json.json, jsonb.json, jsonb.server],
          )
          expect(same[0]?.['same']).toBe(true)
        }),
      )
    })

    test('the names and elements of built-in types are those of format_type', async () => {
      const rows = await database.sql.unsafe(
        `select t.oid::int8::text as oid, format_type(t.oid, null) as name, e.oid::int8::text as element, e.typdelim as delimiter
         from pg_type t left join pg_type e on e.typarray = t.oid where t.oid < 10000 order by t.oid`,
      )
      const ours = rows.map(({ oid }) => ({
        name: typeName(Number(oid)),
        element: elementOf(Number(oid))?.oid,
        delimiter: elementOf(Number(oid))?.delimiter,
      }))
      const theirs = rows.map(({ name, element, delimiter }) => ({
        name,
        element: element === null ? undefined : Number(element),
        delimiter: delimiter ?? undefined,
      }))
      expect(ours).toEqual(theirs as typeof ours)
    })

    test('bytes that are no UTF-8, because the statement changed client_encoding, are base64', async () => {
      const [row] = await database.raw(`select set_config('client_encoding', 'LATIN1', false), 'é'`)
      await database.sql.unsafe(`set client_encoding = 'UTF8'`)
      const read = rowReader([
        { name: 'encoding', typeOid: 25 },
        { name: 'letter', typeOid: 25 },
      ])
      expect(read(row ?? [])).toEqual(['LATIN1', { base64: '6Q==' }])
    })
  })
}

describe('deep json', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

  test('is embedded to the limit and then stays text', () => {
    expect(JSON.stringify(fromText(3802, nested(maxDepth)))).toBe(nested(maxDepth))
    expect(fromText(3802, nested(maxDepth + 1))).toBe(nested(maxDepth + 1))
    expect(fromText(114, nested(1_000_000))).toBe(nested(1_000_000))
  })
})

describe('toRow', () => {
  test('keeps __proto__ as a key, and the last of two columns of one name', () => {
    const row = toRow([{ name: '__proto__' }, { name: 'a' }, { name: 'a' }], ['x', 1, 2])
    expect(JSON.stringify(row)).toBe('{"__proto__":"x","a":2}')
  })
})

type Strings = readonly (string | null | Strings)[]

function arrayLiteral(values: Strings): string {
  const elements = values.map((value) => {
    if (value === null) return 'NULL'
    return typeof value === 'string' ? `"${value.replace(/["\\]/g, '\\$&')}"` : arrayLiteral(value)
  })
  return `{${elements.join(',')}}`
}
