import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { BSON } from 'mongodb'
import { inspect } from 'node:util'
import { readPipeline } from '#src/engines/mongodb/pipeline.ts'
import { ApiError } from '#src/errors.ts'

const problemOf = (stages: readonly unknown[]) => {
  try {
    readPipeline(stages)
    return undefined
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'VALIDATION_FAILED') throw error
    return (error.details as { field: string; rule: string }[])[0]
  }
}

const name = fc.constantFrom('a', 'b', 'total', '__proto__', 'constructor', 'out', 'where')
const scalar = fc.oneof(
  fc.constantFrom('$a', '$$ROOT', '$out', '$where', null, true, 1, 1.5),
  fc.constantFrom({ $numberLong: '7' }, { $date: '2026-01-01T00:00:00Z' }, { $literal: { $where: 'x', $out: 1 } }),
)
const { value, stage } = fc.letrec<{ value: unknown; stage: Record<string, unknown>; stages: unknown[] }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(name, tie('value'), { maxKeys: 3 }),
    fc.dictionary(fc.constantFrom('$or', '$and', '$expr', '$cond', '$gt', '$mergeObjects', '$sum'), tie('value'), {
      maxKeys: 2,
    }),
  ),
  stages: fc.array(tie('stage'), { maxLength: 3 }),
  stage: fc.oneof(
    { maxDepth: 6 },
    tie('value').map(($match) => ({ $match })),
    fc.dictionary(name, tie('value'), { maxKeys: 3 }).map(($group) => ({ $group })),
    fc.dictionary(name, tie('stages'), { maxKeys: 3 }).map(($facet) => ({ $facet })),
    tie('stages').map((pipeline) => ({ $lookup: { from: 'b', pipeline, as: 'c', let: {} } })),
    tie('stages').map((pipeline) => ({ $unionWith: { coll: 'b', pipeline } })),
    fc.constantFrom({ $limit: 1 }, { $unionWith: 'b' }, { $count: 'n' }, { $unwind: '$a' }),
  ),
}))
const pipeline = fc.array(stage as fc.Arbitrary<Record<string, unknown>>, { minLength: 1, maxLength: 4 })

/** Every place under a stage where a key or an item can be put, in the order of a walk; what `$literal` holds is none. */
function placesIn(node: unknown): object[] {
  if (typeof node !== 'object' || node === null || '$literal' in node) return []
  if ('$numberLong' in node || '$date' in node) return []
  return [node, ...Object.values(node).flatMap(placesIn)]
}

