import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { BSON, MongoClient } from 'mongodb'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

type Stages = readonly Readonly<Record<string, unknown>>[]

describeWith('mongo', 'POST /mongodb/{databaseId}/aggregate', (store) => {
  const client = new MongoClient(store.url)
  const database = `aggregate_${process.pid}`
  const db = client.db(database)
  const values = {
    int: new BSON.Int32(1),
    long: BSON.Long.fromString('9007199254740993'),
    double: new BSON.Double(2),
    decimal: BSON.Decimal128.fromString('1.10'),
    date: new Date('2026-01-02T03:04:05.678Z'),
    early: new Date(-1),
    id: new BSON.ObjectId('6b02f060092a893219416880'),
    bytes: new BSON.Binary(Buffer.from('bytes')),
    uuid: new BSON.UUID('6b02f060-092a-4932-9941-6880aabbccdd'),
    time: new BSON.Timestamp({ t: 5, i: 1 }),
    pattern: new BSON.BSONRegExp('^a', 'i'),
    min: new BSON.MinKey(),
    max: new BSON.MaxKey(),
    list: [new BSON.Int32(1), null, { a: true }],
  }
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_RESPONSE_BYTES: '1000000', REQUEST_TIMEOUT_MS: '2000' } })
    const connectionString = `mongodb://${store.host}:${store.port}/${database}?replicaSet=${store.replicaSet}`
    id = (await app.register({ name: 'aggregate', type: 'mongodb', connectionString })).id
    await db.collection('numbers').insertMany(Array.from({ length: 1_500 }, (_, n) => ({ n, kind: n % 3 })))
    await db.collection<{ _id: number }>('kinds').insertMany([0, 1, 2].map((_id) => ({ _id, name: `k${_id}` })))
    await db.collection<{ _id: number }>('values').insertOne({ _id: 1, ...values })
  })
  afterAll(async () => {
    await db.dropDatabase()
    await client.close()
    await app?.[Symbol.asyncDispose]()
  })

  const run = (
    collection: string,
    pipeline: unknown,
    more: Readonly<Record<string, unknown>> = {},
    options: { headers?: Readonly<Record<string, string>>; signal?: AbortSignal } = {},
  ) =>
    app.request('POST', `/api/platform/mongodb/${id}/aggregate`, {
      body: { collection, pipeline, ...more },
      ...options,
    })
  const running = async () => {
    const found = client
      .db('admin')
      .aggregate([{ $currentOp: { idleCursors: true } }, { $match: { ns: { $regex: `^${database}\\.` } } }])
    return (await found.toArray()).map(({ op, type }) => `${type} ${op}`)
  }
  // Compares all pairs a thousand times over, so it does not end by itself.
  const endless: Stages = [
    {
      $lookup: {
        from: 'numbers',
        let: { outer: '$n' },
        pipeline: [
          {
            $lookup: {
              from: 'numbers',
              let: { inner: '$n' },
              pipeline: [{ $match: { $expr: { $gt: ['$n', { $add: ['$$inner', '$$outer'] }] } } }, { $count: 'found' }],
              as: 'found',
            },
          },
          { $match: { 'found.found': -1 } },
        ],
        as: 'pairs',
      },
    },
    { $group: { _id: null, n: { $sum: 1 } } },
  ]

  describe('200', () => {
    test('matches, groups, joins, branches and sorts', async () => {
      const { status, body } = await run('numbers', [
        { $match: { n: { $lt: 10 } } },
        { $group: { _id: '$kind', sum: { $sum: '$n' } } },
        { $lookup: { from: 'kinds', localField: '_id', foreignField: '_id', as: 'kind' } },
        { $set: { kind: { $first: '$kind.name' } } },
        { $facet: { all: [{ $sort: { sum: -1 } }], count: [{ $count: 'n' }] } },
      ])
      const all = [
        { _id: 0, sum: 18, kind: 'k0' },
        { _id: 2, sum: 15, kind: 'k2' },
        { _id: 1, sum: 12, kind: 'k1' },
      ]
      expect([status, body]).toEqual([200, { data: [{ all, count: [{ n: 3 }] }], truncated: false }])
    })

    test('reads other collections of the database by $unionWith, $graphLookup and a $lookup pipeline', async () => {
      const { body } = await run('kinds', [
        { $match: { _id: 1 } },
        { $unionWith: { coll: 'kinds', pipeline: [{ $match: { _id: 2 } }] } },
        { $graphLookup: { from: 'kinds', startWith: 0, connectFromField: '_id', connectToField: '_id', as: 'graph' } },
        { $lookup: { from: 'numbers', pipeline: [{ $count: 'n' }], as: 'all' } },
        { $project: { graph: '$graph.name', all: '$all.n' } },
      ])
      expect(body.data).toEqual([1, 2].map((_id) => ({ _id, graph: ['k0'], all: [1_500] })))
    })

    test('matches each value as it was answered, and answers what $literal holds, byte for byte', async () => {
      for (const mode of ['readable', 'canonical']) {
        const headers: Record<string, string> =
          mode === 'canonical' ? { accept: 'application/ejson; mode=canonical' } : {}
        const { text } = await run('values', [{ $project: { _id: 0 } }], {}, { headers })
        const [document] = (JSON.parse(text) as { data: Record<string, unknown>[] }).data
        const bytes = BSON.serialize({ v: values })
        const echoed = await run('values', [{ $project: { _id: 0, v: { $literal: document } } }], {}, { headers })
        const { data } = BSON.EJSON.parse(echoed.text, { relaxed: false }) as { data: BSON.Document[] }
        expect(Buffer.compare(BSON.serialize(data[0] ?? {}), bytes)).toBe(0)
        for (const [name, value] of Object.entries(document ?? {})) {
          const typed = [{ $match: { [name]: { $eq: value } } }, { $project: { t: { $type: `$${name}` } } }]
          const found = await run('values', typed, {}, { headers })
          expect([name, found.status, found.body.data.length]).toEqual([name, 200, 1])
        }
      }
    })

    test('an int64 that no double holds is matched and summed exactly', async () => {
      const { text } = await run('values', [
        { $match: { long: { $numberLong: '9007199254740993' } } },
        { $project: { _id: 0, sum: { $add: ['$long', { $numberLong: '2' }] } } },
      ])
      expect(text).toBe('{"data":[{"sum":{"$numberLong":"9007199254740995"}}],"truncated":false}')
    })

    test('the form Accept asks for', async () => {
      const accept = 'application/ejson; mode=relaxed'
      const answer = await run('values', [{ $project: { _id: 0, long: 1, double: 1 } }], {}, { headers: { accept } })
      expect([answer.headers.get('content-type'), answer.text]).toEqual([
        accept,
        '{"data":[{"long":9007199254740992,"double":2}],"truncated":false}',
      ])
    })

    test('100 documents unless limit says more, and truncated when there are others', async () => {
      const table = [
        [1_500, undefined, 100, true],
        [100, undefined, 100, false],
        [101, undefined, 100, true],
        [5, 5, 5, false],
        [6, 5, 5, true],
        [1_000, 1_000, 1_000, false],
        [1_500, 1_000, 1_000, true],
        [1, 1, 1, false],
      ] as const
      for (const [matching, limit, count, truncated] of table) {
        const { body } = await run('numbers', [{ $match: { n: { $lt: matching } } }], limit ? { limit } : {})
        expect([matching, limit, body.data.length, body.truncated]).toEqual([matching, limit, count, truncated])
      }
      expect(await running()).toEqual([])
    })

    test('nothing for a collection that is not there, everything for an empty pipeline, and another database', async () => {
      const answers = [
        await run('nowhere', [{ $match: {} }]),
        await run('kinds', []),
        await run('kinds', [], { databaseName: `${database}_other` }),
      ]
      expect(answers.map(({ status, body }) => [status, body.data.length, body.truncated])).toEqual([
        [200, 0, false],
        [200, 3, false],
        [200, 0, false],
      ])
    })
  })

  describe('400', () => {
    test('for what writes, runs JavaScript or reads elsewhere, and nothing is written', async () => {
      const code = { body: 'function () { return 1 }', args: [], lang: 'js' }
      const forbidden: readonly Stages[] = [
        [{ $out: 'stolen' }],
        [{ $merge: { into: 'kinds' } }],
        [{ $facet: { a: [{ $out: 'stolen' }] } }],
        [{ $lookup: { from: 'kinds', as: 'x', pipeline: [{ $merge: 'stolen' }] } }],
        [{ $unionWith: { coll: 'kinds', pipeline: [{ $unionWith: { coll: 'kinds', pipeline: [{ $out: 'x' }] } }] } }],
        [{ $match: { $or: [{ a: 1 }, { $and: [{ $where: 'true' }] }] } }],
        [{ $match: { $expr: { $function: code } } }],
        [{ $project: { a: { $cond: [true, { $function: code }, 1] } } }],
        [{ $group: { _id: 1, a: { $accumulator: { init: 'function () {}' } } } }],
        [{ $project: { a: { $_internalJsEmit: { this: '$a', eval: 'function () {}' } } } }],
        [{ $lookup: { from: { db: 'admin', coll: 'system.users' }, as: 'x', pipeline: [] } }],
        [{ $unionWith: { db: 'admin', coll: 'system.users' } }],
        [{ $currentOp: {} }],
        [{ $changeStream: {} }],
        [{ $listLocalSessions: {} }],
        [{ $match: { a: { $code: 'f' } } }],
      ]
      for (const pipeline of forbidden) {
        const { status, body } = await run('kinds', pipeline)
        expect([pipeline, status, body.error.code]).toEqual([pipeline, 400, 'VALIDATION_FAILED'])
        expect(body.error.details[0].field).toStartWith('pipeline.0')
      }
      expect((await db.listCollections().toArray()).map((each) => each.name).toSorted()).toEqual([
        'kinds',
        'numbers',
        'values',
      ])
    })

    test('names the wrong field', async () => {
      const table: Readonly<Record<string, readonly unknown[]>> = {
        collection: ['', 'a$b', '$cmd', 1, null, 'c'.repeat(256)],
        databaseName: ['', 'a b', '$external', 1],
        pipeline: [
          undefined,
          null,
          {},
          'text',
          [1],
          [[]],
          [{}],
          [{ $match: {}, $sort: {} }],
          Array(51).fill({ $limit: 1 }),
        ],
        limit: [0, 1_001, 1.5, '10', null],
        timeoutMs: [0, 99, 60_001, '1000', null],
        cursor: [{}],
        explain: [true],
      }
      for (const [field, wrong] of Object.entries(table))
        for (const value of wrong) {
          const { status, body } = await run('kinds', [], { [field]: value })
          expect([field, value, status, body.error.code]).toEqual([field, value, 400, 'VALIDATION_FAILED'])
          expect(body.error.details[0].field.split('.')[0]).toBe(field)
        }
    })

    test('with the code of the server where it refuses', async () => {
      const table: readonly (readonly [pipeline: Stages, code: number])[] = [
        [[{ $group: { _id: 1, n: 1 } }], 40234],
        [[{ $project: { a: { $nonsense: 1 } } }], 31325],
        [[{ $match: { $nonsense: 1 } }], 2],
        [[{ $project: { a: { $divide: [1, 0] } } }], 2],
        [[{ $sort: { n: 7 } }], 15975],
      ]
      for (const [pipeline, code] of table) {
        const { status, body } = await run('kinds', pipeline)
        expect([pipeline, status, body.error.code, body.error.details.code]).toEqual([
          pipeline,
          400,
          'DB_QUERY_ERROR',
          code,
        ])
      }
    })

    test('where it needs more memory than the server gives, rather than filling its disk', async () => {
      const stages = [
        { $limit: 200 },
        {
          $set: {
            text: {
              $reduce: { input: { $range: [0, 20] }, initialValue: 'x', in: { $concat: ['$$value', '$$value'] } },
            },
          },
        },
        { $lookup: { from: 'kinds', pipeline: [], as: 'k' } },
        { $unwind: '$k' },
        { $sort: { text: 1, n: 1 } },
      ]
      const { status, body } = await run('numbers', stages, { timeoutMs: 20_000 })
      expect([status, body.error?.code, body.error?.details?.code]).toEqual([400, 'DB_QUERY_ERROR', 292])
      expect(body.error.message).toContain('memory')
    })
  })

  test('413 above MAX_RESPONSE_BYTES, and 200 for fewer documents of it', async () => {
    const stages = [
      {
        $set: {
          text: { $reduce: { input: { $range: [0, 16] }, initialValue: 'x', in: { $concat: ['$$value', '$$value'] } } },
        },
      },
    ]
    const { status, body } = await run('numbers', stages)
    expect([status, body.error.code, body.error.details]).toEqual([413, 'RESULT_TOO_LARGE', { max_bytes: 1_000_000 }])
    expect((await run('numbers', stages, { limit: 10 })).body.data.length).toBe(10)
    await eventually(async () => (await running()).length === 0)
  })

  describe('deadlines', () => {
    for (const timeoutMs of [100, 500, undefined])
      test(`504 at ${timeoutMs ?? 'REQUEST_TIMEOUT_MS'}, and the server has stopped`, async () => {
        const started = performance.now()
        const { status, body } = await run('numbers', endless, timeoutMs ? { timeoutMs } : {})
        expect([status, body.error.code, performance.now() - started < (timeoutMs ?? 2_000) + 500]).toEqual([
          504,
          'DB_TIMEOUT',
          true,
        ])
        await eventually(async () => (await running()).length === 0)
      })

    test('200 for a quick pipeline with the shortest timeoutMs', async () => {
      expect((await run('kinds', [], { timeoutMs: 100 })).status).toBe(200)
    })

    test('timeoutMs may be longer than REQUEST_TIMEOUT_MS, and the server works until then', async () => {
      const started = performance.now()
      const { status, body } = await run('numbers', endless, { timeoutMs: 4_000 })
      const ms = performance.now() - started
      const message = 'MongoDB stopped the operation at its time limit.'
      expect([status, body.error.message, ms > 3_000, ms < 4_500]).toEqual([504, message, true, true])
    })

    test('a client that leaves has its operation stopped within a second', async () => {
      const leaving = new AbortController()
      const answer = run('numbers', endless, { timeoutMs: 30_000 }, { signal: leaving.signal })
      await eventually(async () => (await running()).length > 0)
      leaving.abort()
      await answer.catch(() => undefined)
      await eventually(async () => (await running()).length === 0, 1_000)
      expect((await run('kinds', [])).status).toBe(200)
    })

    test('twenty at once that take too long leave the pool usable', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => run('numbers', endless, { timeoutMs: 700 })))
      expect(answers.every(({ body }) => ['DB_TIMEOUT', 'POOL_EXHAUSTED'].includes(body.error.code))).toBe(true)
      await eventually(async () => (await running()).length === 0)
      expect((await run('kinds', [])).status).toBe(200)
    })
  })
})

describeWith('mongoAuth', 'POST /mongodb/{databaseId}/aggregate as a user with few rights', (store) => {
  test('400 with code 13 for a database the user may not read', async () => {
    await using app = await createTestApp()
    const { username, password, authSource } = store.users.limited
    const { id } = await app.register({
      name: 'limited',
      type: 'mongodb',
      host: store.host,
      port: store.port,
      databaseName: 'app',
      username,
      password,
      config: { authSource },
    })
    const path = `/api/platform/mongodb/${id}/aggregate`
    const read = (databaseName: string) =>
      app.request('POST', path, { body: { collection: 'tasks', databaseName, pipeline: [{ $count: 'n' }] } })
    const { status, body } = await read('other')
    expect([status, body.error.code, body.error.details]).toEqual([
      400,
      'DB_QUERY_ERROR',
      { code: 13, name: 'Unauthorized' },
    ])
    expect((await read('app')).status).toBe(200)
  })
})
