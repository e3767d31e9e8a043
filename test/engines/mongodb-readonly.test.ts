import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Document, MongoClient } from 'mongodb'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

/** Stages and operators that write, run JavaScript, lead elsewhere or show what others do, at any depth; refused for every caller. */
const forbidden: readonly Document[] = [
  { $out: 'stolen' },
  { $out: { db: 'other', coll: 'stolen' } },
  { $merge: 'kept' },
  { $merge: { into: 'kept', whenMatched: 'replace' } },
  { $match: { $where: 'sleep(1000) || true' } },
  { $match: { $or: [{ a: 1 }, { $where: 'true' }] } },
  { $match: { $and: [{ $nor: [{ $where: 'true' }] }] } },
  { $match: { $expr: { $function: { body: 'function() { return true }', args: [], lang: 'js' } } } },
  { $project: { a: { $function: { body: 'function() {}', args: [], lang: 'js' } } } },
  { $group: { _id: null, a: { $accumulator: { init: 'function() {}' } } } },
  { $facet: { a: [{ $out: 'stolen' }] } },
  { $facet: { a: [{ $match: { $where: 'true' } }] } },
  { $lookup: { from: 'kept', pipeline: [{ $merge: 'kept' }], as: 'x' } },
  { $lookup: { from: 'kept', pipeline: [{ $facet: { a: [{ $match: { $where: 'true' } }] } }], as: 'x' } },
  { $lookup: { from: { db: 'admin', coll: 'system.users' }, pipeline: [], as: 'x' } },
  { $unionWith: { coll: 'kept', pipeline: [{ $out: 'stolen' }] } },
  { $unionWith: { db: 'admin', coll: 'system.users' } },
  { $currentOp: { allUsers: true } },
  { $listSessions: {} },
  { $changeStream: {} },
  { $match: { a: { $code: 'function() {}' } } },
]

describeWith('mongo', 'what an aggregation may not do', (store) => {
  const client = new MongoClient(store.url)
  const db = client.db(`readonly_${process.pid}`)
  let app: TestApp
  let id: string
  let secret: string
  beforeAll(async () => {
    await db.collection('kept').insertMany([{ a: 1 }, { a: 2 }])
    app = await createTestApp()
    const connectionString = `mongodb://${store.host}:${store.port}/${db.databaseName}?replicaSet=${store.replicaSet}`
    id = (await app.register({ name: 'readonly', type: 'mongodb', connectionString })).id
    const body = { projectRef: 'default', name: 'reads', role: 'read' }
    secret = (await app.request('POST', '/api/platform/api-keys', { body })).body.secret
  })
  afterAll(async () => {
    await db.dropDatabase()
    await client.close()
    await app?.[Symbol.asyncDispose]()
  })

  const aggregate = (pipeline: readonly Document[], key = app.key) =>
    app.request('POST', `/api/platform/mongodb/${id}/aggregate`, { body: { collection: 'kept', pipeline }, key })

  test.each(forbidden.map((stage) => [JSON.stringify(stage), stage] as const))(
    '400 %s, for the service key and for the role read; nothing is written',
    async (_, stage) => {
      for (const key of [app.key, secret]) {
        const { status, body } = await aggregate([{ $match: {} }, stage], key)
        expect([status, body.error.code]).toEqual([400, 'VALIDATION_FAILED'])
      }
      const kept = await db
        .collection('kept')
        .find({}, { projection: { _id: 0 } })
        .toArray()
      expect<unknown[]>([kept, (await db.listCollections().toArray()).map(({ name }) => name)]).toEqual([
        [{ a: 1 }, { a: 2 }],
        ['kept'],
      ])
    },
  )

  test('200 a pipeline that reads, for the role read and for a database that is registered read-only', async () => {
    await app.request('PATCH', `/api/platform/databases/${id}`, { body: { config: { readOnly: true } } })
    for (const key of [app.key, secret]) {
      const { status, body } = await aggregate([{ $group: { _id: null, sum: { $sum: '$a' } } }], key)
      expect([status, body.data]).toEqual([200, [{ _id: null, sum: 3 }]])
    }
  })
})