describe('readPipeline', () => {
  test('passes every pipeline of stages that read, and sends what was given', () => {
    fc.assert(
      fc.property(pipeline, (stages) => {
        const sent = BSON.serialize({ stages: readPipeline(stages).stages })
        const given = JSON.stringify(stages)
        expect(JSON.stringify(BSON.EJSON.parse(BSON.EJSON.stringify(BSON.deserialize(sent)['stages'])))).toBe(
          JSON.stringify(BSON.EJSON.parse(given)),
        )
      }),
      { numRuns: 500 },
    )
  })

  test('finds what is not allowed wherever it is hidden', () => {
    const forbidden = [
      '$out',
      '$merge',
      '$where',
      '$function',
      '$accumulator',
      '$_internalJsEmit',
      '$_internalInhibitOptimization',
      '$currentOp',
      '$listSessions',
      '$listLocalSessions',
      '$changeStream',
      '$code',
      '$dbPointer',
      '$undefined',
    ]
    let deepest = 0
    fc.assert(
      fc.property(pipeline, fc.constantFrom(...forbidden), value, fc.nat(), (given, key, inner, at) => {
        const stages = structuredClone(given)
        const places = stages.flatMap((each) => placesIn(Object.values(each)[0]))
        fc.pre(places.length > 0)
        const index = at % places.length
        const place = places[index]
        deepest = Math.max(deepest, index)
        if (Array.isArray(place)) place.push({ [key]: inner })
        else Object.defineProperty(place, key, { value: inner, enumerable: true })
        expect([problemOf(stages) !== undefined, stages]).toEqual([true, stages])
      }),
      { numRuns: 2_000 },
    )
    expect(deepest).toBeGreaterThan(10)
  })

  test('takes what $literal alone holds for data, and with another key beside it not', () => {
    const data = { $function: { body: 'f' }, $where: [{ $out: 'x' }] }
    const taken = [
      { $project: { a: { $literal: data } } },
      { $replaceWith: { $literal: data } },
      { $match: { $expr: { $eq: ['$a', { $literal: data }] } } },
    ]
    const refused = [
      { $project: { a: { $literal: data, $add: [] } } },
      { $facet: { $literal: [{ $out: 'x' }] } },
      { $lookup: { from: 'b', as: 'c', pipeline: { $literal: [{ $out: 'x' }] } } },
      { $literal: data },
    ]
    expect([...taken, ...refused].map((each) => problemOf([each]) === undefined)).toEqual([
      ...taken.map(() => true),
      ...refused.map(() => false),
    ])
  })

  test('says where and why', () => {
    const facet = (inner: unknown) => [{ $match: {} }, { $facet: { x: [inner] } }]
    const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) })
    const cases: readonly (readonly [stages: readonly unknown[], field: string, rule: string])[] = [
      [facet({ $out: 'y' }), 'pipeline.1.$facet.x.0', 'must not use $out: it writes'],
      [
        facet({ $match: { $or: [{ $where: '1' }] } }),
        'pipeline.1.$facet.x.0.$match.$or.0',
        'must not use $where: it runs JavaScript on the server',
      ],
      [
        [{ $group: { _id: 1, n: { $accumulator: {} } } }],
        'pipeline.0.$group.n',
        'must not use $accumulator: it runs JavaScript on the server',
      ],
      [[{ $currentOp: {} }], 'pipeline.0', 'must not use $currentOp: it shows what others run'],
      [[{ $changeStream: {} }], 'pipeline.0', 'must not use $changeStream: it never ends'],
      [[{ $queryStats: {} }], 'pipeline.0', 'must not use $queryStats: it is none of the stages that read'],
      [[{ match: {} }], 'pipeline.0', 'must not use match: it is none of the stages that read'],
      [[{ $_internalSetWindowFields: {} }], 'pipeline.0', expect.stringContaining('is internal to MongoDB')],
      [[{}], 'pipeline.0', 'must be an object with one key, its stage'],
      [[{ $match: {}, $limit: 1 }], 'pipeline.0', 'must be an object with one key, its stage'],
      [['$match'], 'pipeline.0', 'must be an object with one key, its stage'],
      [[[{ $match: {} }]], 'pipeline.0', 'must be an object with one key, its stage'],
      [[null], 'pipeline.0', 'must be an object with one key, its stage'],
      [[{ $lookup: { from: 'b', pipeline: {} } }], 'pipeline.0.$lookup.pipeline', 'must be an array of stages'],
      ...[{ db: 'x', coll: 'y' }, '$cmd', '', 'a\0', 1].flatMap((from) =>
        [
          [{ $lookup: { from, as: 'x' } }, 'pipeline.0.$lookup.from'],
          [{ $graphLookup: { from, as: 'x' } }, 'pipeline.0.$graphLookup.from'],
          [{ $unionWith: { coll: from } }, 'pipeline.0.$unionWith.coll'],
        ].map(
          ([each, field]) =>
            [[each], field as string, 'must be the name of a collection of the same database'] as const,
        ),
      ),
      [[{ $unionWith: 'a$b' }], 'pipeline.0.$unionWith', 'must be the name of a collection of the same database'],
      [[{ $unionWith: { db: 'x', coll: 'y' } }], 'pipeline.0.$unionWith.db', expect.stringContaining('one database')],
      [Array(51).fill({ $limit: 1 }), 'pipeline', 'must not have more than 50 stages'],
      [
        facet({ $unionWith: { coll: 'b', pipeline: Array(51).fill({ $skip: 1 }) } }),
        expect.any(String),
        expect.any(String),
      ],
      [[{ $match: nested(101) }], 'pipeline', 'must not be nested deeper than 100 levels'],
      [[{ $match: { a: { $code: 'f' } } }], 'pipeline.0.$match.a', expect.stringContaining('$code')],
    ]
    for (const [stages, field, rule] of cases)
      expect([inspect(stages), problemOf(stages)]).toEqual([inspect(stages), { field, rule }])
    expect(problemOf([{ ['$'.repeat(5_000)]: 1 }])?.rule.length).toBeLessThan(150)
  })
})
